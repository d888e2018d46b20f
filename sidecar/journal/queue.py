"""Where the writers of several processes queue up, before SQLite sees them.

SQLite lets one write at a time, but has the others look again after pauses that grow to a tenth of a second. Those that
wait for a flock(2) are woken as soon as it is free. Nothing but the waiting hangs on it: SQLite's own locks guard the
file, also against a writer that does not queue, such as the operator's.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sidecar.journal.lock import FILE_MODE

if TYPE_CHECKING:
    from collections.abc import Iterator


class WriteQueue:
    """The queue of a journal's writers, as one of them has it."""

    def __init__(self, path: str) -> None:
        """Take a place to wait at. Raises OSError."""
        self._fd = os.open(os.path.realpath(path) + ".queue", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait, with this thread, until it is this writer's turn; it is the next one's after the context."""
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Leave."""
        os.close(self._fd)
