"""I/O. `viplake evidence`: the SLA evidence for the vendor's support."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from viplake.clock import SystemClock
from viplake.commands.assembly import check_settings, history_location, observing, on_lake
from viplake.commands.console import print_json
from viplake.commands.options import NO_OPTIONS, NO_WINDOW, Json, Options, Window
from viplake.errors import SettingsError
from viplake.lake.proof import owner_of
from viplake.model import Hour
from viplake.report.evidence import Pack, gather, to_csv, to_html
from viplake.wording import install_hint

if TYPE_CHECKING:
    from viplake.lake import Lake


def command(
    *,
    window: Window = NO_WINDOW,
    out: Annotated[Path, Parameter(help="Where to write: OUT.html and OUT.csv.")] = Path("viplake-evidence"),
    json: Json = False,
    options: Options = NO_OPTIONS,
) -> int:
    """Export SLA evidence for Veson: Hours below the SLA, with job GUIDs, times and API answers, without secrets.

    Example: viplake evidence --from 2022-05-01T00 --to 2022-05-31T23

    See docs/operations.md.
    """
    settings = options.settings()
    first, last = window.hours()
    now = SystemClock().now()
    last = last or Hour.of(now)
    if first is None:
        raise SettingsError("evidence needs a range of Hours", hint="Give --from and --to, or --last 720.")

    async def work(lake: Lake) -> Pack:
        return await gather(
            lake,
            await history_location(settings, lake),
            await check_settings(settings, lake),
            observing(settings),
            first=first,
            last=last,
            now=now,
            environment=settings.environment.name,
            company=settings.company or ("" if (owner := await owner_of(lake)) is None else owner.company),
        )

    pack = on_lake(settings, work)
    try:
        files = {".html": to_html(pack), ".csv": to_csv(pack)}
    except ImportError as error:
        raise SettingsError(
            f"the page needs a package that is not installed: {error.name}", hint=install_hint("report")
        ) from None
    base = out.with_suffix("") if out.suffix in files else out
    written = [base.with_name(base.name + suffix).absolute() for suffix in files]
    try:
        for path, text in zip(written, files.values(), strict=True):
            path.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise SettingsError(f"cannot write {out}: {error.strerror}", hint="Give another place with --out.") from None
    if json:
        print_json({"hours": len(pack.exhibits), "files": [str(path) for path in written]})
    else:
        print(*written, sep="\n")  # noqa: T201 - the data
    return 0
