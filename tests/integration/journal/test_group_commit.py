"""Many changes, few transactions; one bad change, or a full disk, takes nobody else along."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.engine.ports import Change, Haste, StepUpdate
from sidecar.errors import JournalUnavailableError
from sidecar.journal import group_commit
from sidecar.turn.state import State, StepKind, StepState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sidecar.journal.store import SqliteJournal
    from sidecar.turn.state import Turn


async def trace(journal: SqliteJournal) -> list[str]:
    statements: list[str] = []
    await journal._writer._connection.set_trace_callback(statements.append)
    return statements


async def pragma(journal: SqliteJournal, text: str) -> Any:  # noqa: ANN401  (whatever SQLite says)
    rows = list(await journal._writer._connection.execute_fetchall(f"PRAGMA {text}"))
    return rows[0][0] if rows else None


async def test_a_thousand_at_once_share_few_transactions(
    journal: SqliteJournal, make_turn: Callable[..., Turn]
) -> None:
    statements = await trace(journal)
    await asyncio.gather(*(journal.submit(Change(turn=make_turn(f"t{n}"), at=1.0)) for n in range(1000)))
    assert len(await journal.turns(limit=2000)) == 1000
    assert statements.count("BEGIN IMMEDIATE") == 1
    assert statements.count("COMMIT") == 1


FOREVER_S = 3600.0


async def test_what_can_be_later_goes_along_with_what_cannot(
    journal: SqliteJournal, make_turn: Callable[..., Turn], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "LATER_S", FOREVER_S)
    statements = await trace(journal)
    turn = make_turn("t1")
    later = [
        journal.submit(Change(turn=replace(turn, looks=1), at=1.0, haste=Haste.LATER)),
        journal.submit(Change(turn=make_turn("t2"), at=1.0, haste=Haste.LATER)),
    ]
    await journal.turns()
    assert not any(future.done() for future in later)
    await journal.submit(Change(turn=replace(turn, looks=2), at=1.0))
    assert all(future.done() for future in later)
    assert [one.split(" ", 2)[:2] for one in statements] == [["INSERT", "INTO"]]  # a transaction by itself
    assert {turn.id: turn.looks for turn in await journal.turns()} == {"t1": 2, "t2": 0}


async def test_what_can_be_later_does_not_wait_for_company_for_ever(
    journal: SqliteJournal, make_turn: Callable[..., Turn]
) -> None:
    async with asyncio.timeout(10):
        await journal.submit(Change(turn=make_turn(), at=1.0, haste=Haste.LATER))
    assert len(await journal.turns()) == 1


async def test_what_has_to_be_soon_gathers_where_transactions_follow_each_other_closely(
    journal: SqliteJournal, make_turn: Callable[..., Turn], monkeypatch: pytest.MonkeyPatch
) -> None:
    statements = await trace(journal)
    await journal.submit(Change(turn=make_turn("t0"), at=1.0, haste=Haste.SOON))
    monkeypatch.setattr(group_commit, "SOON_S", FOREVER_S)
    soon = [journal.submit(Change(turn=make_turn(f"t{n}"), at=1.0, haste=Haste.SOON)) for n in range(1, 4)]
    await journal.turns()
    assert not any(future.done() for future in soon)
    await journal.submit(Change(turn=make_turn("t4"), at=1.0))
    await asyncio.gather(*soon)
    assert len(statements) == 2
    assert len(await journal.turns()) == 5


async def test_closing_waits_for_nothing_that_can_be_later(
    journal: SqliteJournal, make_turn: Callable[..., Turn], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "LATER_S", FOREVER_S)
    later = journal.submit(Change(turn=make_turn(), at=1.0, haste=Haste.LATER))
    async with asyncio.timeout(10):
        await journal.close()
    assert later.done()
    assert later.exception() is None


async def test_futures_are_done_in_the_order_of_submission(
    journal: SqliteJournal, make_turn: Callable[..., Turn], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "GROUP_MAX", 7)
    done: list[int] = []
    futures = []
    for number in range(50):
        future = journal.submit(Change(turn=make_turn(f"t{number}"), at=1.0))
        future.add_done_callback(lambda _, number=number: done.append(number))  # type: ignore[misc]  # a default binds
        futures.append(future)
    await asyncio.gather(*futures)
    assert done == list(range(50))


async def test_of_a_turn_the_last_version_stays_and_all_that_is_owed(
    journal: SqliteJournal, make_turn: Callable[..., Turn]
) -> None:
    turn = make_turn()
    statements = await trace(journal)
    cancelling = replace(turn, state=State.CANCELLING)
    futures = [
        journal.submit(Change(turn=turn, at=1.0)),
        journal.submit(Change(turn=cancelling, owed=(StepKind.CANCEL,), at=2.0)),
        journal.submit(
            Change(turn=replace(cancelling, captured={**turn.captured, "task": "x"}), owed=(StepKind.ROLLBACK,), at=3.0)
        ),
    ]
    await asyncio.gather(*futures)
    loaded = await journal.load("t1")
    assert loaded is not None
    assert (loaded.state, loaded.captured["task"]) == (State.CANCELLING, "x")
    assert loaded.steps == {StepKind.CANCEL: StepState.PENDING, StepKind.ROLLBACK: StepState.PENDING}
    assert sum(statement.startswith("INSERT INTO turns") for statement in statements) == 1


async def test_given_up_and_owed_again_in_one_group(journal: SqliteJournal, make_turn: Callable[..., Turn]) -> None:
    turn = make_turn(state=State.CANCELLING)
    await journal.submit(Change(turn=turn, owed=(StepKind.CANCEL,), at=1.0))
    died = StepUpdate(turn_id="t1", kind=StepKind.CANCEL, state=StepState.DEAD, attempts=20, due_at=1.0, error="500")
    futures = [
        journal.submit(Change(turn=replace(turn, state=State.UNRESOLVED), update=died, at=2.0)),
        journal.submit(Change(turn=turn, owed=(StepKind.CANCEL,), at=3.0)),
    ]
    await asyncio.gather(*futures)
    (row,) = await journal.outbox()
    assert (row.state, row.attempts, row.due_at) == ("pending", 0, 3.0)


def bad_changes(turn: Turn) -> dict[str, Change]:
    nonsense: Any = "nonsense"
    nothing: Any = None
    return {
        "check": Change(turn=replace(turn, state=nonsense), at=1.0),
        "not null": Change(turn=replace(turn, created_at=nothing), at=1.0),
        "type": Change(turn=replace(turn, route=nonsense.encode), at=1.0),
        "surrogate": Change(turn=replace(turn, captured={"request_id": "\ud800"}), at=1.0),
        "no request id": Change(turn=replace(turn, captured={}), at=1.0),
        "owed to nobody": Change(owed=(StepKind.CANCEL,), at=1.0),
    }


@pytest.mark.parametrize("kind", ["check", "not null", "type", "surrogate", "no request id", "owed to nobody"])
@pytest.mark.parametrize("place", [0, 5, 10])
async def test_a_bad_change_fails_alone(
    journal: SqliteJournal, make_turn: Callable[..., Turn], kind: str, place: int
) -> None:
    changes = [Change(turn=make_turn(f"t{n}"), owed=(StepKind.CANCEL,), at=1.0) for n in range(10)]
    changes.insert(place, bad_changes(make_turn("bad"))[kind])
    results = await asyncio.gather(*map(journal.submit, changes), return_exceptions=True)
    assert [n for n, result in enumerate(results) if result is not None] == [place]
    assert isinstance(results[place], JournalUnavailableError)
    assert {turn.id for turn in await journal.turns()} == {f"t{n}" for n in range(10)}
    assert len(await journal.outbox()) == 10


async def test_a_full_disk_fails_the_change_and_later_ones_pass(
    journal: SqliteJournal, make_turn: Callable[..., Turn]
) -> None:
    pages = await pragma(journal, "page_count")
    assert await pragma(journal, f"max_page_count = {pages + 4}") == pages + 4
    large = [make_turn(f"t{n}", traceparent="x" * 3000) for n in range(50)]
    results = [
        (await asyncio.gather(journal.submit(Change(turn=turn, at=1.0)), return_exceptions=True))[0] for turn in large
    ]
    failed = [turn.id for turn, result in zip(large, results, strict=True) if result is not None]
    assert failed
    assert all("full" in str(result) for result in results if result is not None)
    assert all(result is None or isinstance(result, JournalUnavailableError) for result in results)
    assert {turn.id for turn in await journal.turns(limit=100)} == {turn.id for turn in large} - set(failed)

    await pragma(journal, "max_page_count = 1000000")
    await asyncio.gather(*(journal.submit(Change(turn=turn, at=2.0)) for turn in large))
    assert len(await journal.turns(limit=100)) == 50


async def test_a_locked_file_fails_the_group_and_later_ones_pass(
    journal: SqliteJournal, make_turn: Callable[..., Turn], path: str
) -> None:
    await pragma(journal, "busy_timeout = 20")
    other = sqlite3.connect(path, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        futures = [journal.submit(Change(turn=make_turn(f"t{n}"), at=1.0)) for n in range(3)]
        results = await asyncio.gather(*futures, return_exceptions=True)
        assert all(isinstance(result, JournalUnavailableError) for result in results)
        with pytest.raises(JournalUnavailableError, match="locked"):
            await journal.lease(now=1.0, until=2.0, limit=1)
        assert await journal.turns() == []  # reading goes on meanwhile
        other.execute("ROLLBACK")
    finally:
        other.close()
    await journal.submit(Change(turn=make_turn(), at=1.0))
    assert len(await journal.turns()) == 1


async def test_who_no_longer_waits_does_not_take_the_change_back(
    journal: SqliteJournal, make_turn: Callable[..., Turn]
) -> None:
    left, stayed = (journal.submit(Change(turn=make_turn(turn_id), at=1.0)) for turn_id in ("left", "stayed"))
    left.cancel()
    await stayed
    assert {turn.id for turn in await journal.turns()} == {"left", "stayed"}


async def test_close_makes_durable_what_is_pending(
    open_journal: Callable[..., Awaitable[SqliteJournal]], make_turn: Callable[..., Turn]
) -> None:
    journal = await open_journal()
    futures = [journal.submit(Change(turn=make_turn(f"t{n}"), at=1.0)) for n in range(20)]
    await journal.close()
    assert all(future.done() and future.exception() is None for future in futures)
    assert len(await (await open_journal()).turns()) == 20


async def test_too_many_pending_changes_are_refused(
    journal: SqliteJournal, make_turn: Callable[..., Turn], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "PENDING_MAX", 2)
    futures = [journal.submit(Change(turn=make_turn(f"t{n}"), at=1.0)) for n in range(3)]
    results = await asyncio.gather(*futures, return_exceptions=True)
    assert results[:2] == [None, None]
    assert isinstance(results[2], JournalUnavailableError)


async def test_a_cancelled_writer_leaves_nobody_waiting(journal: SqliteJournal, make_turn: Callable[..., Turn]) -> None:
    task = journal._group_commit._task
    assert task is not None
    future = journal.submit(Change(turn=make_turn(), at=1.0))
    await asyncio.sleep(0)  # it has begun
    task.cancel()
    with pytest.raises(JournalUnavailableError):
        await future
    with pytest.raises(JournalUnavailableError):
        await journal.submit(Change(turn=make_turn(), at=1.0))
    await journal.close()
