"""I/O. Logs to stderr: for a person on a terminal, one JSON object a line elsewhere; no secret in either.

Our own events (structlog) and those of third-party libraries (logging) pass through one formatter, and it is there,
on the finished line, that everything secret is removed: no logger can be forgotten. Control characters are escaped,
so that a vendor's message can neither forge a line nor move a cursor. Tracebacks are shown only when asked for, and
never with local variables, which hold secrets.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, Final, TextIO

import structlog

from viplake.redact import redact

if TYPE_CHECKING:
    from collections.abc import MutableMapping, Sequence

    from structlog.typing import Processor

_QUIET: Final = ("aiohttp", "asyncio", "botocore", "boto3", "urllib3", "s3transfer")
"""Libraries whose debug lines quote requests; warnings and above are let through."""

_LONGEST: Final = 2000
"""Characters of one value: a vendor's error page is not a log line."""

_KEEP: Final = frozenset({"\n", "\t"})


def configure(
    level: str, form: str, *, tracebacks: bool = False, color: bool = True, stream: TextIO | None = None
) -> None:
    """Set up logging for this process.

    Args:
        level: `DEBUG`, `INFO`, `WARNING` or `ERROR`.
        form: `json`, `text`, or `auto`: text on a terminal, else JSON.
        tracebacks: show them, without locals.
        color: on a terminal.
        stream: instead of stderr.
    """
    stream = stream or sys.stderr
    as_text = form == "text" or (form == "auto" and stream.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
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
    sink = logging.StreamHandler(stream)
    sink.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [sink]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


class _Redacting(structlog.stdlib.ProcessorFormatter):
    """The one place through which every line goes."""

    def format(self, record: logging.LogRecord) -> str:
        """The finished line, without secrets."""
        return redact(super().format(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """Nothing: tracebacks are rendered, or left out, by the processors."""
        del ei
        return ""


def _without_traceback(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """What was raised, in one line, in place of its traceback."""
    info = event.pop("exc_info", None)
    error = info[1] if isinstance(info, tuple) else info if isinstance(info, BaseException) else None
    if info is True:
        error = sys.exc_info()[1]
    if error is not None:
        event["error"] = f"{type(error).__name__}: {error}"
    return event


def _contained(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Values that cannot break out of their line: control characters escaped, long ones cut."""
    return {name: _plain(value, multiline=name == "exception") for name, value in event.items()}


def _plain(value: Any, *, multiline: bool = False) -> Any:
    if isinstance(value, str):
        keep: Sequence[str] | frozenset[str] = _KEEP if multiline else ()
        text = "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in value)
        return text if multiline or len(text) <= _LONGEST else text[:_LONGEST] + "..."
    if isinstance(value, BaseException):
        return _plain(f"{type(value).__name__}: {value}")
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
