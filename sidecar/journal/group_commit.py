"""The one writer of changes: it commits all that is waiting in one transaction, then tells everyone at once.

        submit --> waiting --the first of them is due--> transaction --durable--> told
                      '------- meanwhile, the next group gathers -------'

A transaction costs much, a change in it little. So a group is written when the first of its changes has to be: at once,
or soon (at once, too, but where transactions follow each other closely), or a little later. A change that cannot be
written (our bug, not the disk's) takes none of its group with it.
"""

from __future__ import annotations

import asyncio
import math
import sqlite3
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from sidecar.engine.ports import Haste
from sidecar.errors import InProgressError, JournalUnavailableError
from sidecar.journal.batch import statements

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.engine.ports import Change
    from sidecar.journal.connection import Writer

GROUP_MAX: Final = 1000
"""Changes in one transaction: it bounds how long a lease has to wait for its turn."""
PENDING_MAX: Final = 100_000
"""Changes that may wait; where the disk no longer answers, memory must not fill up."""
SOON_S: Final = 0.005
"""For a change that has to be durable soon, no transaction begins sooner after the one before."""
LATER_S: Final = 0.01
"""How long a change waits for company that can be later."""

_REJECTIONS: Final = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)
"""What is wrong with a change itself; any other sqlite3.Error is about the file and concerns the whole group."""


class CommitObserver(Protocol):
    """Is told of transactions, to count them. Must neither raise nor take long."""

    def committed(self, changes: int, seconds: float) -> None:
        """Take note: so many changes became durable, in one transaction of that time."""

    def refused(self, changes: int) -> None:
        """Take note: so many changes could not be made durable."""


class Unobserved:
    """A CommitObserver that takes no note."""

    def committed(self, changes: int, seconds: float) -> None:
        """Do nothing."""

    def refused(self, changes: int) -> None:
        """Do nothing."""


class _Pending(NamedTuple):
    change: Change
    durable: asyncio.Future[None]


class GroupCommit:
    """Takes changes at any time, commits them in their order. `start` it once, `close` it once or more."""

    def __init__(self, writer: Writer, path: str, observer: CommitObserver | None = None) -> None:
        self._writer = writer
        self._observer: CommitObserver = observer or Unobserved()
        self._path = path
        self._pending: list[_Pending] = []
        self._due_at, self._began_at = math.inf, -math.inf  # by the loop's clock
        self._alarm: asyncio.TimerHandle | None = None
        self._wake = asyncio.Event()
        self._closed = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="journal group commit")

    def submit(self, change: Change) -> asyncio.Future[None]:
        """Queue a change. Who no longer waits for the future does not take the change back.

        The future fails with InProgressError where a turn under way has the new one's request id already.
        """
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._closed or len(self._pending) >= PENDING_MAX:
            reason = "is closed" if self._closed else f"is behind by {PENDING_MAX} changes"
            durable.set_exception(JournalUnavailableError(f"the journal {self._path} {reason}"))
            self._observer.refused(1)
        else:
            self._pending.append(_Pending(change, durable))
            self._write_by(self._due(change.haste))
        return durable

    async def close(self) -> None:
        """Write what is pending, then take nothing more."""
        self._closed = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.result()  # a bug of ours must show

    def _due(self, haste: Haste) -> float:
        now = asyncio.get_running_loop().time()
        match haste:
            case Haste.AT_ONCE:
                return now
            case Haste.SOON:
                return max(now, self._began_at + SOON_S)
            case Haste.LATER:
                return now + LATER_S

    def _write_by(self, due_at: float) -> None:
        """Have what is pending written at a time, unless that is to be earlier anyway."""
        if due_at >= self._due_at:
            return
        self._due_at = due_at
        self._unset_alarm()
        loop = asyncio.get_running_loop()
        if due_at <= loop.time():
            self._wake.set()
        else:
            self._alarm = loop.call_at(due_at, self._wake.set)

    def _unset_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    async def _run(self) -> None:
        group: list[_Pending] = []
        try:
            while self._pending or not self._closed:
                await self._wake.wait()
                if group := self._next_group():
                    await self._commit(group)
        finally:
            # Reached with someone still waiting only when the task is cancelled.
            self._closed = True
            self._fail([*group, *self._pending], "was closed before the change was durable")

    def _next_group(self) -> list[_Pending]:
        group, self._pending = self._pending[:GROUP_MAX], self._pending[GROUP_MAX:]
        if not self._pending:  # then nothing is due until something is submitted
            self._due_at = math.inf
            self._wake.clear()
            self._unset_alarm()
        self._began_at = asyncio.get_running_loop().time()
        return group

    async def _commit(self, group: Sequence[_Pending]) -> None:
        began = perf_counter()
        try:
            await self._write([pending.change for pending in group])
        except _REJECTIONS as error:
            await self._isolate(group, error)
        except sqlite3.Error as error:
            self._fail(group, f"could not take the change: {error}", error)
        else:
            self._observer.committed(len(group), perf_counter() - began)
            for _, durable in group:
                if not durable.done():
                    durable.set_result(None)

    async def _write(self, changes: Sequence[Change]) -> None:
        work = list(statements(changes))

        def write(connection: sqlite3.Connection) -> None:
            for sql, values in work:
                connection.executemany(sql, values)

        single = len(work) == 1 and len(work[0].values) == 1
        await self._writer.run(write, durable=any(change.awaits_disk for change in changes), single=single)

    async def _isolate(self, group: Sequence[_Pending], error: Exception) -> None:
        """Commit the halves each for itself, in their order, until the bad change stands alone."""
        if len(group) == 1:
            if is_second_of_its_request(error):
                self._refuse(group[0])
            else:
                self._fail(group, f"rejected a change: {error!r}", error)
            return
        middle = len(group) // 2
        await self._commit(group[:middle])
        await self._commit(group[middle:])

    def _refuse(self, pending: _Pending) -> None:
        if not pending.durable.done():
            pending.durable.set_exception(InProgressError("a request with the same id is under way in another worker"))

    def _fail(self, group: Sequence[_Pending], what: str, cause: Exception | None = None) -> None:
        self._observer.refused(len(group))
        for _, durable in group:
            if not durable.done():
                error = JournalUnavailableError(f"the journal {self._path} {what}")
                error.__cause__ = cause
                durable.set_exception(error)


def is_second_of_its_request(error: Exception) -> bool:
    """Say whether what is wrong with a change is that another turn under way has its request's id."""
    unique = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_CONSTRAINT_UNIQUE
    return unique and "turns.request_id" in str(error)
