"""I/O. Logs to stderr: for a person on a terminal, one JSON object a line elsewhere; no secret in either.

Our own events (structlog) and those of third-party libraries (logging) pass through one formatter, and it is there
that everything secret is removed, from each value before it is cut or escaped, and once more from the finished line: no
logger can be forgotten. Control characters are escaped,
so that a vendor's message can neither forge a line nor move a cursor. Tracebacks are shown only on request, and
never with local variables, which hold secrets.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import TYPE_CHECKING, Any, Final, TextIO

import structlog

from viplake.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

    from structlog.typing import Processor

_QUIET: Final = ("aiohttp", "asyncio", "botocore", "boto3", "urllib3", "s3transfer")
"""Libraries with debug lines that quote requests; only their warnings and errors are logged."""

_LONGEST: Final = 2000
"""Characters of one value: a vendor's error page is not a log line."""

_KEEP: Final = "\n\t"
"""Members of a log record that make up a traceback."""


def configure(
    level: str,
    form: str,
    *,
    tracebacks: bool = False,
    color: bool = True,
    stream: TextIO | None = None,
    hear: Callable[[Mapping[str, Any]], bool] | None = None,
) -> None:
    """Set up logging for this process.

    Args:
        level: `DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`.
        form: `json`, `text`, or `auto`: text on a terminal, else JSON.
        tracebacks: show them, without locals.
        color: on a terminal.
        stream: instead of stderr.
        hear: called with viplake's own events of every level; if it returns True, the event is not logged.
    """
    stream = stream or sys.stderr
    as_text = form == "text" or (form == "auto" and stream.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        _named,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info if tracebacks else _without_traceback,
        _contained,
    ]
    render: Processor = (
        structlog.dev.ConsoleRenderer(
            colors=color and stream.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        if as_text
        else structlog.processors.JSONRenderer(sort_keys=False, ensure_ascii=False, default=str)
    )
    formatter = _Redacting(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
    )
    sink = _Sink(stream)
    sink.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [sink]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    structlog.configure(
        processors=[
            *([] if hear is None else [_handing_to(hear)]),
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


class _Sink(logging.StreamHandler[TextIO]):
    """Writes lines; a line that cannot be written does not end the process."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Report it without the arguments and the stack, which `logging` would print in clear."""
        with contextlib.suppress(OSError, ValueError):
            self.stream.write(f"a log line of {record.name} could not be written\n")


def _handing_to(hear: Callable[[Mapping[str, Any]], bool]) -> Processor:
    def hand_over(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if hear(event):
            raise structlog.DropEvent
        return event

    return hand_over


class _Redacting(structlog.stdlib.ProcessorFormatter):
    """The formatter of every line."""

    def format(self, record: logging.LogRecord) -> str:
        """The finished line, without secrets."""
        return redact(super().format(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """Return nothing: the processors render tracebacks, or leave them out."""
        del ei
        return ""


def _named(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the logger's name, unless it is viplake."""
    record = event.get("_record")
    if record is not None and not record.name.startswith("viplake"):
        event["logger"] = record.name
    return event


def _without_traceback(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace the traceback by the exception in one line."""
    info = event.pop("exc_info", None)
    error = info[1] if isinstance(info, tuple) else info if isinstance(info, BaseException) else None
    if info is True:
        error = sys.exc_info()[1]
    if error is not None:
        event["error"] = f"{type(error).__name__}: {error}"
    return event


def _contained(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Redact all values, escape control characters, and cut long ones."""
    return {
        name: value if name.startswith("_") else _plain(value, multiline=name == "exception")  # _: structlog's own
        for name, value in event.items()
    }


def _plain(value: Any, *, multiline: bool = False) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict):
        return {_plain(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    keep = _KEEP if multiline else ""
    text = redact(f"{type(value).__name__}: {value}" if isinstance(value, BaseException) else str(value))
    text = "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)
    return text if multiline or len(text) <= _LONGEST else text[:_LONGEST] + "..."
