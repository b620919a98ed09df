"""PURE. The table of recoveries: the next step after each error in the transfer of a file.

Errors that pass by themselves are tried again until the deadline, errors that new links may heal cost one more
list, damage costs two more downloads, and a file that cannot land is given up at once, so that the other files
have the time. Only a lake that cannot be written, or a refusal of our credentials, ends everything.
"""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from viplake.errors import CredentialsError, DamagedUpload, LakeError, VendorError, ViplakeError
from viplake.vendor.port import LinkExpired, SourceChanged

if TYPE_CHECKING:
    from collections.abc import Mapping


class Recovery(Enum):
    """The next step after an error of a file."""

    LATER = "wait, then go on where it broke"
    RELIST = "ask for new links, then go on where it broke"
    RELIST_LATER = "wait, ask for new links, then go on where it broke"
    ANEW = "wait, then begin the file anew"
    GIVE_UP = "this file has failed, the others go on"
    STOP = "nothing can land"


class OtherSize(VendorError):
    """The source declares another size than the vendor's list promised."""

    default_cause = "integrity"


LISTS_A_FILE: Final = 8
"""New lists for one file: with links of an hour that is longer than any transfer."""

# The steps after the first, second, ... error of a kind that a file meets; the last one applies to all further errors.
# Where no GIVE_UP closes a row, the deadline does.
RECOVERIES: Final[Mapping[str, tuple[Recovery, ...]]] = MappingProxyType(
    {
        # New links that are not good either: clocks differ, or the links live for less than a request takes.
        "link_expired": (Recovery.RELIST, *(Recovery.RELIST_LATER,) * (LISTS_A_FILE - 1), Recovery.GIVE_UP),
        "source_denied": (Recovery.RELIST, Recovery.GIVE_UP),
        "source_missing": (Recovery.RELIST, Recovery.GIVE_UP),
        "list_changed": (Recovery.RELIST, Recovery.GIVE_UP),
        "other_size": (Recovery.RELIST, Recovery.GIVE_UP),
        "source_changed": (Recovery.ANEW, Recovery.ANEW, Recovery.GIVE_UP),
        "integrity": (Recovery.ANEW, Recovery.ANEW, Recovery.GIVE_UP),
        # Of the list: a bad answer may be the proxy's.
        "vendor_contract": (Recovery.LATER, Recovery.LATER, Recovery.GIVE_UP),
        "url_list_empty": (Recovery.LATER, Recovery.LATER, Recovery.GIVE_UP),
        "passing": (Recovery.LATER,),
        "final": (Recovery.GIVE_UP,),
        "lake_passing": (Recovery.LATER,),
        "damaged_upload": (Recovery.LATER, Recovery.LATER, Recovery.GIVE_UP),
        "lake_final": (Recovery.STOP,),
        "credentials": (Recovery.STOP,),
    }
)

_KINDS: Final[tuple[tuple[type[ViplakeError], str], ...]] = (
    (LinkExpired, "link_expired"),
    (SourceChanged, "source_changed"),
    (OtherSize, "other_size"),
    (CredentialsError, "credentials"),
    (DamagedUpload, "damaged_upload"),
)


def kind_of(error: ViplakeError) -> str:
    """The row of `RECOVERIES` that an error belongs to."""
    for type_, kind in _KINDS:
        if isinstance(error, type_):
            return kind
    if isinstance(error, LakeError):
        return "lake_passing" if error.transient else "lake_final"
    if error.cause.word in RECOVERIES:
        return error.cause.word
    return "passing" if error.transient else "final"


def next_step(error: ViplakeError, before: int) -> Recovery:
    """What follows an error, when the file met `before` errors of this kind before it."""
    steps = RECOVERIES[kind_of(error)]
    return steps[min(before, len(steps) - 1)]
