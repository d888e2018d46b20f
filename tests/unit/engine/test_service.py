"""Start, then stop; twice or first does no harm; a peer's failure is no end, a bug of ours is not silent."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from sidecar.engine.service import PeriodicService, Service
from sidecar.errors import BugError, JournalUnavailableError
from tests.fakes.waiting import eventually, loop_turns


class Sleeper(Service):
    """Sleeps until it is stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = 0
        self.ended = 0

    async def run(self) -> None:
        self.begun += 1
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # there may be something to put away
            self.ended += 1


class Periodic(PeriodicService):
    """Does what the script says, each time; then nothing."""

    def __init__(self, *script: Exception | None, interval_s: float = 0.0) -> None:
        super().__init__(interval_s)
        self.script = list(script)
        self.done = 0

    async def run_once(self) -> int:
        self.done += 1
        error = self.script.pop(0) if self.script else None
        if error is not None:
            raise error
        return 1


async def test_started_once_stopped_once_whatever_is_asked() -> None:
    service = Sleeper()
    await service.stop()
    service.start()
    service.start()
    await loop_turns()
    assert (service.begun, service.ended) == (1, 0)
    await service.stop()
    assert (service.begun, service.ended) == (1, 1)  # stop waits for the end
    await service.stop()
    assert (service.begun, service.ended) == (1, 1)


async def test_it_can_be_started_again() -> None:
    service = Sleeper()
    for times in (1, 2):
        service.start()
        await loop_turns()
        await service.stop()
        assert (service.begun, service.ended) == (times, times)


async def test_it_works_each_time_its_interval_is_over() -> None:
    service = Periodic()
    service.start()
    await eventually(lambda: service.done >= 3)
    await service.stop()
    done = service.done
    await loop_turns()
    assert service.done == done


async def test_it_does_not_work_before_its_first_interval_is_over() -> None:
    service = Periodic(interval_s=60.0)
    service.start()
    await loop_turns()
    await service.stop()
    assert service.done == 0


async def test_a_peers_failure_is_logged_and_tried_again() -> None:
    service = Periodic(JournalUnavailableError("disk full"), JournalUnavailableError("disk full"))
    with capture_logs() as logs:
        service.start()
        await eventually(lambda: service.done >= 3)
        await service.stop()
    assert [(entry["event"], entry["service"], entry["error"]) for entry in logs] == [
        ("service_failed", "Periodic", "disk full")
    ] * 2


@pytest.mark.parametrize("error", [BugError("ours"), ZeroDivisionError("ours")])
async def test_a_bug_is_logged_at_once_and_does_not_end_the_service(error: Exception) -> None:
    """A sweeper that is silently dead would be found out by a full journal, weeks later."""
    service = Periodic(error)
    with capture_logs() as logs:
        service.start()
        await eventually(lambda: service.done >= 2)
        await service.stop()
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("service_failed", "error")]
    assert "ours" in logs[0]["error"]


async def test_another_pace_holds_at_once() -> None:
    service = Periodic(interval_s=3600)
    service.start()
    await loop_turns()
    assert service.done == 0
    service.reschedule(3600)
    await eventually(lambda: service.done == 1)
    await loop_turns()
    assert service.done == 1
    await service.stop()
