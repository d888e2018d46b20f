"""What is told to a supervisor, as real datagrams; and that nobody is hurt where there is none."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from sidecar.errors import JournalUnavailableError
from sidecar.host.supervisor import Supervisor
from sidecar.host.watchdog import Watchdog
from tests.fakes.supervisor import supervisor
from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify") if request.param == "path" else f"@sidecar-test-{uuid4()}"


def test_each_word_is_a_datagram(address: str) -> None:
    with supervisor(address) as heard:
        told = Supervisor(address)
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        told.ready("listening on\nhttp://127.0.0.1:1")
        told.reloading()
        told.stopping("ending", within_s=1.5)
        told.status("so so")
        told.alive()
        ready, reloading, *others = heard.listen()
        assert ready == {"READY": "1", "STATUS": "listening on http://127.0.0.1:1"}
        assert reloading["RELOADING"] == "1"
        assert before <= int(reloading["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert others == [
            {"STOPPING": "1", "STATUS": "ending", "EXTEND_TIMEOUT_USEC": "1500000"},
            {"STATUS": "so so"},
            {"WATCHDOG": "1"},
        ]


def test_nobody_listens(tmp_path: Path) -> None:
    Supervisor().ready("")
    Supervisor(str(tmp_path / "nobody")).ready("")
    Supervisor("x" * 200).ready("")


def test_a_supervisor_that_takes_nothing_holds_up_nobody(address: str) -> None:
    with supervisor(address) as heard:
        told = Supervisor(address)
        for _ in range(2000):
            told.alive()
        assert 0 < len(heard.listen()) <= 2000


PID = os.getpid()


@pytest.mark.parametrize(
    ("environment", "watchdog_s"),
    [
        ({}, None),
        ({"NOTIFY_SOCKET": "/n"}, None),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "2500000"}, 2.5),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "2500000", "WATCHDOG_PID": str(PID)}, 2.5),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "2500000", "WATCHDOG_PID": "1"}, None),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "0"}, None),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "soon"}, None),
        ({"NOTIFY_SOCKET": "", "WATCHDOG_USEC": "2500000"}, None),
    ],
)
def test_when_a_watchdog_listens(environment: dict[str, str], watchdog_s: float | None) -> None:
    assert Supervisor.from_environment(environment).watchdog_s == watchdog_s


class Journal:
    """Answers, refuses, or hangs."""

    def __init__(self, answer: str) -> None:
        self.answer = answer
        self.asked = 0

    async def probe(self) -> None:
        self.asked += 1
        if self.answer == "refuses":
            raise JournalUnavailableError("full")
        if self.answer == "hangs":
            await eventually(lambda: False)


@pytest.mark.parametrize(("answer", "told"), [("answers", 1), ("refuses", 1), ("hangs", 0)])
async def test_the_watchdog_hears_of_a_journal_that_answers(address: str, answer: str, told: int) -> None:
    with supervisor(address) as heard:
        watchdog = Watchdog(Supervisor(address), Journal(answer), within_s=0.3)
        assert await watchdog.run_once() == told
        assert heard.listen() == [{"WATCHDOG": "1"}] * told


async def test_it_hears_again_and_again(address: str) -> None:
    with supervisor(address) as heard:
        watchdog = Watchdog(Supervisor(address), Journal("answers"), within_s=0.03)
        watchdog.start()
        await eventually(lambda: len(heard.listen()) >= 3)
        await watchdog.stop()
