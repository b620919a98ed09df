"""PURE. What follows which error of a file on its way: one table.

Errors that pass by themselves are tried again until the deadline, errors that new links may heal cost one more
list, damage costs two more downloads, and what nobody can land is given up at once, so that the other files
have the time. Only a lake that cannot be written, or a refusal of our credentials, ends everything.
"""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from viplake.errors import CredentialsError, DamagedUpload, LakeError, VendorError, ViplakeError
from viplake.vendor.links import LinkExpired, SourceChanged

if TYPE_CHECKING:
    from collections.abc import Mapping


class Step(Enum):
    """What follows an error of a file."""

    LATER = "wait, then go on where it broke"
    RELIST = "ask for new links, then go on where it broke"
    RELIST_LATER = "wait, ask for new links, then go on where it broke"
    ANEW = "wait, then begin the file anew"
    GIVE_UP = "this file has failed, the others go on"
    STOP = "nothing can land"


class OtherSize(VendorError):
    """The source declares another size than the vendor's list promised."""

    default_cause = "integrity"


# The steps after the first, second, ... error of a kind that a file meets; the last one stands for all further.
# Where no GIVE_UP closes a row, the deadline does.
STEPS: Final[Mapping[str, tuple[Step, ...]]] = MappingProxyType(
    {
        "link_expired": (Step.RELIST, Step.RELIST_LATER),  # new links that are not good either: clocks differ
        "source_denied": (Step.RELIST, Step.GIVE_UP),
        "source_missing": (Step.RELIST, Step.GIVE_UP),
        "list_changed": (Step.RELIST, Step.GIVE_UP),
        "other_size": (Step.RELIST, Step.GIVE_UP),
        "source_changed": (Step.ANEW, Step.ANEW, Step.GIVE_UP),
        "integrity": (Step.ANEW, Step.ANEW, Step.GIVE_UP),
        "vendor_contract": (Step.LATER, Step.LATER, Step.GIVE_UP),  # of the list: a bad answer may be the proxy's
        "url_list_empty": (Step.LATER, Step.LATER, Step.GIVE_UP),
        "passing": (Step.LATER,),
        "final": (Step.GIVE_UP,),
        "lake_passing": (Step.LATER,),
        "damaged_upload": (Step.LATER, Step.LATER, Step.GIVE_UP),
        "lake_final": (Step.STOP,),
        "credentials": (Step.STOP,),
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
    """The row of `STEPS` that an error belongs to."""
    for type_, kind in _KINDS:
        if isinstance(error, type_):
            return kind
    if isinstance(error, LakeError):
        return "lake_passing" if error.transient else "lake_final"
    if error.cause.word in STEPS:
        return error.cause.word
    return "passing" if error.transient else "final"


def next_step(error: ViplakeError, before: int) -> Step:
    """What follows an error, when the file met `before` errors of this kind before it."""
    steps = STEPS[kind_of(error)]
    return steps[min(before, len(steps) - 1)]
