"""Connections to the file: one that writes, a transaction at a time, and one that only reads and waits for no writer.

Here, and only here, the library's exceptions become JournalUnavailableError - except inside a transaction, where the
group commit has to tell a bad row from a full disk.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import aiosqlite

from sidecar.errors import JournalUnavailableError
from sidecar.journal.queries import QUERIES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from sidecar.journal.queue import WriteQueue
    from sidecar.journal.rows import Values

Result = TypeVar("Result")
BUSY_TIMEOUT_S: Final = 5.0
_DURABLE: Final = "PRAGMA synchronous = FULL"  # a commit is on the disk, not only with the kernel
_LAX: Final = "PRAGMA synchronous = NORMAL"
TRUSTED: Final = "PRAGMA ignore_check_constraints = ON"
"""For writing, once the file was checked: `rows` lets through what is right, and does so at a tenth of the cost."""
_SETTINGS: Final = (
    "PRAGMA foreign_keys = ON",
    _DURABLE,
    "PRAGMA journal_size_limit = 67108864",  # a log that once grew gives its space back
)


@asynccontextmanager
async def connected(path: str) -> AsyncIterator[aiosqlite.Connection]:
    """Connect to an existing file; the connection and its thread end with the context."""
    # The library's thread outlives a connect that fails, and may then speak to a loop that is closed; so it fails here.
    sqlite3.connect(_uri(path), uri=True).close()
    connection = await aiosqlite.connect(_uri(path), uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S)
    try:
        connection.row_factory = sqlite3.Row
        for setting in _SETTINGS:
            await connection.execute(setting)
        yield connection
    finally:
        await connection.close()


def _uri(path: str) -> str:
    # mode=rw: a file that is not there is an error, not made.
    return f"{Path(path).absolute().as_uri()}?mode=rw"


@contextmanager
def faults_told(path: str) -> Iterator[None]:
    """Turn what the library raises into JournalUnavailableError. It says ValueError of a connection that is closed."""
    try:
        yield
    except (sqlite3.Error, ValueError) as error:
        raise JournalUnavailableError(f"the journal {path} is not available: {error}") from error


class Reader:
    """The connection that reads. Every statement sees what was committed before it."""

    def __init__(self, connection: aiosqlite.Connection, path: str) -> None:
        self._connection = connection
        self._path = path

    async def rows(self, query: str, values: Values) -> list[sqlite3.Row]:
        """Run a named query. Raises JournalUnavailableError."""
        with faults_told(self._path):
            return list(await self._connection.execute_fetchall(QUERIES[query], values))


class Writer:
    """The connection that writes, for one transaction at a time; with a `queue`, in turn with other processes."""

    def __init__(self, connection: aiosqlite.Connection, queue: WriteQueue | None = None) -> None:
        self._connection = connection
        self._queue = queue
        self._lock = asyncio.Lock()

    async def run(
        self, work: Callable[[sqlite3.Connection], Result], *, durable: bool = True, single: bool = False
    ) -> Result:
        """Commit what `work` does, or nothing of it; give what it gives. Raises what the library raises.

        All of it is one trip to the connection's thread. Who is cancelled while waiting does not take it back. With
        `durable=False` it may be lost when the machine crashes, and is not waited for until it is on the disk. With
        `single=True` it is one statement, which is a transaction by itself.
        """
        async with self._lock:
            # The library's own calls are a trip a statement, each of which costs more than most statements do.
            done: Result = await self._connection._execute(self._work, work, durable, single)  # type: ignore[no-untyped-call]  # noqa: SLF001
            return done

    def _work(self, work: Callable[[sqlite3.Connection], Result], durable: bool, single: bool) -> Result:
        connection = self._connection._conn  # noqa: SLF001
        if not durable:
            connection.execute(_LAX)
        try:
            with self._queue.turn() if self._queue else nullcontext():
                return work(connection) if single else _in_transaction(connection, work)
        finally:
            if not durable:
                connection.execute(_DURABLE)


def _in_transaction(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], Result]) -> Result:
    try:
        connection.execute("BEGIN IMMEDIATE")
        result = work(connection)
        connection.commit()
    except BaseException:
        with suppress(sqlite3.Error):
            connection.rollback()
        raise
    return result
