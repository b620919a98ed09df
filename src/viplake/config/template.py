"""PURE. The `viplake.toml` that `viplake init` writes: every setting once, with its meaning and its default.

It is generated from `SETTINGS`, so it always lists exactly the existing settings. Settings with a default are commented
out, so that the file contains only decisions.
"""

from __future__ import annotations

import json
import textwrap
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from viplake.config.settings import SETTINGS
from viplake.model import PROD, TEST

if TYPE_CHECKING:
    from collections.abc import Mapping

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
"""Settings that usually differ between Test and Prod; the others are common to both."""

_WIDTH: Final = 116


_TABLES: Final = """\
# -- data-quality rules, planned holes, objectives and notifications: docs/rules.md ---------------------------------
# As shown: defaults and examples. `viplake rules push` puts the first three into the lake.

# [rules.late_job]
#   minutes = 60
# [rules.slow_phase]
#   replication_minutes = 40
#   transfer_minutes = 10

# [[calendar]]
#   kind = "maintenance"
#   from = "2022-05-10T13"
#   to = "2022-05-11T10"
#   reason = "announced by Veson"

# [objectives.delivered]
#   target = 0.994
# [objectives.complete]
#   target = 0.994

# [notify]
#   sns_topic = "arn:aws:sns:eu-west-1:123456789012:viplake"
#   severity = "ticket"
"""


def template(given: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return the text of the file. It can be loaded without a change, with the profile `test`.

    Args:
        given: values of `environment` (the default profile), `company`, `lake` and `secrets`; the last two count for
            the profile of that environment.
    """
    wanted = given.get("environment", TEST.name)
    parts = [
        _HEAD.replace('"test"', f'"{wanted.lower()}"'),
        "# -- common to all profiles ---------------------------------------------------------------\n",
    ]
    common = {name: value for name, value in given.items() if name not in _OF_A_PROFILE}
    parts += [_entry(setting, TEST, common) for setting in SETTINGS if setting.name not in _OF_A_PROFILE]
    by_name = {setting.name: setting for setting in SETTINGS}
    for environment in (TEST, PROD):
        parts.append(f"[profiles.{environment.name.lower()}]\n")
        own = {n: value for n, value in given.items() if n != "environment"} if environment.name == wanted else {}
        parts += [_entry(by_name[name], environment, own) for name in _OF_A_PROFILE]
    parts.append(_TABLES)
    return "\n".join(parts)


def _entry(setting: Setting, environment: Environment, given: Mapping[str, str]) -> str:
    meaning = textwrap.fill(
        f"{setting.variable}: {setting.meaning}", _WIDTH, initial_indent="# ", subsequent_indent="# "
    )
    decided = setting.name == "environment" or setting.name in given
    value = json.dumps(given[setting.name]) if setting.name in given else _value(setting, environment)
    return f"{meaning}\n{'' if decided else '# '}{setting.name} = {value}\n"


def _value(setting: Setting, environment: Environment) -> str:
    """Return the default, or an example where there is none, as TOML."""
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
