"""I/O. What the shell completes besides commands and options: profiles, Hours and tables, read when Tab is pressed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from viplake.commands.assembly import on_lake
from viplake.commands.options import NO_OPTIONS
from viplake.errors import ViplakeError
from viplake.lake.hours import newest_first, newest_proven
from viplake.tables.files import files_of

if TYPE_CHECKING:
    from viplake.lake import Lake

Shell = Literal["bash", "zsh", "fish"]
Values = Literal["profile", "hour", "table"]

_OPTIONS: Final[dict[Values, tuple[str, ...]]] = {
    "profile": ("profile",),
    "hour": ("at", "from", "to", "since", "until", "diff"),
    "table": ("table",),
}
"""Options, without their dashes, by what they take."""

_MOST_HOURS: Final = 48

_BASH: Final = """
_viplake_values() {{
  local kind=
  case "${{COMP_WORDS[COMP_CWORD-1]}}" in
{cases}
    *) _viplake "$@"; return ;;
  esac
  COMPREPLY=($(compgen -W "$(viplake completion bash --values "$kind" 2>/dev/null)" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -F _viplake_values viplake
"""

_ZSH_END: Final = """
# zsh runs this file at the first Tab; `source` defines the function only.
if [ "$funcstack[1]" = "_viplake" ]; then
  _viplake "$@"
else
  compdef _viplake viplake
fi
"""


def with_values(script: str, shell: Shell) -> str:
    """Return the completion script, which then calls `viplake completion SHELL --values KIND` for values of options."""
    if shell == "bash":
        cases = (f"    {'|'.join(f'--{name}' for name in names)}) kind={kind} ;;" for kind, names in _OPTIONS.items())
        return script + _BASH.format(cases="\n".join(cases))
    for kind, names in _OPTIONS.items():
        values = f"viplake completion {shell} --values {kind} 2>/dev/null"
        for name in names:
            if shell == "fish":
                script = re.sub(rf"( -l {name} -r)\b", rf"\1 -f -a '({values})'", script)
            else:
                script = re.sub(rf"(--{name}\[[^\]]*\]:[\w-]+)'", rf"\1:_viplake_{kind}'", script)
    if shell == "fish":
        return script
    functions = (
        f'_viplake_{kind}() {{ compadd -- ${{(f)"$(viplake completion zsh --values {kind} 2>/dev/null)"}} }}\n'
        for kind in _OPTIONS
    )
    head, line, rest = script.replace("_cyclopts_viplake", "_viplake").partition("\n")
    return "".join([head, line, *functions, rest, _ZSH_END])


def values_of(kind: Values) -> list[str]:
    """Return what an option of this kind may be given here: by ./viplake.toml, or by the lake of the settings.

    Where settings or lake cannot be read it is empty: a completion has no place for an error.
    """
    try:
        if kind == "profile":
            return sorted(tomllib.loads(Path("viplake.toml").read_text(encoding="utf-8")).get("profiles", {}))
        return on_lake(NO_OPTIONS.settings(), _hours if kind == "hour" else _tables)
    except (ViplakeError, OSError, ValueError):
        return []


async def _hours(lake: Lake) -> list[str]:
    found: list[str] = []
    async for folder in newest_first(lake):
        found.append(str(folder.hour))
        if len(found) == _MOST_HOURS:
            break
    return found


async def _tables(lake: Lake) -> list[str]:
    newest = await newest_proven(lake)
    return [] if newest is None else [table.table for table in (await files_of(lake, newest)).tables]
