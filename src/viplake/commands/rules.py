"""I/O. `viplake rules`: the rule configuration that is stored in the lake."""

from __future__ import annotations

import json as jsonlib
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from viplake.commands.assembly import on_lake
from viplake.commands.console import answer, out, warn
from viplake.commands.options import NO_OPTIONS, Json, Options
from viplake.errors import SettingsError
from viplake.judge.rulebook import STORED_TABLES, push_rulebook, read_rulebook

if TYPE_CHECKING:
    from viplake.judge.rulebook import Rulebook
    from viplake.lake import Lake


def command(
    action: Annotated[
        Literal["push", "show"],
        Parameter(help="push: store the tables of viplake.toml in the lake. show: print the stored rules."),
    ],
    *,
    json: Json = False,
    options: Options = NO_OPTIONS,
) -> int:
    """Store [rules], [[calendar]] and [objectives] in the lake, or show the stored ones.

    After the first push every check of this lake uses the stored ones, on every machine, and not those of viplake.toml.

    Example: viplake rules push

    See docs/rules.md.
    """
    settings = options.settings()
    local = {name: settings.sections[name] for name in STORED_TABLES if name in settings.sections}

    async def work(lake: Lake) -> tuple[Rulebook, bool]:
        if action == "show":
            return await read_rulebook(lake), False
        if settings.config_file is None:
            raise SettingsError("there is no viplake.toml to push", hint="Run it where viplake.toml is.")
        return await push_rulebook(lake, local)

    book, is_new = on_lake(settings, work)
    record = {"environment": settings.environment.name, "version": book.version, "pushed": is_new, **book.over(local)}

    def show() -> None:
        if not book.version:
            out("no rules are stored in the lake; viplake.toml and the defaults apply")
        elif action == "push":
            out(f"version {book.version} {'pushed' if is_new else 'is already stored'}")
        else:
            out(f"version {book.version}")
        if action == "show":
            for line in jsonlib.dumps(book.over(local), indent=2, ensure_ascii=False).splitlines():
                out(line)

    answer(record, show, as_json=json)
    if (warning := book.warning(local)) is not None:
        warn(warning)
    return 0
