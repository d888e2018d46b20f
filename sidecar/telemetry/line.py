"""What makes a log line out of an event: its time, and its JSON; both are made for every exchange, and so made cheap.

A line is ASCII, whatever strangers put into its values: a terminal that shows the log takes no orders from it.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import EventDict, WrappedLogger


class Stamp:
    """Adds the time to an event: ISO 8601 in UTC, to the microsecond. A second's part is written once for all in it."""

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self._known = (-1, "")

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        """Set `timestamp`."""
        second, nanoseconds = divmod(self._clock(), 1_000_000_000)
        known, prefix = self._known
        if second != known:
            prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._known = second, prefix  # at once: there may be other threads
        event["timestamp"] = f"{prefix}.{nanoseconds // 1000:06d}Z"
        return event


def to_json(event: EventDict, default: Callable[[object], object]) -> str:
    """Write an event as JSON in ASCII; what JSON has not is shown as `default` has it."""
    try:
        line = orjson.dumps(event, default=default, option=orjson.OPT_PASSTHROUGH_DATACLASS)
    except TypeError:  # half a surrogate pair, or a number beyond 64 bits
        return json.dumps(event, default=default)
    return line.decode() if line.isascii() and b"\x7f" not in line else json.dumps(event, default=default)
