"""A lock for each key, gone with its last user."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.engine.keyed_lock import KeyedLock
from tests.fakes.waiting import loop_turns


class Holder:
    """Holds a key until told to let go."""

    def __init__(self, locks: KeyedLock, key: str) -> None:
        self.has_it = False
        self._go = asyncio.Event()
        self.task = asyncio.ensure_future(self._hold(locks, key))

    async def _hold(self, locks: KeyedLock, key: str) -> None:
        async with locks.hold(key):
            self.has_it = True
            await self._go.wait()

    async def let_go(self) -> None:
        self._go.set()
        await self.task


async def test_one_at_a_time_for_each_key() -> None:
    locks = KeyedLock()
    first, second, other = Holder(locks, "a"), Holder(locks, "a"), Holder(locks, "b")
    await loop_turns()
    assert (first.has_it, second.has_it, other.has_it) == (True, False, True)
    await first.let_go()
    await loop_turns()
    assert second.has_it
    await second.let_go()
    await other.let_go()
    assert locks._locks == {}


async def test_who_is_cancelled_while_waiting_leaves_nothing_behind() -> None:
    locks = KeyedLock()
    first, second, third = (Holder(locks, "a") for _ in range(3))
    await loop_turns()
    second.task.cancel()
    await asyncio.wait([second.task])
    await first.let_go()
    await loop_turns()
    assert third.has_it
    await third.let_go()
    assert locks._locks == {}


async def test_an_error_lets_go() -> None:
    locks = KeyedLock()

    async def fail() -> None:
        async with locks.hold("a"):
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert locks._locks == {}
