"""A client is given up after so long without taking a byte, and never while it takes any."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from sidecar.deadlines import Deadlines
from sidecar.downstream.stall import LOOKS, Sight, StallWatch

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

LIMIT_S = 8.0
TICK_S = LIMIT_S / LOOKS


class Scene:
    """A loop whose time a test lets pass, a connection that takes what the test says, and its watch."""

    def __init__(self) -> None:
        self.now = 100.0
        self.outstanding = 0
        self.given_up_at: list[float] = []
        self.due: list[tuple[float, Callable[[], None]]] = []
        loop = cast("asyncio.AbstractEventLoop", self)
        self.looks = Deadlines(loop, TICK_S, Scene.look)
        self.watch = StallWatch(LIMIT_S)

    def look(self) -> None:
        sight = self.watch.look(self.outstanding, self.now)
        if sight is Sight.UNDER_WAY:
            self.looks.start(self)
        elif sight is Sight.STUCK:
            self.given_up_at.append(self.now)

    def time(self) -> float:
        return self.now

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Scene:
        assert not self.due, "one timer is enough"
        self.due.append((self.now + delay_s, callback))
        return self

    def cancel(self) -> None:
        self.due.clear()

    def write(self, count: int) -> None:
        self.outstanding += count
        if not self.watch.watched:
            self.watch.begin(self.now)
            self.looks.start(self)
        self.watch.written += count

    def take(self, count: int) -> None:
        self.outstanding -= count

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while self.due and self.due[0][0] <= end:
            self.now, callback = self.due.pop()
            callback()
        self.now = end


def test_who_takes_nothing_is_given_up_once() -> None:
    scene = Scene()
    scene.write(10)
    scene.pass_time(LIMIT_S - 0.1)
    assert scene.given_up_at == []
    scene.pass_time(10 * LIMIT_S)
    assert scene.given_up_at == [100.0 + LIMIT_S]
    assert not scene.due


def test_more_that_is_written_is_no_progress() -> None:
    scene = Scene()
    for _ in range(20):
        scene.write(10)
        scene.pass_time(LIMIT_S / 10)
    assert scene.given_up_at == [100.0 + LIMIT_S]


def test_who_takes_a_little_is_not_given_up_though_ever_more_is_written() -> None:
    scene = Scene()
    for _ in range(20):
        scene.write(100)
        scene.pass_time(LIMIT_S * 0.9)
        scene.take(1)
    assert scene.given_up_at == []


def test_the_time_counts_from_the_last_byte_taken() -> None:
    scene = Scene()
    scene.write(10)
    scene.pass_time(LIMIT_S / 2)
    scene.take(1)
    scene.pass_time(LIMIT_S)
    assert scene.given_up_at == []
    scene.pass_time(TICK_S)
    assert len(scene.given_up_at) == 1


def test_nothing_is_looked_at_while_nothing_is_under_way() -> None:
    scene = Scene()
    scene.write(10)
    scene.take(10)
    scene.pass_time(TICK_S)
    assert not scene.due
    scene.pass_time(100 * LIMIT_S)
    scene.write(10)
    scene.pass_time(LIMIT_S - 0.1)
    assert scene.given_up_at == [], "the time before does not count"
    scene.pass_time(0.1)
    assert len(scene.given_up_at) == 1
