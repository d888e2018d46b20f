"""A file that is in use, foreign, newer or damaged is refused with a mend, and stays as it is."""

# ruff: noqa: ASYNC230, ASYNC240  (small local files, and nothing else runs meanwhile)

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sidecar.engine.ports import Change
from sidecar.errors import JournalRefusedError
from sidecar.journal import schema
from sidecar.journal.lock import OwnerLock
from sidecar.journal.store import SqliteJournal
from sidecar.turn.state import Plan, State

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from sidecar.turn.state import Turn

    Open = Callable[..., Awaitable[SqliteJournal]]


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    """Fail if a thread of aiosqlite stays: it would keep the process from ending."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive()


def run_sql(path: str, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


async def make_journal(open_journal: Open, make_turn: Callable[..., Turn], turns: int = 1) -> None:
    journal = await open_journal()
    for number in range(turns):
        await journal.submit(Change(turn=make_turn(f"t{number}", traceparent="x" * 500), at=1.0))
    await journal.close()


async def assert_refused(open_journal: Open, path: str, *words: str, own: bool = True) -> None:
    before = Path(path).read_bytes()
    with pytest.raises(JournalRefusedError) as refused:
        await open_journal(own=own)
    for word in (path, *words):
        assert word in str(refused.value)
    assert Path(path).read_bytes() == before


async def test_the_files_are_for_their_user_only(open_journal: Open, make_turn: Callable[..., Turn], path: str) -> None:
    umask = os.umask(0)
    try:
        journal = await open_journal()
        await journal.submit(Change(turn=make_turn(), at=1.0))
        for name in (path, f"{path}-wal", f"{path}-shm", f"{path}.lock"):
            assert stat.S_IMODE(Path(name).stat().st_mode) == 0o600
    finally:
        os.umask(umask)


async def test_the_settings_of_durability(journal: SqliteJournal) -> None:
    for connection in (journal._writer._connection, journal._reader._connection):
        found = {}
        for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "application_id", "user_version"):
            found[name] = next(iter(await connection.execute_fetchall(f"PRAGMA {name}")))[0]
        assert found == {
            "journal_mode": "wal",
            "synchronous": 2,
            "foreign_keys": 1,
            "busy_timeout": 5000,
            "application_id": schema.APPLICATION_ID,
            "user_version": schema.VERSION,
        }


async def test_the_principal_key_is_kept(open_journal: Open, path: str) -> None:
    first = await open_journal()
    assert len(first.principal_key) == 32
    beside = await open_journal(own=False)
    await beside.close()
    await first.close()
    again = await open_journal()
    assert first.principal_key == again.principal_key == beside.principal_key
    await again.close()
    Path(path).unlink()
    assert (await open_journal()).principal_key != first.principal_key


async def test_a_second_owner_is_refused_until_the_first_lets_go(open_journal: Open, path: str) -> None:
    first = await open_journal()
    with pytest.raises(JournalRefusedError, match=f"pid {os.getpid()}") as refused:
        await open_journal()
    assert path in str(refused.value)
    await first.close()
    await open_journal()


async def test_the_lock_sees_through_links(open_journal: Open, path: str) -> None:
    await open_journal()
    link = f"{path}-link"
    Path(link).symlink_to(path)
    with pytest.raises(JournalRefusedError, match="another sidecar"):
        OwnerLock.take(link)


async def test_a_refused_opening_lets_go_of_the_lock(open_journal: Open, path: str) -> None:
    Path(path).write_bytes(b"no database" * 1000)
    with pytest.raises(JournalRefusedError):
        await open_journal()
    OwnerLock.take(path).release()


async def test_a_newer_journal_is_refused(open_journal: Open, make_turn: Callable[..., Turn], path: str) -> None:
    await make_journal(open_journal, make_turn)
    run_sql(path, "PRAGMA user_version = 99")
    for own in (True, False):
        await assert_refused(open_journal, path, "schema 99", f"knows {schema.VERSION}", "run that version", own=own)


async def test_the_operator_does_not_migrate(open_journal: Open, make_turn: Callable[..., Turn], path: str) -> None:
    await make_journal(open_journal, make_turn)
    run_sql(path, "PRAGMA user_version = 0")
    await assert_refused(open_journal, path, "older sidecar", own=False)


async def test_the_operator_does_not_make_a_journal(open_journal: Open, path: str) -> None:
    with pytest.raises(JournalRefusedError, match="there is no journal at"):
        await open_journal(own=False)
    assert list(Path(path).parent.iterdir()) == []


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE theirs (x)"],
        ["CREATE TABLE theirs (x)", "PRAGMA application_id = 77", "PRAGMA user_version = 1"],
        ["PRAGMA application_id = 77"],
        ["PRAGMA user_version = 1"],
    ],
)
async def test_another_applications_database_is_refused(open_journal: Open, path: str, statements: list[str]) -> None:
    run_sql(path, *statements)
    for own in (True, False):
        await assert_refused(open_journal, path, "another application", own=own)
    assert not Path(f"{path}-wal").exists()


@pytest.mark.parametrize(
    "content", [b"\x00" * 4096, os.urandom(65536), b"Hello", b"SQLite format 3\x00" + b"\xff" * 500]
)
async def test_what_is_no_database_is_refused(open_journal: Open, path: str, content: bytes) -> None:
    Path(path).write_bytes(content)
    await assert_refused(open_journal, path, "damaged", "restore it")


@pytest.mark.parametrize("part", [0.03, 0.3, 0.6, 0.9])
async def test_a_truncated_journal_is_refused(
    open_journal: Open, make_turn: Callable[..., Turn], path: str, part: float
) -> None:
    await make_journal(open_journal, make_turn, turns=200)
    os.truncate(path, int(Path(path).stat().st_size * part))
    await assert_refused(open_journal, path, "damaged", "restore it")


async def test_an_overwritten_page_is_refused(open_journal: Open, make_turn: Callable[..., Turn], path: str) -> None:
    await make_journal(open_journal, make_turn, turns=200)
    size = Path(path).stat().st_size
    with Path(path).open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xa5" * 8192)
    await assert_refused(open_journal, path, "damaged")


async def test_an_emptied_file_beside_its_log_is_refused(
    open_journal: Open, make_turn: Callable[..., Turn], path: str
) -> None:
    await make_journal(open_journal, make_turn)
    os.truncate(path, 0)
    Path(f"{path}-wal").write_bytes(b"committed changes")
    await assert_refused(open_journal, path, "damaged", "empty")


async def test_an_edited_word_is_found_at_the_next_start(
    open_journal: Open, make_turn: Callable[..., Turn], path: str
) -> None:
    await make_journal(open_journal, make_turn)
    run_sql(path, "PRAGMA ignore_check_constraints = ON", "UPDATE turns SET state = 'asleep'")
    await assert_refused(open_journal, path, "damaged", "CHECK")


async def test_a_lost_principal_key_is_refused_to_the_operator(
    open_journal: Open, make_turn: Callable[..., Turn], path: str
) -> None:
    await make_journal(open_journal, make_turn)
    run_sql(path, "DELETE FROM meta")
    await assert_refused(open_journal, path, "principal key", own=False)


async def test_a_missing_folder_is_named(open_journal: Open, path: str) -> None:
    folder = Path(path).parent
    folder.rmdir()
    with pytest.raises(JournalRefusedError, match="there is no folder") as refused:
        await open_journal()
    assert str(folder) in str(refused.value)
    assert "journal.path" in str(refused.value)


async def test_a_folder_in_the_journals_place_is_refused(open_journal: Open, path: str) -> None:
    Path(path).mkdir()
    for own in (True, False):
        with pytest.raises(JournalRefusedError):
            await open_journal(own=own)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_folder_that_cannot_be_written_is_told(open_journal: Open, path: str) -> None:
    Path(path).parent.chmod(0o500)
    with pytest.raises(JournalRefusedError, match="write in this folder"):
        await open_journal()


async def test_a_failed_migration_leaves_the_file_as_it_was(
    open_journal: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "MIGRATIONS", ["CREATE TABLE half (x); CREATE TABLE half (x);"])
    with pytest.raises(JournalRefusedError, match="half"):
        await open_journal()
    monkeypatch.undo()
    journal = await open_journal()
    assert await journal.turns(State.OPEN) == []


async def test_an_odd_path_is_taken_literally(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(path).parent)
    odd = "a b?mode=memory#%41.db"
    journal = await SqliteJournal.open(odd, plan_of=lambda _: Plan(), clock=lambda: 1.0)
    await journal.close()
    assert (Path(path).parent / odd).stat().st_size > 0
