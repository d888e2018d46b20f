"""The journal as the engine knows it (`sidecar.engine.ports.Journal`), and as the operator reads it.

Changes go through the group commit; leases and pruning are transactions of their own on the same connection; all else
reads on a second connection, which no writer holds up.
"""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Final

from sidecar.engine.ports import Neighbours
from sidecar.engine.share import Share
from sidecar.engine.standing import TurnIds
from sidecar.journal.connection import TRUSTED, Reader, Writer, connected, faults_told
from sidecar.journal.group_commit import GroupCommit
from sidecar.journal.lock import OwnerLock
from sidecar.journal.queries import QUERIES
from sidecar.journal.queue import WriteQueue
from sidecar.journal.reads import JournalReads
from sidecar.journal.rows import (
    NO_STEP,
    read_order,
    read_owed_step,
    read_tombstone,
)
from sidecar.journal.schema import attach, make_file, prepare, refusals, require_file, spread

if TYPE_CHECKING:
    import asyncio
    import sqlite3
    from collections.abc import Callable, Sequence

    import aiosqlite

    from sidecar.engine.ports import Change, Clock, Order, OwedStep, StepRow, Tombstone
    from sidecar.journal.group_commit import CommitObserver
    from sidecar.journal.rows import Values
    from sidecar.turn.state import Plan, Turn

IDS_AT_ONCE: Final = 500
WHOLE: Final = Share()


class SqliteJournal(JournalReads):
    """A journal in a SQLite file. Made by `open`; must be closed, or its threads keep the process alive.

    Turns and steps are given by their ids to everyone, but those that are to be worked on only to their owner: the
    process whose share they are.
    Every coroutine but `open` raises JournalUnavailableError where the database cannot be read or written.
    """

    def __init__(
        self,
        path: str,
        *,
        reading: aiosqlite.Connection,
        writing: aiosqlite.Connection,
        principal_key: bytes,
        plan_of: Callable[[str], Plan],
        share: Share,
        queue: WriteQueue | None,
        lock: OwnerLock | None,
        resources: AsyncExitStack,
        observer: CommitObserver | None = None,
    ) -> None:
        self.principal_key = principal_key
        """The secret that makes principals of identity headers: 32 random bytes, kept for the journal's life."""
        self.lock = lock
        """The owner's lock, which processes that inherit it hold as well; None beside the owner."""
        self._path = path
        self._plan_of = plan_of
        self._owner = {"owner": share.number}
        self._share = share
        self._reader = Reader(reading, path)
        self._writer = Writer(writing, queue)
        self._group_commit = GroupCommit(self._writer, path, observer)
        self._group_commit.start()
        self._resources = resources

    @classmethod
    async def open(
        cls,
        path: str,
        *,
        plan_of: Callable[[str], Plan],
        clock: Clock,
        own: bool = True,
        observer: CommitObserver | None = None,
        share: Share = WHOLE,
    ) -> SqliteJournal:
        """Open the file, or raise JournalRefusedError and leave it as it is.

        `own=True` is the sidecar: it alone may, it makes the file and brings it up to date. `own=False` is the
        operator beside a running sidecar, or one of its workers: the file must be there, and of this version.
        `plan_of` gives a route's plan.
        """
        async with AsyncExitStack() as resources:
            lock = OwnerLock.take(path) if own else None
            if lock is not None:
                resources.callback(lock.release)
                make_file(path)
            else:
                require_file(path)
            queue = WriteQueue(path) if share.of > 1 else None
            if queue is not None:
                resources.callback(queue.close)
            with refusals(path):
                writing = await resources.enter_async_context(connected(path))
                key = await (prepare(writing, path, clock) if own else attach(writing, path))
                await writing.execute(TRUSTED)
                reading = await resources.enter_async_context(connected(path))
                await reading.execute("PRAGMA query_only = ON")
            return cls(
                path,
                reading=reading,
                writing=writing,
                principal_key=key,
                plan_of=plan_of,
                share=share,
                queue=queue,
                lock=lock,
                resources=resources.pop_all(),
                observer=observer,
            )

    async def close(self) -> None:
        """Make durable what is pending, then let go of the file. Harmless when done twice."""
        try:
            await self._group_commit.close()
        finally:
            await self._resources.aclose()

    async def probe(self) -> None:
        """Begin a transaction and end it: whoever waits for the journal would come through, too."""
        with faults_told(self._path):
            await self._writer.run(lambda _: None)

    def submit(self, change: Change) -> asyncio.Future[None]:
        """Queue a change; the future is done once it is durable, or fails with JournalUnavailableError."""
        return self._group_commit.submit(change)

    async def load(self, turn_id: str) -> Turn | None:
        """Give a turn with its steps."""
        rows = await self._reader.rows("load_turn", {"id": turn_id})
        return self._turns(rows)[0] if rows else None

    async def find(
        self, principal: str, *, request_id: str | None = None, conversation_id: str | None = None, limit: int = 10
    ) -> list[Turn]:
        """Give a principal's turns with that request id or conversation id (temp ids too), newest first."""
        ids = {"request_id": request_id, "conversation_id": conversation_id}
        return self._turns(await self._reader.rows("find_turns", {"principal": principal, **ids, "limit": limit}))

    async def in_conversations(self, ids: Sequence[str]) -> list[Turn]:
        """Give what tells whether conversations, known by these ids (temp ids too), are gone (see the port)."""
        rows = []
        for start in range(0, len(ids), IDS_AT_ONCE):  # others may read between
            named = json.dumps(ids[start : start + IDS_AT_ONCE])
            rows += await self._reader.rows("turns_in_conversations", {"ids": named})
        return self._turns(rows)

    async def unsettled(self, *, after: str = "", limit: int = 1000) -> list[Turn]:
        """Give turns that are not settled and wait for no call, with ids greater than `after`, in the order of ids."""
        return self._turns(await self._reader.rows("unsettled_turns", {"after": after, "limit": limit, **self._owner}))

    async def standing(self, *, limit: int) -> list[TurnIds]:
        """Give the ids of turns that are not settled for good, at most so many."""
        return [TurnIds(*row) for row in await self._reader.rows("standing_turns", {"limit": limit})]

    async def overdue(self, *, created_before: float, limit: int = 1000) -> list[str]:
        """Give the ids of open and answered turns made before the given time, oldest first."""
        values = {"created_before": created_before, "limit": limit, **self._owner}
        rows = await self._reader.rows("overdue_turns", values)
        return [row["id"] for row in rows]

    async def neighbours(self, turn: Turn) -> Neighbours:
        """Say what the other turns in the turn's conversation mean for it; nothing where its id is not known."""
        ids = {"id": turn.id, "conversation_id": turn.conversation_id, "temp_id": turn.temp_id}
        rows = await self._reader.rows("neighbours", ids)
        return Neighbours(confirmed=bool(rows[0]["confirmed"]), unsettled=bool(rows[0]["unsettled"]))

    async def lease(self, *, now: float, until: float, limit: int) -> list[OwedStep]:
        """Lease due steps, oldest due first: pending ones, and those whose lease is over.

        A step waits for the earlier ones of its turn, and a rollback for the turns that are under way in its
        conversation (law 3); neither takes up room in the limit. A lease that a crash of the machine undoes is worth no
        wait for the disk.
        """
        due = {"now": now, "limit": limit, **self._owner}

        def lease(connection: sqlite3.Connection) -> list[OwedStep]:
            rows = connection.execute(QUERIES["due_steps"], due).fetchall()
            steps = [read_owed_step(row, self._plan_of) for row in rows]
            connection.executemany(QUERIES["lease_step"], [{"id": row["step_id"], "until": until} for row in rows])
            return steps

        with faults_told(self._path):
            return await self._writer.run(lease, durable=False)

    async def next_due_at(self) -> float | None:
        """Say when `lease` next has something to give, as things stand: a step that waits for others is not counted."""
        rows = await self._reader.rows("next_due", self._owner)
        at: float | None = rows[0]["at"]
        return at

    async def release_leases(self) -> int:
        """Make every leased step pending again (nobody works on this share yet); give their number."""
        return await self._change("release_leases", self._owner)

    async def spread(self) -> None:
        """Have each of so many processes own its share of what may still move, if they were not as many last time.

        Nobody else may use the journal meanwhile.
        """
        with faults_told(self._path):
            await self._writer.run(partial(spread, self._share.of))

    async def tombstones(self, *, now: float) -> list[Tombstone]:
        """Give the tombstones that have not expired."""
        return [read_tombstone(row) for row in await self._reader.rows("live_tombstones", {"now": now})]

    async def prune(self, *, settled_before: float, now: float, limit: int = 1000) -> int:
        """Forget turns settled before that time and expired tombstones, at most `limit` of each; give the number.

        A turn that is unresolved, or of which a step is not delivered, stays for the operator.
        """
        turns = await self._change("prune_turns", {"settled_before": settled_before, "limit": limit})
        return turns + await self._change("prune_tombstones", {"now": now, "limit": limit})

    async def order_cancel(self, turn_id: str, *, at: float) -> None:
        """Order a turn to be cancelled by the running sidecar, or by the next one."""
        await self._change("put_order", {"turn_id": turn_id, "step": NO_STEP, "reason": None, "at": at})

    async def order_drop(self, row: StepRow, *, reason: str, at: float) -> None:
        """Order a step to be dropped by the running sidecar, or by the next one."""
        await self._change("put_order", {"turn_id": row.turn_id, "step": row.kind, "reason": reason, "at": at})

    async def orders(self) -> list[Order]:
        """Give what the operator ordered, first come first."""
        values = {"processes": self._share.of, **self._owner}
        return [read_order(row) for row in await self._reader.rows("open_orders", values)]

    async def forget_order(self, order: Order) -> None:
        """Forget an order that was carried out."""
        await self._change("forget_order", {"turn_id": order.turn_id, "step": order.step or NO_STEP})

    async def check(self, *, at: float) -> None:
        """Write something, durably."""
        await self._change("check_writing", {"at": at})

    async def _change(self, query: str, values: Values) -> int:
        """Run one statement in a transaction of its own; give the number of rows it changed."""
        with faults_told(self._path):
            return await self._writer.run(lambda connection: connection.execute(QUERIES[query], values).rowcount)
