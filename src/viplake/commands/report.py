"""I/O. `viplake report`: the history as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from viplake import config
from viplake.clock import SystemClock
from viplake.commands.assembly import check_target, observing, on_lake
from viplake.commands.options import NO_OPTIONS, Options
from viplake.errors import SettingsError

if TYPE_CHECKING:
    from viplake.lake import Lake


def command(*, out: Path = Path("viplake-report.html"), options: Options = NO_OPTIONS) -> int:
    """Write one HTML file: a verdict in words, then the figures, each with its table; it needs no network to open.

    Example: viplake report --out report.html

    See docs/history.md.
    """
    settings = options.settings()

    async def work(lake: Lake) -> str:
        from viplake.report.page import compose  # noqa: PLC0415 - needs the extra `report`

        title = f"VIP Data Lake, {settings.environment.name}"
        now, configured = SystemClock().now(), config.check_settings(settings)
        target = await check_target(settings, lake)
        return await compose(target, title=title, now=now, settings=configured, observing=observing(settings))

    try:
        page = on_lake(settings, work)
    except ImportError as error:
        raise SettingsError(
            f"the report needs a package that is not installed: {error.name}", hint="pip install 'viplake[report]'"
        ) from None
    try:
        out.write_text(page, encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"cannot write {out}: {error.strerror}", hint="Give another file with --out.") from None
    print(out.absolute())  # noqa: T201 - the data
    return 0
