"""I/O. `viplake schema`: the versions of the schema and what changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from viplake.commands.assembly import history_location, on_lake
from viplake.commands.console import answer, out
from viplake.commands.options import NO_OPTIONS, HourOrNone, Json, Options
from viplake.history.build import read_history
from viplake.history.datasets import SCHEMAS, TABLES
from viplake.history.schema_changes import Listed, versions
from viplake.history.schema_store import SchemaStore

if TYPE_CHECKING:
    from viplake.config import Settings
    from viplake.history.schema_changes import Differing, Held
    from viplake.lake import Lake
    from viplake.model import Hour


def command(
    *,
    at: Annotated[HourOrNone, Parameter(help="Print the schema of this Hour, with tables and columns.")] = None,
    diff: Annotated[
        HourOrNone,
        Parameter(
            help="Print what changed from the schema of this Hour to that of --at (without --at: to the newest)."
        ),
    ] = None,
    json: Json = False,
    options: Options = NO_OPTIONS,
) -> int:
    """List schema versions with their date ranges and what changed.

    Example: viplake schema --at 2022-05-10T13

    See docs/schema.md.
    """
    settings = options.settings()
    found = on_lake(settings, lambda lake: _schema(settings, lake, at=at, since=diff))

    def show() -> None:
        for line in found.lines():
            out(line)

    answer({"environment": settings.environment.name} | found.to_json(), show, as_json=json)
    return 0


async def _schema(
    settings: Settings, lake: Lake, *, at: Hour | None = None, since: Hour | None = None
) -> Listed | Held | Differing:
    """Read the schema versions; the schema `at` an Hour; or its differences `since` another Hour.

    Raises:
        SettingsError, CredentialsError, LakeError: as `history_location`, and where the history cannot be read.
    """
    place = await history_location(settings, lake)
    history = await read_history(place)
    found = versions(history.rows(SCHEMAS))
    copies = SchemaStore(place.store, place.published)
    if since is not None:
        return await copies.differing(found, since, at)
    if at is not None:
        return await copies.held(found, at)
    unknown = history.rows(TABLES).keys() - history.rows(SCHEMAS).keys()
    return Listed(await copies.compared(found), len(unknown))
