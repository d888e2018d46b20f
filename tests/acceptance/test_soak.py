"""kill -9 at random points, again and again, with cancels in flight: nothing is lost, wrong, or doubled.

A few kills in the normal run; `SOAK_KILLS=1000 pytest tests/acceptance/test_soak.py` for a long one, `SOAK_SEED` for
another one.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from typing import TYPE_CHECKING, Final

import pytest

from tests.acceptance.soak import Soak, unsteady

if TYPE_CHECKING:
    from sidecar.demo.backend import LegacyBackend
    from tests.acceptance.process import SidecarProcess

KILLS: Final = int(os.environ.get("SOAK_KILLS", "5"))
SEED: Final = int(os.environ.get("SOAK_SEED", "1"))
CLIENTS: Final = 25
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
