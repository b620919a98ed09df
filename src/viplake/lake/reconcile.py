"""PURE. Promise, listing and checksums in; a verdict out.

The run asks it before it writes a Receipt, and `viplake verify` asks it again, any day later, so that what is
called proven means one thing only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from viplake.lake.layout import is_delivered_file
from viplake.model import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from viplake.model import Promise, ProvenFile, Receipt, StoredFile


def judge(
    promise: Promise | None,
    stored: Mapping[str, StoredFile],
    receipt: Receipt | None,
    md5_read: Mapping[str, str],
    unreadable: Mapping[str, str] | None = None,
) -> Verdict:
    """Whether an Hour is complete and valid.

    Args:
        promise: what the vendor promised, where it is known.
        stored: the objects in the hourly folder, by name.
        receipt: what we proved when it landed, where we did.
        md5_read: the MD5 of stored files that were read again, by name. A file that is not among them counts as
            right when its ETag equals the Receipt's.
        unreadable: why files that had to be read again could not be, by name: whether they are right is unknown.
    """
    unread = unreadable or {}
    if promise is None:
        return Verdict(complete=None, valid=None, findings=(Finding("no_promise"),))
    findings = [
        *_absences(promise, stored),
        *_sizes(promise, stored),
        *([Finding("no_receipt")] if receipt is None else _checksums(promise, stored, receipt, md5_read, unread)),
    ]
    complete = not any(finding.kind == "missing_file" for finding in findings)
    promised = promise.names
    unexpected = [
        Finding("unexpected_file", name, "in the folder, but not promised")
        for name in sorted(stored)
        if is_delivered_file(name) and name not in promised
    ]
    unknown = [Finding("unreadable_file", name, why) for name, why in sorted(unread.items())]
    valid = None if receipt is None or (unknown and not findings) else not findings
    proof = None if receipt is None else receipt.proof
    return Verdict(complete=complete, valid=valid, findings=(*findings, *unknown, *unexpected), proof=proof)


def to_read_again(stored: Mapping[str, StoredFile], receipt: Receipt, *, etags_prove: bool) -> list[str]:
    """Names of the Receipt's files that must be hashed again to prove that they are still right.

    Args:
        stored: the objects in the hourly folder, by name.
        receipt: what we proved when it landed.
        etags_prove: an equal ETag proves equal content (S3); a folder's only shows when a file was written.
    """
    return [
        file.name
        for file in receipt.files
        if file.md5 is not None
        and (there := stored.get(file.name)) is not None
        and there.size == file.size
        and not (etags_prove and file.etag is not None and there.etag == file.etag)
    ]


def _absences(promise: Promise, stored: Mapping[str, StoredFile]) -> list[Finding]:
    return [
        Finding("missing_file", file.name, f"promised with {file.size:,} bytes")
        for file in promise.files
        if file.name not in stored
    ]


def _sizes(promise: Promise, stored: Mapping[str, StoredFile]) -> list[Finding]:
    return [
        Finding("wrong_size", file.name, f"promised {file.size:,} bytes, stored {there.size:,}")
        for file in promise.files
        if (there := stored.get(file.name)) is not None and there.size != file.size
    ]


def _checksums(
    promise: Promise,
    stored: Mapping[str, StoredFile],
    receipt: Receipt,
    md5_read: Mapping[str, str],
    unread: Mapping[str, str],
) -> list[Finding]:
    proven = {file.name: file for file in receipt.files}
    found = []
    for file in promise.files:
        there, proof = stored.get(file.name), proven.get(file.name)
        if there is None or file.name in unread:
            continue
        if proof is None:
            found.append(Finding("wrong_checksum", file.name, "promised, but the Receipt does not prove it"))
        elif reason := _mismatch(there, proof, md5_read.get(file.name)):
            found.append(Finding("wrong_checksum", file.name, reason))
    return found


def _mismatch(there: StoredFile, proof: ProvenFile, md5_read: str | None) -> str | None:
    if there.size != proof.size:
        return None  # said already, as wrong_size
    if proof.md5 is None:
        return None  # the size is all that was ever known
    if md5_read is not None:
        return None if md5_read == proof.md5 else f"proven as MD5 {proof.md5}, stored is {md5_read}"
    return None if there.etag == proof.etag else f"proven with ETag {proof.etag}, stored has {there.etag}"
