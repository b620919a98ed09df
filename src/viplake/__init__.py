"""viplake: delivers every hourly export of the VIP Data Lake to your own lake, verified and monitored.

The public API is `viplake.api`; its names are here too. Importing `viplake` or a part of it loads nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from viplake.api import DataLake, LakeHour, get_secrets, open_lake, time_series

__version__ = "0.1.0"

__all__ = ["DataLake", "LakeHour", "get_secrets", "open_lake", "time_series"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from viplake import api  # noqa: PLC0415 - only for who uses it

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
