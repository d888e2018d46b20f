"""Where the writers of several processes queue up, before SQLite sees them.

SQLite lets one write at a time, but has the others look again after pauses that grow to a tenth of a second. Those that
wait for a flock(2) are woken as soon as it is free. Nothing but the waiting hangs on it: SQLite's own locks guard the
file, also against a writer that does not queue, such as the operator's.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from sidecar.journal.lock import FILE_MODE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import aiosqlite

BEGIN_IN_TURN: Final = "SELECT queue_up(); BEGIN IMMEDIATE"
STEP_ASIDE: Final = "SELECT step_aside()"
"""As a script, it commits before it runs."""


@asynccontextmanager
async def queueing(connection: aiosqlite.Connection, path: str) -> AsyncIterator[None]:
    """Let the two statements be run on the connection, whose thread then waits. Raises sqlite3.Error, OSError."""
    fd = _open(path)
    try:
        await connection.create_function("queue_up", 0, partial(fcntl.flock, fd, fcntl.LOCK_EX))
        await connection.create_function("step_aside", 0, partial(fcntl.flock, fd, fcntl.LOCK_UN))
        yield
    finally:
        os.close(fd)


def _open(path: str) -> int:
    return os.open(os.path.realpath(path) + ".queue", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
