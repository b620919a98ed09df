"""PURE. The `viplake.toml` that `viplake init` writes: every setting once, with its meaning and its default.

It is made from `SETTINGS`, so that it can neither lack a setting nor name one that is gone. What has a default
stands in it as a comment: a file says only what somebody decided.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

from viplake.config.settings import SETTINGS
from viplake.model import PROD, TEST

if TYPE_CHECKING:
    from viplake.config.settings import Setting
    from viplake.model import Environment

_HEAD: Final = """\
# Settings of viplake. A flag wins over the environment (VIPLAKE_...), that over the profile picked here, that over
# what stands at the top of this file, that over the default. What is commented out shows the default or an example.
#
# No secret stands here, and viplake refuses one: VIPLAKE_SECRETS (below: secrets) says where they are.

# The profile that is used unless --profile or VIPLAKE_PROFILE picks another.
default_profile = "test"
"""

_OF_A_PROFILE: Final = ("environment", "lake", "secrets", "prefix", "history")
"""What may differ between Test and Prod; the rest is common to both, unless it is moved into a profile."""

_WIDTH: Final = 116


def template() -> str:
    """The file, ready to be written; as it stands it loads, with the profile `test`."""
    parts = [_HEAD, "# -- common to all profiles ---------------------------------------------------------------\n"]
    parts += [_entry(setting, TEST) for setting in SETTINGS if setting.name not in _OF_A_PROFILE]
    by_name = {setting.name: setting for setting in SETTINGS}
    for environment in (TEST, PROD):
        parts.append(f"[profiles.{environment.name.lower()}]\n")
        parts += [_entry(by_name[name], environment) for name in _OF_A_PROFILE]
    return "\n".join(parts)


def _entry(setting: Setting, environment: Environment) -> str:
    meaning = textwrap.fill(
        f"{setting.variable}: {setting.meaning}", _WIDTH, initial_indent="# ", subsequent_indent="# "
    )
    decided = setting.name == "environment"
    return f"{meaning}\n{'' if decided else '# '}{setting.name} = {_value(setting, environment)}\n"


def _value(setting: Setting, environment: Environment) -> str:
    """The default, or an example where there is none, as TOML."""
    examples = {
        "environment": environment.name,
        "lake": "s3://your-bucket",
        "company": "ACME",
        "prefix": environment.prefix,
        "history": f"s3://your-bucket/{environment.prefix.replace('Hourly/', 'Observability')}",
    }
    text = setting.default if setting.default is not None else examples[setting.name]
    plain = text in {"true", "false"} or text.isdigit()
    return text if plain else f'"{text}"'
