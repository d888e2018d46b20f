"""One sleeper, woken once for any number of tellings."""

from __future__ import annotations

import asyncio

from sidecar.engine.wakeup import Wakeup
from tests.fakes.waiting import DEADLINE_S, loop_turns

LONG_S = 60.0


async def test_a_telling_ends_the_wait() -> None:
    wakeup = Wakeup()
    sleeping = asyncio.ensure_future(wakeup.wait(LONG_S))
    await loop_turns()
    assert not sleeping.done()
    wakeup.set()
    async with asyncio.timeout(DEADLINE_S):
        await sleeping


async def test_a_telling_before_the_wait_is_not_lost_and_several_are_one() -> None:
    wakeup = Wakeup()
    wakeup.set()
    wakeup.set()
    async with asyncio.timeout(DEADLINE_S):
        await wakeup.wait(LONG_S)
    wakeup.clear()
    sleeping = asyncio.ensure_future(wakeup.wait(LONG_S))
    await loop_turns()
    assert not sleeping.done()
    sleeping.cancel()


async def test_the_time_ends_it_too() -> None:
    async with asyncio.timeout(DEADLINE_S):
        await Wakeup().wait(0.001)


async def test_who_is_cancelled_is_cancelled() -> None:
    sleeping = asyncio.ensure_future(Wakeup().wait(LONG_S))
    await loop_turns()
    sleeping.cancel()
    await asyncio.wait([sleeping])
    assert sleeping.cancelled()
