"""An upstream may be silent for just so long: to the instant, and without a timer for who is heard of."""

from __future__ import annotations

import heapq
from itertools import count
from typing import TYPE_CHECKING, cast

from hypothesis import given
from hypothesis import strategies as st

from sidecar.deadlines import RESOLUTION_S
from sidecar.upstream.silence import LOOKS, Silences

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

LIMIT_S = 80.0


class Handle:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """A loop whose time a test lets pass."""

    def __init__(self) -> None:
        self.now = 0.0
        self.due: list[tuple[float, int, Handle, Callable[[], None]]] = []
        self.numbers = count()

    def time(self) -> float:
        return self.now

    def call_later(self, delay_s: float, callback: Callable[..., None], *args: object) -> Handle:
        handle = Handle()
        heapq.heappush(self.due, (self.now + delay_s, next(self.numbers), handle, lambda: callback(*args)))
        return handle

    def pass_time_to(self, end: float) -> None:
        while self.due and self.due[0][0] <= end:
            self.now, _, handle, callback = heapq.heappop(self.due)
            if not handle.cancelled:
                callback()
        self.now = end

    @property
    def timers(self) -> int:
        return sum(not handle.cancelled for _, _, handle, _ in self.due)


class Connection:
    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.since = loop.now
        self.awaited = True
        self.given_up_at: list[float] = []

    def time_left_s(self) -> float | None:
        return self.since + LIMIT_S - self.loop.now if self.awaited else None

    def give_up(self) -> None:
        self.given_up_at.append(self.loop.now)


def silences(loop: Loop) -> Silences:
    return Silences(cast("asyncio.AbstractEventLoop", loop), LIMIT_S)


@given(st.lists(st.floats(min_value=0, max_value=LIMIT_S * 0.99), max_size=12))
def test_who_falls_silent_is_given_up_when_the_time_is_over(gaps_s: list[float]) -> None:
    loop = Loop()
    watch, connection = silences(loop), Connection(loop)
    watch.start(connection)
    for gap_s in gaps_s:
        loop.pass_time_to(loop.now + gap_s)
        connection.since = loop.now
    assert connection.given_up_at == []
    loop.pass_time_to(loop.now + 10 * LIMIT_S)
    [at] = connection.given_up_at
    assert abs(at - connection.since - LIMIT_S) <= RESOLUTION_S
    assert loop.timers == 0


def test_many_who_are_heard_of_share_one_timer() -> None:
    loop = Loop()
    watch = silences(loop)
    connections = [Connection(loop) for _ in range(100)]
    for connection in connections:
        watch.start(connection)
        loop.pass_time_to(loop.now + 0.01)
    for _ in range(40):
        for connection in connections:
            connection.since = loop.now
        loop.pass_time_to(loop.now + LIMIT_S / LOOKS)
        assert loop.timers == 1
    assert not any(connection.given_up_at for connection in connections)


def test_who_is_not_awaited_or_stopped_is_left_alone() -> None:
    loop = Loop()
    watch, idle, stopped, late = silences(loop), Connection(loop), Connection(loop), Connection(loop)
    for connection in (idle, stopped, late):
        watch.start(connection)
    idle.awaited = False
    watch.stop(stopped)
    loop.pass_time_to(LIMIT_S * 0.95)
    watch.stop(late)
    loop.pass_time_to(10 * LIMIT_S)
    assert idle.given_up_at == stopped.given_up_at == late.given_up_at == []
    assert loop.timers == 0
