"""A loop whose time is virtual, and processes that can be killed between any two of its steps.

Nothing is ever waited for: when nothing is ready, time jumps to the next timer. What runs in a process's context dies
with the process: its handles are dropped, no `except` or `finally` of its tasks runs any more, as after a kill -9.
"""

from __future__ import annotations

import asyncio
import random
from contextvars import Context, ContextVar, copy_context
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, TypeVar, TypeVarTuple, Unpack

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence

Args = TypeVarTuple("Args")
Result = TypeVar("Result")
Item = TypeVar("Item")

_PROCESS: Final[ContextVar[Process | None]] = ContextVar("process", default=None)


ROUNDS_MAX: Final = 50_000


class StandstillError(Exception):
    """Nothing is ready and no timer is set, so whoever waits would wait for ever; or the loop goes round and round."""


class Dice:
    """All that a schedule leaves to chance, drawn from its seed."""

    def __init__(self, seed: int) -> None:
        source = random.Random(seed)  # noqa: S311  (a schedule has to come out the same again)
        self.random: Final = source.random
        self.choose: Final = source.choice

    def chance(self, likelihood: float) -> bool:
        """Say yes that often."""
        return self.random() < likelihood

    def between(self, least: float, most: float) -> float:
        """Give a number from that range."""
        return least + (most - least) * self.random()

    def number(self, least: int, most: int) -> int:
        """Give a whole number from that range, both ends included."""
        return least + int((most - least + 1) * self.random())

    def mostly(self, usual: Item, *others: Item, likelihood: float = 0.7) -> Item:
        """Give the usual that often, else one of the others."""
        return usual if self.random() < likelihood else self.choose(others)


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop without sockets; it is its own selector."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._rounds = 0
        self._selector = self
        self._outside = copy_context()
        self._made: list[asyncio.Task[Any]] = []
        self._is_over = False

    def time(self) -> float:
        """Give the virtual time, in seconds."""
        return self._now

    def select(self, timeout: float | None) -> Sequence[object]:
        """Let the time pass until the next timer."""
        self._rounds += 1
        if timeout is None or self._rounds > ROUNDS_MAX:
            raise StandstillError
        self._now += timeout
        return ()

    def _process_events(self, event_list: Sequence[object]) -> None:
        """Do nothing: no event comes from outside."""

    def _asyncgen_finalizer_hook(self, agen: AsyncGenerator[Any, Any]) -> None:
        """Do nothing: only those of the dead are not finished."""
        self._asyncgens.discard(agen)  # type: ignore[attr-defined]

    def call_soon(
        self, callback: Callable[[Unpack[Args]], object], *args: *Args, context: Context | None = None
    ) -> asyncio.Handle:
        """Call back next; never, where the process of the context is dead."""
        handle = super().call_soon(callback, *args, context=context)
        process = _PROCESS.get() if context is None else context.get(_PROCESS)
        if self._is_over or (process is not None and not process.step()):
            handle.cancel()
        return handle

    def create_task(  # type: ignore[override]
        self, coro: Coroutine[Any, Any, Result], *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[Result]:
        """Make a task, and have its process know it."""
        task = super().create_task(coro, name=name, context=context)
        process = _PROCESS.get() if context is None else context.get(_PROCESS)
        self._made.append(task)
        if process is not None:
            process.own(task)
        return task

    def outside(self, after_s: float, callback: Callable[[Unpack[Args]], object], *args: *Args) -> None:
        """Call back later, whichever process may be dead by then."""
        self.call_later(after_s, callback, *args, context=self._outside)

    def bury(self, process: Process) -> None:
        """Drop all that a dead process would still do."""
        ready: Sequence[asyncio.Handle] = (*self._ready, *self._scheduled)  # type: ignore[attr-defined]
        for handle in ready:
            if handle._context.get(_PROCESS) is process:  # type: ignore[attr-defined]
                handle.cancel()

    def close(self) -> None:
        """End; only now is what was left undone taken apart, because a `finally` would still do something."""
        self._is_over = True
        for task in self._made:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            work = task.get_coro()
            if isinstance(work, CoroutineType):
                work.close()
        super().close()


class Process:
    """Something that can be killed."""

    def __init__(self, loop: VirtualLoop, on_death: Callable[[], None]) -> None:
        self._loop = loop
        self._on_death = on_death
        self._context = copy_context()
        self._context.run(_PROCESS.set, self)
        self._tasks: list[asyncio.Task[Any]] = []
        self._steps_left: int | None = None
        self.alive = True

    def spawn(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Run a task in the process."""
        return self._loop.create_task(work, context=self._context.copy())

    def later(self, after_s: float, callback: Callable[[Unpack[Args]], object], *args: *Args) -> None:
        """Call back in the process, if it then lives."""
        if self.alive:
            self._loop.call_later(after_s, callback, *args, context=self._context)

    def tasks(self) -> list[asyncio.Task[Any]]:
        """Give its tasks that are not done."""
        return [task for task in self._tasks if not task.done()]

    def own(self, task: asyncio.Task[Any]) -> None:
        """Take a task that was made in the process."""
        self._tasks.append(task)

    def kill(self, after_steps: int) -> None:
        """End it after that many more steps of the loop."""
        if after_steps <= 0:
            self._die()
        else:
            self._steps_left = after_steps

    def spare(self) -> None:
        """Let it live, if it is to be killed."""
        self._steps_left = None

    def step(self) -> bool:
        """Count a step; say whether the process lives."""
        if self._steps_left is not None:
            self._steps_left -= 1
            if self._steps_left == 0:
                self._loop.outside(0, self._die)
        return self.alive

    def _die(self) -> None:
        if self.alive:
            self.alive = False
            self._loop.bury(self)
            self._on_death()


class Timer:
    """Calls back once, unless it is cleared or set anew before."""

    def __init__(self, loop: VirtualLoop, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._callback = callback
        self._handle: asyncio.TimerHandle | None = None

    @property
    def is_set(self) -> bool:
        """Whether it will call back, or has and was not cleared since."""
        return self._handle is not None

    def set(self, after_s: float) -> None:
        """Call back so many seconds from now."""
        self.clear()
        self._handle = self._loop.call_later(after_s, self._callback)

    def clear(self) -> None:
        """Do not call back."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
