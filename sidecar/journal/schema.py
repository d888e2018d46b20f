"""Whether a file may be used as a journal, and how it becomes one.

What is not ours, not whole, or newer than this code is refused and left as it is. Each migration is one transaction,
so that a crash leaves either version, never something between them.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sidecar.errors import JournalRefusedError
from sidecar.journal.lock import FILE_MODE
from sidecar.journal.queries import MIGRATIONS, QUERIES

if TYPE_CHECKING:
    from collections.abc import Iterator

    import aiosqlite

    from sidecar.engine.ports import Clock

APPLICATION_ID: Final = int.from_bytes(b"CaSj", "big")
VERSION: Final = len(MIGRATIONS)
CHECKED_BYTES_MAX: Final = 64 * 1024 * 1024
"""A larger file is not read through at every start."""
_PRINCIPAL_KEY: Final = "principal_key"
_PROCESSES: Final = "processes"
_PRINCIPAL_KEY_BYTES: Final = 32


def make_file(path: str) -> None:
    """Make the file if it is missing, readable by its user only, as it holds ids. Raises JournalRefusedError."""
    # An existing file is not even opened: to close it again would drop the locks that SQLite may hold in this process.
    try:
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE))
    except OSError as error:
        raise JournalRefusedError(f"the journal {path} cannot be made: {error.strerror}") from None
    with suppress(FileNotFoundError):
        if _size(path) == 0 and _size(f"{path}-wal") > 0:
            raise JournalRefusedError(_damaged(path, "it is empty, but the log beside it is not"))


def require_file(path: str) -> None:
    """Raise JournalRefusedError if there is no such file."""
    if not Path(path).is_file():
        raise JournalRefusedError(f"there is no journal at {path}; see journal.path, or start the sidecar first")


@contextmanager
def refusals(path: str) -> Iterator[None]:
    """Turn what the library raises while a file is being opened into JournalRefusedError."""
    try:
        yield
    except sqlite3.Error as error:
        # The low byte is the primary code; errors of the Python layer have none.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
            raise JournalRefusedError(_damaged(path, str(error))) from error
        raise JournalRefusedError(f"the journal {path} cannot be used: {error}") from error


async def prepare(connection: aiosqlite.Connection, path: str, clock: Clock) -> bytes:
    """Make the file a journal of this version; give its principal key. Raises JournalRefusedError."""
    version = await _version(connection, path)
    await _check_integrity(connection, path)
    await _set_wal(connection, path)
    for number in range(version, VERSION):
        await _migrate(connection, number)
    await _found(connection, clock)
    return await _principal_key(connection, path)


async def attach(connection: aiosqlite.Connection, path: str) -> bytes:
    """Use a journal of exactly this version, changing nothing; give its principal key. Raises JournalRefusedError."""
    version = await _version(connection, path)
    if version < VERSION:
        raise JournalRefusedError(
            f"the journal {path} was written by an older sidecar (schema {version}, this one knows {VERSION}); "
            "start this version's sidecar on it first"
        )
    return await _principal_key(connection, path)


def spread(processes: int, connection: sqlite3.Connection) -> None:
    """Give each of so many processes its share of what may still move, if they were not as many last time.

    To be run in a transaction.
    """
    known = connection.execute(QUERIES["read_meta"], {"key": _PROCESSES}).fetchone()
    if (int(known[0]) if known else 1) == processes:
        return
    for query in ("spread_turns", "spread_steps"):
        connection.execute(QUERIES[query], {"processes": processes})
    connection.execute(QUERIES["note_meta"], {"key": _PROCESSES, "value": str(processes).encode()})


async def _version(connection: aiosqlite.Connection, path: str) -> int:
    """Give the schema version (0: an empty file), and refuse what is not ours or newer."""
    application = await _number(connection, "PRAGMA application_id")
    version = await _number(connection, "PRAGMA user_version")
    is_empty = await _number(connection, "SELECT count(*) FROM sqlite_master") == 0
    if application != APPLICATION_ID and not (is_empty and application == version == 0):
        raise JournalRefusedError(
            f"{path} is the database of another application; it is left as it is, change journal.path"
        )
    if version > VERSION:
        raise JournalRefusedError(
            f"the journal {path} was written by a newer sidecar (schema {version}, this one knows {VERSION}); "
            "run that version"
        )
    return version


async def _check_integrity(connection: aiosqlite.Connection, path: str) -> None:
    if _size(path) > CHECKED_BYTES_MAX:
        return
    rows = await connection.execute_fetchall("PRAGMA quick_check(1)")
    verdict = str(next(iter(rows))[0])
    if verdict != "ok":
        raise JournalRefusedError(_damaged(path, verdict))


async def _set_wal(connection: aiosqlite.Connection, path: str) -> None:
    rows = await connection.execute_fetchall("PRAGMA journal_mode = WAL")
    if str(next(iter(rows))[0]).lower() != "wal":
        raise JournalRefusedError(
            f"the journal {path} cannot be used: its file system has no shared memory; put it on a local one"
        )


async def _migrate(connection: aiosqlite.Connection, number: int) -> None:
    marks = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {number + 1};"
    try:
        await connection.executescript(f"BEGIN IMMEDIATE; {MIGRATIONS[number]} {marks} COMMIT;")
    except sqlite3.Error:
        await connection.rollback()
        raise


async def _found(connection: aiosqlite.Connection, clock: Clock) -> None:
    """Settle what a journal keeps for life. Also shows that the file can be written at all."""
    founding = [
        {"key": _PRINCIPAL_KEY, "value": secrets.token_bytes(_PRINCIPAL_KEY_BYTES)},
        {"key": "created_at", "value": str(clock()).encode()},
    ]
    await connection.executemany(QUERIES["found_meta"], founding)


async def _principal_key(connection: aiosqlite.Connection, path: str) -> bytes:
    rows = list(await connection.execute_fetchall(QUERIES["read_meta"], {"key": _PRINCIPAL_KEY}))
    key = rows[0][0] if rows else None
    if not isinstance(key, bytes) or len(key) != _PRINCIPAL_KEY_BYTES:
        raise JournalRefusedError(_damaged(path, "its principal key is missing"))
    return key


async def _number(connection: aiosqlite.Connection, sql: str) -> int:
    rows = await connection.execute_fetchall(sql)
    return int(next(iter(rows))[0])


def _size(path: str) -> int:
    return Path(path).stat().st_size


def _damaged(path: str, how: str) -> str:
    return f"the journal {path} is damaged ({how}); move it away or restore it from a copy"
