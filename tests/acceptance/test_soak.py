"""kill -9 at random points, again and again, with cancels in flight: nothing is lost, wrong, or doubled.

A few kills in the normal run; `SOAK_KILLS=1000 pytest tests/acceptance/test_soak.py` for a long one, `SOAK_SEED` for
another one.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest

from tests.acceptance.process import SidecarProcess
from tests.acceptance.soak import Soak, unsteady
from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from sidecar.demo.backend import LegacyBackend

KILLS: Final = int(os.environ.get("SOAK_KILLS", "5"))
WORKER_KILLS: Final = int(os.environ.get("SOAK_KILLS", "3"))
SEED: Final = int(os.environ.get("SOAK_SEED", "1"))
CLIENTS: Final = 25
WORKERS: Final = 2
SETTLE_S: Final = 60


@pytest.mark.timeout(120 + 10 * KILLS)
async def test_killed_again_and_again(backend: LegacyBackend, sidecar: SidecarProcess) -> None:
    chance = random.Random(SEED)  # noqa: S311  (moments, no secrets)
    soak = Soak(backend, sidecar, chance)
    backend.admin_fault = backend.admin_fault_after = unsteady(chance)

    for number in range(KILLS):
        batch = asyncio.ensure_future(soak.batch(number, CLIENTS))
        await something_happens(backend, batch, questions=chance.randint(1, CLIENTS), calls=chance.randint(0, CLIENTS))
        await sidecar.kill()
        await batch
        soak.judge_so_far()
        sidecar.forget_log()
        await sidecar.start()
        soak.judge_so_far()

    backend.admin_fault = backend.admin_fault_after = None
    states = await sidecar.until_settled(SETTLE_S)
    await backend.until(lambda: backend.quiet, SETTLE_S)
    soak.judge(states)
    sys.stdout.write(f"{KILLS} kills: {soak.figures(states)}\n")
    assert {"completed", "cancelled"} <= set(states.values()), "the soak has to try both"


@pytest.mark.long
@pytest.mark.timeout(120 + 20 * WORKER_KILLS)
async def test_workers_and_their_parent_killed_again_and_again(backend: LegacyBackend, tmp_path: Path) -> None:
    chance = random.Random(SEED)  # noqa: S311  (moments, no secrets)
    process = SidecarProcess(tmp_path, backend.url, admin_timeout_s=2, workers=WORKERS)
    await process.start()
    try:
        await soak_workers(backend, process, chance)
    finally:
        await process.close()


async def soak_workers(backend: LegacyBackend, process: SidecarProcess, chance: random.Random) -> None:
    soak = Soak(backend, process, chance)
    backend.admin_fault = backend.admin_fault_after = unsteady(chance)
    for number in range(WORKER_KILLS):
        batch = asyncio.ensure_future(soak.batch(number, CLIENTS))
        await something_happens(backend, batch, questions=chance.randint(1, CLIENTS), calls=chance.randint(0, CLIENTS))
        victim = number % (WORKERS + 1)
        if victim == WORKERS:
            await process.kill()
        else:
            ended = len(process.log("worker_ended"))
            os.kill(worker_pids(process)[victim], signal.SIGKILL)
            await eventually(partial(replaced, process, ended + 1), SETTLE_S)
        await batch
        soak.judge_so_far()
        if victim == WORKERS:
            process.forget_log()
            await process.start()
            soak.judge_so_far()
    backend.admin_fault = backend.admin_fault_after = None
    states = await process.until_settled(SETTLE_S)
    await backend.until(lambda: backend.quiet, SETTLE_S)
    soak.judge(states)
    sys.stdout.write(f"{WORKER_KILLS} kills: {soak.figures(states)}\n")
    assert {"completed", "cancelled"} <= set(states.values()), "the soak has to try both"


def replaced(process: SidecarProcess, ended: int) -> bool:
    """Say whether so many workers have ended since the parent began, and all were replaced."""
    return len(process.log("worker_ended")) == ended and len(process.log("worker_listening")) == WORKERS + ended


def worker_pids(process: SidecarProcess) -> dict[int, int]:
    return {line["worker"]: line["pid"] for line in process.log("worker_listening")}


async def something_happens(backend: LegacyBackend, batch: asyncio.Future[None], *, questions: int, calls: int) -> None:
    """Wait for so many questions, then for so many admin calls, or for the batch to be over."""

    async def enough() -> None:
        before = len(backend.questions)
        await backend.until(lambda: len(backend.questions) >= before + questions, SETTLE_S)
        before = len(backend.calls)
        await backend.until(lambda: len(backend.calls) >= before + calls, SETTLE_S)

    happening = asyncio.ensure_future(enough())
    await asyncio.wait([happening, batch], return_when=asyncio.FIRST_COMPLETED)
    happening.cancel()
    await asyncio.gather(happening, return_exceptions=True)
