"""One limit of time for many, which a reload may change for those who wait already."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from sidecar.deadlines import Deadlines
from tests.fakes.waiting import eventually, loop_turns


async def test_a_shorter_limit_holds_for_who_waits_already() -> None:
    expired: list[str] = []
    deadlines = Deadlines(asyncio.get_running_loop(), 3600, expired.append)
    deadlines.start("a")
    deadlines.change(0.01)
    deadlines.start("b")
    await eventually(lambda: expired == ["a", "b"])
    deadlines.close()


async def test_a_longer_one_does_too() -> None:
    expired: list[str] = []
    deadlines = Deadlines(asyncio.get_running_loop(), 0.01, expired.append)
    deadlines.start("a")
    deadlines.change(3600)
    witness = Deadlines(asyncio.get_running_loop(), 0.02, expired.append)
    witness.start("witness")
    await eventually(lambda: expired == ["witness"])
    deadlines.stop("a")
    deadlines.change(0.01)  # with nobody waiting
    await loop_turns()
    assert expired == ["witness"]
    deadlines.close()
    witness.close()


async def test_who_begins_anew_when_it_is_over_is_told_again_and_by_one_timer() -> None:
    loop = asyncio.get_running_loop()
    told: list[str] = []

    def again(waiter: str) -> None:
        told.append(waiter)
        deadlines.start(waiter)

    deadlines = Deadlines(loop, 0.01, again)
    for waiter in "abc":
        deadlines.start(waiter)
    await eventually(lambda: told.count("c") == 3)
    assert told == list("abc" * 3)
    deadlines.close()


async def test_who_is_let_go_or_begins_anew_in_the_last_moment_is_not_told() -> None:
    told: list[str] = []

    def tell(waiter: str) -> None:
        told.append(waiter)
        if told == ["a"]:
            deadlines.stop("b")
            deadlines.start("c")

    deadlines = Deadlines(asyncio.get_running_loop(), 0.01, tell)
    for waiter in "abcd":
        deadlines.start(waiter)
    await eventually(lambda: len(told) == 3)
    assert told == ["a", "d", "c"]
    deadlines.close()


async def test_a_bug_in_what_follows_from_one_loses_neither_the_others_nor_the_limit() -> None:
    told: list[str] = []

    def tell(waiter: str) -> None:
        told.append(waiter)
        if waiter == "a":
            raise ZeroDivisionError

    deadlines = Deadlines(asyncio.get_running_loop(), 0.01, tell)
    with capture_logs() as logs:
        for waiter in "ab":
            deadlines.start(waiter)
        await eventually(lambda: told == ["a", "b"])
        deadlines.start("c")
        await eventually(lambda: told == ["a", "b", "c"])
    assert [line["event"] for line in logs] == ["deadline_failed"]
    deadlines.close()
