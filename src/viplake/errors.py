"""PURE. Every way in which viplake can fail: one cause word, one owner, one exit code, one next step each.

The tree, by who has to act::

    ViplakeError
    ├── SettingsError      us: a setting, an option or a file is wrong                              2
    ├── CredentialsError   us: a secret is missing, malformed or refused                      77
    ├── VendorError        vendor: the export failed, or an answer breaks the contract    69 or 1
    ├── NetworkError       network: no response, TLS, or a proxy in between                       69
    ├── DeliveryError      vendor or network: not every promised file has landed            1 or 69
    ├── LakeError          aws (us for a folder, network): the lake cannot be used      73 or 69
    └── NotYet             no one: not due, taken by another process, or interrupted         75

`CAUSES` is the only place that maps a cause to its owner and exit code; docs/causes.md is generated from it. Exit codes
follow sysexits.h (69 EX_UNAVAILABLE, 70 EX_SOFTWARE, 73 EX_CANTCREAT, 75 EX_TEMPFAIL, 77 EX_NOPERM).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from traceback import extract_tb
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

Owner = Literal["vendor", "aws", "network", "us"]

OK = 0
CHECKS_FAILED = 1
USAGE = 2
UNAVAILABLE = 69
UNEXPECTED = 70
LAKE_FAILED = 73
WAITING = 75
CREDENTIALS = 77


@dataclass(frozen=True, slots=True)
class Cause:
    """A reason why an Hour failed or a command ended.

    Attributes:
        word: the stable name in JSON, the ledger and the datasets.
        owner: who has to act; None if nothing is broken.
        exit_code: of the process.
        meaning: one sentence, for the 3 a.m. reader.
        remedy: the next step, a command where there is one.
        transient: whether the same call may succeed a little later.
    """

    word: str
    owner: Owner | None
    exit_code: int
    meaning: str
    remedy: str
    transient: bool = False


def _table(*causes: Cause) -> Mapping[str, Cause]:
    return MappingProxyType({cause.word: cause for cause in causes})


HEALS: Final = " The next Hour's export usually heals the data."
"""Ends the remedy of an Hour that failed; in an outage that lasts, the time left until records are lost says more."""

CAUSES: Mapping[str, Cause] = _table(
    # -- settings -----------------------------------------------------------------------------------
    Cause(
        "config",
        "us",
        USAGE,
        "A setting, an option or a file that viplake was given is wrong or missing.",
        "Correct the setting that the message names.",
    ),
    Cause(
        "lake_mismatch",
        "us",
        USAGE,
        "The lake belongs to another environment or company than the settings say.",
        "Check VIPLAKE_ENVIRONMENT, VIPLAKE_COMPANY, VIPLAKE_LAKE, VIPLAKE_PREFIX: Test and Prod never share a root.",
    ),
    Cause(
        "lake_format",
        "us",
        USAGE,
        "The lake was written by a newer viplake than this one.",
        "Upgrade viplake on this machine.",
    ),
    # -- credentials --------------------------------------------------------------------------------
    Cause(
        "secrets_missing",
        "us",
        CREDENTIALS,
        "The secret, or a required key of it, is missing.",
        "Add the key that the message names to the secret that VIPLAKE_SECRETS names.",
    ),
    Cause(
        "secrets_malformed",
        "us",
        CREDENTIALS,
        "The secret is not a JSON object of non-empty strings.",
        "Write it as JSON with the keys Veson_client_id and Veson_client_secret.",
    ),
    Cause(
        "secrets_denied",
        "us",
        CREDENTIALS,
        "The permissions do not allow reading the secret.",
        "Grant secretsmanager:GetSecretValue on it, or read access to the file.",
    ),
    Cause(
        "secrets_kms",
        "us",
        CREDENTIALS,
        "The permissions do not allow using the KMS key of the secret.",
        "Grant kms:Decrypt on the secret's key.",
    ),
    Cause(
        "secrets_unavailable",
        "us",
        CREDENTIALS,
        "The store of the secret (VIPLAKE_SECRETS) did not answer.",
        "Try again. If it persists, check the network path to Secrets Manager.",
        transient=True,
    ),
    Cause(
        "auth_rejected",
        "us",
        CREDENTIALS,
        "The vendor refuses our client id and secret.",
        "Check whether the client secret was rotated. Store the new one in the secret that VIPLAKE_SECRETS names.",
    ),
    Cause(
        "auth_forbidden",
        "us",
        CREDENTIALS,
        "The vendor accepts the credentials but forbids this call.",
        "Ask Veson to allow the Data Lake scope for this client id and company.",
    ),
    # -- vendor -------------------------------------------------------------------------------------
    Cause(
        "auth_unavailable",
        "vendor",
        UNAVAILABLE,
        "The vendor's token endpoint fails.",
        "Nothing to do: viplake retries. If it persists, open a ticket at Veson.",
        transient=True,
    ),
    Cause(
        "auth_contract",
        "vendor",
        UNAVAILABLE,
        "The vendor's token response does not have the documented form.",
        "Check VIPLAKE_TOKEN_URL and any proxy in between, then open a ticket at Veson.",
    ),
    Cause(
        "vendor_unavailable",
        "vendor",
        UNAVAILABLE,
        "The vendor responds with server errors.",
        "Nothing to do: viplake retries. If it persists, open a ticket at Veson.",
        transient=True,
    ),
    Cause(
        "vendor_contract",
        "vendor",
        UNAVAILABLE,
        "A response of the vendor does not have the documented form.",
        "Check the VIPLAKE_*_URL settings and any proxy in between, then open a ticket at Veson.",
    ),
    Cause(
        "vendor_job_failed",
        "vendor",
        UNAVAILABLE,
        "The vendor reports that its export failed.",
        f"Open a ticket at Veson with the job GUID.{HEALS}",
    ),
    Cause(
        "vendor_timeout",
        "vendor",
        UNAVAILABLE,
        "The vendor's export was not complete by the deadline.",
        "Later ticks retry for 6 hours. After that: viplake collect HOUR.",
    ),
    Cause(
        "trigger_limited",
        "vendor",
        UNAVAILABLE,
        "The vendor allows no trigger in this Hour, because another export was triggered first.",
        f"Find who else triggers this configuration.{HEALS}",
    ),
    Cause(
        "trigger_drift",
        "us",
        UNAVAILABLE,
        "viplake triggered the previous Hour so late that the vendor allows no trigger in this Hour.",
        "Run the schedule early in the hour, and more often: every 2 to 5 minutes.",
    ),
    Cause(
        "trigger_ack_lost",
        "vendor",
        UNAVAILABLE,
        "The trigger was sent, but the response with the job GUID was lost.",
        "Ask Veson for the GUID of that export, then: viplake collect HOUR --job-guid GUID.",
    ),
    Cause(
        "duplicate_guid",
        "vendor",
        UNAVAILABLE,
        "The vendor returned the GUID of an earlier export.",
        "Open a ticket at Veson with both Hours.",
    ),
    Cause(
        "job_gone",
        "vendor",
        UNAVAILABLE,
        "The vendor does not know the job GUID, or no longer.",
        "Check the GUID, then open a ticket at Veson.",
    ),
    Cause(
        "url_list_empty",
        "vendor",
        UNAVAILABLE,
        "The export is complete, but the vendor lists no files.",
        "Later ticks retry for 6 hours. After that: viplake collect HOUR.",
    ),
    Cause(
        "list_changed",
        "vendor",
        UNAVAILABLE,
        "The vendor removed a file from its list (the manifest).",
        "Open a ticket at Veson with the job GUID and the file.",
    ),
    Cause(
        "key_rejected",
        "vendor",
        UNAVAILABLE,
        "The vendor's list holds a name that cannot be stored safely.",
        "Open a ticket at Veson with the name. Nothing of the list was stored.",
    ),
    Cause(
        "name_collision",
        "vendor",
        UNAVAILABLE,
        "Two files of the vendor's list have the same name.",
        "Open a ticket at Veson with the name. Nothing of the list was stored.",
    ),
    Cause(
        "url_rejected",
        "vendor",
        UNAVAILABLE,
        "The vendor's list has a download link to a host that is not allowed.",
        "If the host is right, add it to VIPLAKE_DOWNLOAD_HOSTS. No request was sent to it.",
    ),
    Cause(
        "source_denied",
        "vendor",
        UNAVAILABLE,
        "The vendor's file storage rejects the download links.",
        "Later ticks request new links for 6 hours. After that: viplake collect HOUR.",
    ),
    Cause(
        "source_missing",
        "vendor",
        CHECKS_FAILED,
        "A file of the manifest is not in the vendor's file storage.",
        "Later ticks retry for 6 hours. After that: viplake collect HOUR.",
    ),
    Cause(
        "integrity",
        "vendor",
        CHECKS_FAILED,
        "A file arrives with another size or checksum than it should have.",
        "Later ticks retry for 6 hours. After that: viplake collect HOUR.",
    ),
    Cause(
        "table_unreadable",
        "vendor",
        CHECKS_FAILED,
        "A file of a queried table cannot be read, so the result would lack its rows.",
        "viplake content names each such file. viplake query --partial leaves them out.",
    ),
    # -- network ------------------------------------------------------------------------------------
    Cause(
        "network",
        "network",
        UNAVAILABLE,
        "A host cannot be reached, or the connection breaks.",
        "Check name resolution, routes and firewalls to the host in the message.",
        transient=True,
    ),
    Cause(
        "tls",
        "network",
        UNAVAILABLE,
        "The TLS certificate of the host is not trusted.",
        "If a proxy inspects traffic, point SSL_CERT_FILE at its CA bundle. Verification cannot be turned off.",
    ),
    Cause(
        "proxy",
        "network",
        UNAVAILABLE,
        "The proxy cannot be reached, or refuses the connection.",
        "Check HTTPS_PROXY and NO_PROXY, and that the proxy allows the host.",
        transient=True,
    ),
    Cause(
        "proxy_auth",
        "network",
        UNAVAILABLE,
        "The proxy rejects the user or the password.",
        "Check user and password in HTTPS_PROXY, or in the key `proxy` of the secret. viplake supports Basic only.",
    ),
    Cause(
        "intercepted",
        "network",
        UNAVAILABLE,
        "A proxy or firewall between this machine and the host answered with its own web page.",
        "Ask the operator of the proxy or firewall to allow the host in the message.",
    ),
    Cause(
        "transfer_timeout",
        "network",
        UNAVAILABLE,
        "Not all files arrived by the deadline.",
        "Later ticks fetch the rest for 6 hours. Check the bandwidth to the vendor's storage.",
    ),
    # -- the lake -----------------------------------------------------------------------------------
    Cause(
        "dest_auth",
        "aws",
        LAKE_FAILED,
        "The store rejects the AWS credentials.",
        "Renew the credentials: environment, profile, role, or the keys in the secret.",
    ),
    Cause(
        "dest_denied",
        "aws",
        LAKE_FAILED,
        "The permissions do not allow reading or writing in the lake.",
        "Grant the rights that `viplake doctor` lists on the bucket and prefix.",
    ),
    Cause(
        "dest_kms",
        "aws",
        LAKE_FAILED,
        "The permissions do not allow using the KMS key of the bucket.",
        "Grant kms:GenerateDataKey and kms:Decrypt on the bucket's key.",
    ),
    Cause(
        "dest_missing",
        "aws",
        LAKE_FAILED,
        "The bucket of the lake does not exist.",
        "Check VIPLAKE_LAKE, or create it.",
    ),
    Cause(
        "folder_missing",
        "us",
        LAKE_FAILED,
        "The folder of a lake does not exist, or there is no hourly folder below its prefix.",
        "Check VIPLAKE_LAKE and VIPLAKE_PREFIX, and that the disk is mounted. Or create the folder.",
    ),
    Cause(
        "dest_feature",
        "us",
        LAKE_FAILED,
        "The store lacks a feature that viplake needs: conditional writes, or the checksum.",
        "Try VIPLAKE_CHECKSUM=md5 or none. If `viplake doctor` still fails, use another store.",
    ),
    Cause(
        "dest_archived",
        "us",
        LAKE_FAILED,
        "An object of the lake is archived (Glacier or an archive tier), so it cannot be read.",
        "Restore the object in S3, then run the same command again.",
    ),
    Cause(
        "dest_refused",
        "aws",
        LAKE_FAILED,
        "The store refuses a request, and another attempt would not help.",
        "Read the error code and the message of the store, then ask the team that runs it.",
    ),
    Cause(
        "dest_region",
        "aws",
        LAKE_FAILED,
        "The bucket is in another region.",
        "Set AWS_REGION to the region of the bucket.",
    ),
    Cause(
        "dest_unavailable",
        "aws",
        LAKE_FAILED,
        "The store does not respond, or responds with server errors.",
        "Nothing to do: viplake retries. If it persists, check the status page of the store.",
        transient=True,
    ),
    Cause(
        "dest_io",
        "us",
        LAKE_FAILED,
        "The folder of the lake cannot be read or written.",
        "Check owner, permissions and mount of the folder.",
    ),
    Cause(
        "import_unreadable",
        "us",
        CHECKS_FAILED,
        "No row of the file can be read. Nothing was imported.",
        "Correct the file (docs/datasets.md describes its form), then import it again.",
    ),
    Cause(
        "disk_full",
        "us",
        LAKE_FAILED,
        "The disk of the lake is full, or the quota of its bucket is used up.",
        "Free disk space. Stored files stay, and the next tick continues.",
    ),
    Cause(
        "receipt_conflict",
        "us",
        LAKE_FAILED,
        "The Hour already has a Receipt that differs from the one to be written. A Receipt never changes.",
        "Compare the files with the stored Receipt: `viplake verify --from HOUR --to HOUR`.",
    ),
    Cause(
        "ledger_damaged",
        "us",
        LAKE_FAILED,
        "A record of the ledger cannot be read.",
        "Restore the object that the message names, or move it away if it is not viplake's.",
    ),
    Cause(
        "table_damaged",
        "us",
        LAKE_FAILED,
        "The log or a file of a current or history table cannot be read, or is gone.",
        "Move the folder that the message names out of the lake: viplake tables computes the table anew.",
    ),
    Cause(
        "clock",
        "us",
        LAKE_FAILED,
        "This machine's clock is too far off for the store to accept our requests.",
        "Synchronise the clock (NTP).",
    ),
    # -- nothing is broken, or no process ran ----------------------------------------------------------
    Cause("waiting", None, WAITING, "The Hour is in progress.", "Nothing to do: run viplake tick again later."),
    Cause(
        "claim_lost",
        None,
        WAITING,
        "Another viplake is working on this Hour.",
        "Nothing to do: the other process finishes it.",
    ),
    Cause(
        "interrupted",
        None,
        WAITING,
        "viplake was stopped by a signal. Finished work is stored.",
        "Run the same command again. It continues where it stopped.",
    ),
    Cause(
        "hour_taken",
        "us",
        WAITING,
        "The folder of this Hour has files that viplake did not write.",
        "Turn off the other program that writes to this prefix, or give viplake its own.",
    ),
    Cause(
        "abandoned",
        "us",
        CHECKS_FAILED,
        "The Hour was started, but no viplake process ran in time to finish it.",
        "Check the schedule. To try again: viplake collect HOUR.",
    ),
    Cause(
        "missed",
        "us",
        CHECKS_FAILED,
        "viplake did not run within the Hour, or not in time: no export was triggered.",
        f"Check the schedule.{HEALS}",
    ),
    Cause(
        "checks_failed",
        None,
        CHECKS_FAILED,
        "The command found problems: mismatches, differences or an open incident.",
        "Read the findings that the command printed.",
    ),
    Cause(
        "unexpected",
        "us",
        UNEXPECTED,
        "viplake failed in an unexpected way. This is a defect.",
        "Report the message above. With --debug, viplake prints the whole traceback.",
    ),
)  # fmt: skip


_LONGEST: Final = 2000
_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def _line(text: str) -> str:
    """Return the text as one line of at most so many characters, because a response may be megabytes of anything.

    It is cut at a blank, because `redact` would not recognise half a secret.
    """
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST].rpartition(' ')[0]} ..."
    return _UNPRINTABLE.sub(lambda sign: sign[0].encode("unicode_escape").decode(), text)


class ViplakeError(Exception):
    """A failure with a cause of `CAUSES`.

    Args:
        message: what failed, in one line, free of secrets.
        cause: a word of `CAUSES`.
        hint: the next step, where it is more exact than the remedy of the cause.
    """

    default_cause = "unexpected"

    def __init__(self, message: str, *, cause: str | None = None, hint: str | None = None) -> None:
        super().__init__(_line(message))
        self.cause: Cause = CAUSES[cause or self.default_cause]
        self.hint: str = _line(hint or self.cause.remedy)

    @property
    def message(self) -> str:
        """What failed, in one line."""
        return str(self.args[0])

    @property
    def owner(self) -> Owner | None:
        """The owner of the cause: who has to act."""
        return self.cause.owner

    @property
    def exit_code(self) -> int:
        """The exit code of the process."""
        return self.cause.exit_code

    @property
    def transient(self) -> bool:
        """Whether the same call may succeed a little later."""
        return self.cause.transient


def describe(error: BaseException) -> str:
    """Return what an unforeseen error says and where it was raised: a defect may not occur again for a traceback.

    Its secrets are still to be redacted.
    """
    frames = [frame for frame in extract_tb(error.__traceback__) if frame.filename.startswith(_HERE)]
    own = [f"{frame.filename.removeprefix(_HERE)}:{frame.lineno}" for frame in frames]
    said = ": ".join(text for text in (type(error).__name__, str(error)) if text)
    return f"{said} (at {', '.join(own[-_FRAMES:])})" if own else said


_HERE: Final = __file__.removesuffix("errors.py")
_FRAMES: Final = 4
"""Innermost places of an error that are printed."""


class SettingsError(ViplakeError):
    """A setting, an option or a file is wrong. Found before anything is sent or written."""

    default_cause = "config"


class QueryError(SettingsError):
    """The SQL of a query is wrong; the message has several lines, and may mark the place with `^`."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.args = ("\n".join(map(_line, message.split("\n"))),)


class CredentialsError(ViplakeError):
    """A secret is missing, malformed, or refused."""

    default_cause = "secrets_missing"


class VendorError(ViplakeError):
    """A fault of the vendor: a failed export, or a response without the documented form.

    Args:
        retry_after: seconds to wait, from the vendor's header `Retry-After`; None without it.
    """

    default_cause = "vendor_contract"

    def __init__(
        self,
        message: str,
        *,
        cause: str | None = None,
        hint: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, cause=cause, hint=hint)
        self.retry_after = retry_after


class NetworkError(ViplakeError):
    """No response, or one from another host.

    Args:
        sent: False where the request certainly did not reach the host.

    Attributes:
        came: the part of the response that had arrived when the connection broke; None: nothing.
    """

    default_cause = "network"

    def __init__(self, message: str, *, cause: str | None = None, hint: str | None = None, sent: bool = True) -> None:
        super().__init__(message, cause=cause, hint=hint)
        self.sent = sent
        self.came: Any = None


class DeliveryError(ViplakeError):
    """Not every file of the manifest is stored; the stored ones stay.

    Args:
        unproven: names of files that were stored, but not with the bytes that were sent.
    """

    default_cause = "transfer_timeout"

    def __init__(self, message: str, *, cause: str | None = None, unproven: Collection[str] = ()) -> None:
        super().__init__(message, cause=cause)
        self.unproven = frozenset(unproven)


class LakeError(ViplakeError):
    """The lake cannot be read or written."""

    default_cause = "dest_unavailable"


WITHHELD: Final[Mapping[str, str]] = {
    "dest_archived": "it is archived",
    "dest_denied": "we may not read it",
    "dest_kms": "we may not use its KMS key",
}
"""Causes for which the store does not give one object, although it gives others, and how findings begin."""


def withheld_cause(why: str) -> str | None:
    """Return the cause if the text begins as one of `WITHHELD`; None: the file was read, and is itself at fault."""
    return next((cause for cause, words in WITHHELD.items() if why.startswith(f"{words}: ")), None)


class DamagedUpload(LakeError):
    """The store received bytes with another checksum than was sent with them. A retry may succeed."""


class NotYet(ViplakeError):
    """Not due, in work by another process, or interrupted: run the command again later."""

    default_cause = "waiting"
