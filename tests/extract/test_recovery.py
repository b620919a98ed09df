from __future__ import annotations

import pytest

from viplake.errors import CAUSES, CredentialsError, LakeError, NetworkError, VendorError, ViplakeError
from viplake.extract.recovery import RECOVERIES, OtherSize, Recovery, kind_of, next_step
from viplake.vendor.port import LinkExpired, SourceChanged

LATER, RELIST, RELIST_LATER = Recovery.LATER, Recovery.RELIST, Recovery.RELIST_LATER
ANEW, GIVE_UP, STOP = Recovery.ANEW, Recovery.GIVE_UP, Recovery.STOP


@pytest.mark.parametrize(
    ("error", "steps"),
    [
        (LinkExpired("D1"), [RELIST, RELIST_LATER, RELIST_LATER]),
        (VendorError("D3", cause="source_denied"), [RELIST, GIVE_UP]),
        (VendorError("D4", cause="source_missing"), [RELIST, GIVE_UP]),
        (VendorError("U12", cause="list_changed"), [RELIST, GIVE_UP]),
        (VendorError("D5", cause="vendor_unavailable"), [LATER, LATER, LATER, LATER]),
        (NetworkError("D6, D19"), [LATER, LATER, LATER, LATER]),
        (NetworkError("N2", cause="proxy"), [LATER, LATER]),
        (SourceChanged("D9"), [ANEW, ANEW, GIVE_UP]),
        (VendorError("D12, D22", cause="integrity"), [ANEW, ANEW, GIVE_UP]),
        (OtherSize("D14"), [RELIST, GIVE_UP]),
        (VendorError("U2", cause="vendor_contract"), [LATER, LATER, GIVE_UP]),
        (VendorError("U11", cause="url_rejected"), [GIVE_UP]),
        (VendorError("P8", cause="job_gone"), [GIVE_UP]),
        (NetworkError("N1", cause="proxy_auth"), [GIVE_UP]),
        (NetworkError("N3", cause="tls"), [GIVE_UP]),
        (LakeError("W1"), [LATER, LATER, LATER]),
        (LakeError("W3", cause="dest_denied"), [STOP]),
        (LakeError("W4", cause="dest_kms"), [STOP]),
        (LakeError("W5", cause="dest_missing"), [STOP]),
        (LakeError("W16", cause="disk_full"), [STOP]),
        (LakeError("W17", cause="dest_io"), [STOP]),
        (CredentialsError("U3", cause="auth_rejected"), [STOP]),
    ],
    ids=lambda value: str(value) if isinstance(value, ViplakeError) else "",
)
def test_the_steps_after_each_error(error: ViplakeError, steps: list[Recovery]) -> None:
    assert [next_step(error, before) for before in range(len(steps))] == steps


def test_every_cause_has_a_row_in_every_class() -> None:
    for word in CAUSES:
        for type_ in (ViplakeError, VendorError, NetworkError, LakeError, CredentialsError):
            assert kind_of(type_("x", cause=word)) in RECOVERIES


def test_only_transient_errors_are_retried_until_the_deadline() -> None:
    endless = {kind for kind, steps in RECOVERIES.items() if steps[-1] not in {GIVE_UP, STOP}}
    assert endless == {"passing", "lake_passing"}, "links that never live long enough end after some lists"


def test_links_that_never_live_long_enough_end_the_file_after_eight_lists() -> None:
    steps = [next_step(LinkExpired("D1"), before) for before in range(9)]
    assert steps == [RELIST, *[RELIST_LATER] * 7, GIVE_UP]
