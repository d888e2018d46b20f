"""The process ends at any instant: what was acknowledged is there, and the lock is not."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sidecar.engine.ports import Change
from sidecar.errors import JournalRefusedError
from sidecar.turn.state import StepKind, StepState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from sidecar.journal.store import SqliteJournal
    from sidecar.turn.state import Turn

CHILD = str(Path(__file__).with_name("child.py"))


@pytest.fixture
async def start(path: str) -> AsyncIterator[Callable[[str], Awaitable[asyncio.subprocess.Process]]]:
    """Start a child; all are killed in the end."""
    children: list[asyncio.subprocess.Process] = []

    async def start_it(what: str) -> asyncio.subprocess.Process:
        child = await asyncio.create_subprocess_exec(sys.executable, CHILD, what, path, stdout=asyncio.subprocess.PIPE)
        children.append(child)
        return child

    yield start_it
    for child in children:
        if child.returncode is None:
            child.kill()
            await child.communicate()


async def line_of(child: asyncio.subprocess.Process) -> str:
    assert child.stdout is not None
    return (await asyncio.wait_for(child.stdout.readline(), 20)).decode().strip()


async def killed(child: asyncio.subprocess.Process) -> list[str]:
    """Kill the child; give the whole lines that it had still printed."""
    child.send_signal(signal.SIGKILL)
    rest, _ = await asyncio.wait_for(child.communicate(), 20)
    return rest.decode().split("\n")[:-1]


def pid_in_lock(path: str) -> int:
    return int(Path(f"{path}.lock").read_text("ascii"))


@pytest.mark.parametrize("lines", [1, 17, 120, 433, 1201])
async def test_nothing_acknowledged_is_lost(
    lines: int,
    start: Callable[[str], Awaitable[asyncio.subprocess.Process]],
    open_journal: Callable[..., Awaitable[SqliteJournal]],
) -> None:
    child = await start("submit")
    acknowledged = [await line_of(child) for _ in range(lines)]
    acknowledged += await killed(child)
    assert child.returncode == -signal.SIGKILL

    journal = await open_journal()
    kept = {turn.id: turn for turn in await journal.turns(limit=-1)}
    assert set(acknowledged) <= kept.keys()
    # State and outbox commit together: no turn without its step, acknowledged or not.
    assert {tuple(turn.steps.items()) for turn in kept.values()} == {((StepKind.CANCEL, StepState.PENDING),)}


async def test_the_lock_is_held_by_one_process_and_dies_with_it(
    start: Callable[[str], Awaitable[asyncio.subprocess.Process]],
    open_journal: Callable[..., Awaitable[SqliteJournal]],
    path: str,
) -> None:
    child = await start("hold")
    assert await line_of(child) == "mine"
    with pytest.raises(JournalRefusedError) as refused:
        await open_journal()
    assert f"another sidecar (pid {child.pid}) uses the journal {path}" in str(refused.value)
    assert "journal.path" in str(refused.value)
    await killed(child)
    await open_journal()
    assert pid_in_lock(path) == os.getpid()


async def test_the_operator_reads_and_writes_beside_a_running_sidecar(
    start: Callable[[str], Awaitable[asyncio.subprocess.Process]],
    open_journal: Callable[..., Awaitable[SqliteJournal]],
    make_turn: Callable[..., Turn],
) -> None:
    child = await start("hold")
    await line_of(child)
    journal = await open_journal(own=False)
    await journal.submit(Change(turn=make_turn(), at=1.0))
    assert [turn.id for turn in await journal.turns()] == ["t1"]
