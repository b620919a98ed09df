"""I/O. `viplake adopt`: Receipts for Hours that another program landed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from viplake.clock import SystemClock
from viplake.commands.assembly import observe, on_lake
from viplake.commands.console import SHOWN_FINDINGS, answer, err, hour_progress, out, printable
from viplake.commands.options import FLAG, NO_OPTIONS, NO_WINDOW, Json, Options, Window
from viplake.history.build import Scope
from viplake.lake.adopt import Adoption, adopt
from viplake.model import Hour
from viplake.wording import count_words, size_words

if TYPE_CHECKING:
    from viplake.lake import Lake
    from viplake.lake.adopt import AdoptedHour


def command(
    *,
    window: Window = NO_WINDOW,
    dry_run: Annotated[bool, FLAG, Parameter(help="Only compare; write nothing.")] = False,
    json: Json = False,
    options: Options = NO_OPTIONS,
) -> int:
    """Write a Receipt for each Hour of another program with files that match its manifest in size.

    Such a Receipt proves sizes, because the checksums are not known: verify then says proof: size. Hours with a
    Receipt stay as they are, so that a second call goes on where the first one stopped.

    Exit code: 0 all Hours of the range have a Receipt, 1 there are differences: they are listed, and nothing is
    written for these Hours.

    Example: viplake adopt --to 2022-05-10T13

    See docs/history.md.
    """
    settings = options.settings()
    first, last = window.hours()

    async def work(lake: Lake) -> Adoption:
        now = SystemClock().now()
        end = last or Hour.of(now).shift(-1)
        with hour_progress(end) as shown:
            done = await adopt(
                lake,
                environment=settings.environment.name,
                company=settings.company or "",
                first=first,
                last=end,
                now=now,
                dry_run=dry_run,
                progress=(lambda one: shown(one.hour)) if shown else None if json else _print_adopted,
            )
        if done.adopted and not dry_run:
            await observe(settings, lake, Scope(hours=tuple(one.hour for one in done.adopted)))
        return done

    done = on_lake(settings, work)
    answer(done.to_json(), lambda: _print_adoption(done), as_json=json)
    return 1 if done.differences else 0


def _print_adopted(one: AdoptedHour) -> None:
    err(f"{one.hour}  {count_words(one.files, 'file')}, {size_words(one.size)}: proof by size")


def _print_adoption(done: Adoption) -> None:
    verb = "would get a Receipt" if done.dry_run else "got a Receipt"
    out(f"{count_words(len(done.adopted), 'Hour')} {verb} (proof: size), {done.present} had one already")
    if done.differences:
        out(f"{count_words(len(done.differences), 'Hour')} got none:")
    for hour, findings in list(done.differences.items())[:SHOWN_FINDINGS]:
        more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
        one = findings[0]
        out(f"  {hour}  {one.kind}  {printable(one.file or '')}  {printable(one.detail)}{more}".rstrip())
    if len(done.differences) > SHOWN_FINDINGS:
        out(f"  and {len(done.differences) - SHOWN_FINDINGS} more (see --json)")
