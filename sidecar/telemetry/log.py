"""Logs: one line per event, JSON off a terminal and coloured on one; a line that cannot be written is lost, no more.

Everything goes one way: `structlog.get_logger()` here and everywhere, and the standard library's loggers (asyncio,
aiohttp) from warnings up. A line holds what its call names and nothing besides: no header, no body, no local variable.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from sidecar.telemetry.line import Stamp, to_json

if TYPE_CHECKING:
    from typing import TextIO

    from structlog.typing import EventDict, Processor, WrappedLogger


class LogSettings(Protocol):
    """What the set-up needs of `[log]`."""

    @property
    def format(self) -> str:
        """Either `json`, `console`, or `auto`: console if the stream is a terminal."""

    @property
    def level(self) -> str:
        """The least level that is logged: debug, info, warning or error."""


class Lines:
    """A stream that takes whole lines and hurts nobody: who logs must not fail because nobody reads.

    Without a stream (a process may have no stderr) the lines go nowhere.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def msg(self, message: str) -> None:
        """Write a line. What a closed, full or broken stream raises is dropped with the line."""
        if self._stream is None:
            return
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(message + "\n")
            self._stream.flush()

    log = debug = info = warning = warn = error = critical = fatal = exception = msg


class _LinesHandler(logging.Handler):
    """Sends the standard library's records to the same lines."""

    def __init__(self, lines: Lines, formatter: logging.Formatter) -> None:
        super().__init__(logging.WARNING)
        self._lines = lines
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.msg(self.format(record))
        except Exception:  # noqa: BLE001  (a record whose arguments do not fit its message)
            structlog.get_logger().warning("log_record_unreadable", logger=record.name)


_LEVELS: Final = logging.getLevelNamesMapping()
_COMMON: Final[tuple[Processor, ...]] = (structlog.processors.add_log_level, Stamp())


class _Threshold:
    """Drops what is below a level. It stands among the processors because these can change while loggers are in use."""

    def __init__(self, level: int) -> None:
        self._dropped = {name.lower() for name, number in _LEVELS.items() if number < level}

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        if event["level"] in self._dropped:
            raise structlog.DropEvent
        return event


class _Worker:
    """Says in each line which of several processes wrote it."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event.setdefault("worker", self._number)
        return event


def set_up_logging(log: LogSettings, stream: TextIO | None = None, *, worker: int | None = None) -> None:
    """Send all logs to a stream (default: stderr). Call it before the first line. `worker` numbers this process.

    Called again with the same stream, it changes level and format of the loggers that are in use, too.
    """
    stream = stream or sys.stderr
    lines, level = Lines(stream), _LEVELS[log.level.upper()]
    rendering = _rendering(log.format, stream)
    in_use = structlog.get_config()["processors"]  # the loggers hold this very list
    common: tuple[Processor, ...] = _COMMON if worker is None else (*_COMMON, _Worker(worker))
    in_use[:] = [common[0], _Threshold(level), *common[1:], *rendering]
    structlog.configure(
        processors=in_use,
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        foreign_pre_chain=[*common, structlog.stdlib.add_logger_name],
    )
    root = logging.getLogger()
    root.handlers[:] = [_LinesHandler(lines, formatter)]
    root.setLevel(max(level, logging.WARNING))


def _rendering(log_format: str, stream: TextIO | None) -> tuple[Processor, ...]:
    terminal = stream is not None and stream.isatty()
    if log_format == "console" or (log_format == "auto" and terminal):
        # The default formatter of exceptions would show local variables, and with them what is none of a log's.
        plain = structlog.dev.plain_traceback
        return (_printable, structlog.dev.ConsoleRenderer(colors=terminal, exception_formatter=plain))
    return (structlog.processors.format_exc_info, structlog.processors.JSONRenderer(to_json))


def _printable(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Escape what would steer the terminal: some values were chosen by strangers."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[key] = value.encode("unicode_escape").decode()
    return event
