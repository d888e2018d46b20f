"""Workers that cannot start, crash, or answer nothing."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, cast

import pytest
from structlog.testing import capture_logs

from sidecar.errors import OperatorError
from sidecar.workers import process as process_module
from sidecar.workers.crew import Crew
from sidecar.workers.link import Link, LinkLostError
from sidecar.workers.process import WorkerProcess
from tests.fakes.crew import Body, until_there
from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from asyncio.subprocess import Process

    from sidecar.workers.link import Answering, Message
    from tests.fakes.crew import Workers

PATIENT_S = 20.0


async def nobody(message: Message) -> Message | None:
    """Answer nothing, ever."""
    del message
    await asyncio.Event().wait()
    return None


async def echo(message: Message) -> Message | None:
    return message


async def linked(answering: Answering) -> tuple[Link, Link]:
    """Give both ends of a link, the other one running."""
    ours, theirs = socket.socketpair()
    here, there = await Link.open(ours, nobody), await Link.open(theirs, answering)
    return here, there


async def test_a_worker_that_cannot_start_ends_the_start() -> None:
    ends = []

    async def spawn(number: int, answering: Answering) -> WorkerProcess:
        here, there = await linked(answering)
        ends.append(there)
        body = Body(number, asyncio.get_running_loop().create_future())
        if number == 1:
            body.end.set_result(2)
        return WorkerProcess(number, cast("Process", body), here)

    with capture_logs() as logs:
        crew = Crew(2, spawn)
        with pytest.raises(OperatorError):
            await crew.started()
        await asyncio.wait_for(crew.stop(3600.0), PATIENT_S)  # the other one is not waited for
    assert [(line["event"], line["worker"], line["code"]) for line in logs] == [("worker_ended", 1, 2)]
    for end in ends:
        end.close()
    await asyncio.sleep(0)


async def test_one_that_answers_nothing_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_module, "PING_S", 0.001)
    monkeypatch.setattr(process_module, "HUNG_S", 0.05)
    here, there = await linked(nobody)
    running = [asyncio.create_task(link.run()) for link in (here, there)]
    body = Body(7, asyncio.get_running_loop().create_future())
    worker = WorkerProcess(0, cast("Process", body), here)
    worker.tasks = [asyncio.create_task(worker.watch())]
    assert await asyncio.wait_for(worker.ended(), PATIENT_S) < 0
    there.close()
    await asyncio.gather(*running)


async def test_an_end_is_told_to_whoever_waits_for_an_answer() -> None:
    here, there = await linked(nobody)
    running = [asyncio.create_task(link.run()) for link in (here, there)]
    asked = asyncio.create_task(here.ask({"what": "anything"}))
    await asyncio.sleep(0)
    there.close()
    with pytest.raises(LinkLostError):
        await asyncio.wait_for(asked, PATIENT_S)
    with pytest.raises(LinkLostError):
        await here.ask({"what": "anything"})
    here.tell({"what": "anything"})  # hurts nobody
    await asyncio.gather(*running)


async def test_questions_cross_and_find_their_answers() -> None:
    ours, theirs = socket.socketpair()
    ends = await Link.open(ours, echo), await Link.open(theirs, echo)
    running = [asyncio.create_task(link.run()) for link in ends]
    asked = [ends[number % 2].ask({"what": "n", "n": number}) for number in range(100)]
    assert [answer["n"] for answer in await asyncio.gather(*asked)] == list(range(100))
    for link in ends:
        link.close()
    await asyncio.gather(*running)


async def test_a_worker_is_replaced_as_often_as_it_ends(two: Workers) -> None:
    for _ in range(3):
        await two.kill(0)
        await eventually(lambda: 0 not in two.running)
        await until_there(two, 0)
    assert await two[1].engine.ask("anything") is not None


async def test_one_for_which_the_machine_has_no_room_ends_the_start() -> None:
    async def spawn(number: int, answering: Answering) -> WorkerProcess:
        del number, answering
        raise OSError("no more processes")

    with capture_logs() as logs:
        crew = Crew(1, spawn)
        with pytest.raises(OperatorError):
            await crew.started()
        await crew.stop(0.0)
    assert [line["event"] for line in logs] == ["worker_not_started", "worker_ended"]
