"""Clients without end before a sidecar that is killed again and again, and the book kept of what each was told.

Wrong is what contradicts a client: an answer it saw whole is undone, a promised cancel is not made. Lost is what
the upstream has and no one answers for, doubled an effect that was had twice, or a call under two keys.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from tests.acceptance.crowd import Client, Way, crowd
from tests.fakes.admin_faults import dropping
from tests.fakes.downstream import ALICE, Downstream, request_bytes
from tests.fakes.downstream import CANCEL as CANCEL_PATH

if TYPE_CHECKING:
    import random

    from aiohttp import web

    from sidecar.demo.backend import LegacyBackend
    from sidecar.demo.backend.admin import AdminFault
    from tests.acceptance.process import SidecarProcess

RAMP_S: Final = 0.5
ADMIN_S: Final = 0.1
LOST: Final = 0.1
CANCELS: Final = frozenset({"cancelling", "cancelled"})
STATES: Final = CANCELS | {"open", "answered", "confirming", "completed"}


def unsteady(chance: random.Random) -> AdminFault:
    """Make an admin API slow, and have some of its calls, or of their answers, lost."""
    drop = dropping()

    async def fault(request: web.Request) -> web.StreamResponse | None:
        await asyncio.sleep(chance.uniform(0, ADMIN_S))
        return await drop(request) if chance.random() < LOST else None

    return fault


@dataclass(slots=True)
class Book:
    """What clients saw and were told, by request id."""

    complete: set[str] = field(default_factory=set)
    promised: set[str] = field(default_factory=set)
    """Cancels that the cancel endpoint answered with success."""
    forestalled: set[str] = field(default_factory=set)
    """Those of them that came before their request."""


@dataclass(slots=True)
class Soak:
    """The parts, and the book."""

    backend: LegacyBackend
    process: SidecarProcess
    chance: random.Random
    book: Book = field(default_factory=Book)
    clients: int = 0
    keys: dict[str, str | None] = field(default_factory=dict)
    calls_seen: int = 0

    async def batch(self, number: int, size: int) -> None:
        """Have clients of every kind come within the ramp, and leave, cancel, or stay to the end."""
        clients = crowd(size, seed=number)
        for client in clients:
            silent = "silent" in client.way
            client.leaves_after = self.chance.uniform(0.02, 0.4) if silent else self.chance.randint(0, 2)
        self.clients += size + 2
        await asyncio.gather(
            *(self._later(self._chat(client)) for client in clients),
            self._later(self._cancel_midway(f"req_{number}_midway")),
            self._later(self._cancel_first(f"req_{number}_first")),
        )

    async def _later(self, act: object) -> None:
        assert asyncio.iscoroutine(act)
        await asyncio.sleep(self.chance.uniform(0, RAMP_S))
        with suppress(OSError, TimeoutError):  # killed, or not there yet
            await act

    async def _chat(self, client: Client) -> None:
        await client.chat(self.process.port)
        if client.complete:
            self.book.complete.add(client.request_id)

    async def _cancel_midway(self, request_id: str) -> None:
        with closing(await self._connect()) as client:
            await self._ask(client, request_id)
            await client.head()
            await self._cancel(request_id)

    async def _cancel_first(self, request_id: str) -> None:
        if await self._cancel(request_id) == HTTPStatus.ACCEPTED:
            self.book.forestalled.add(request_id)
        with closing(await self._connect()) as client:
            await self._ask(client, request_id)
            await client.gone()

    async def _ask(self, client: Downstream, request_id: str) -> None:
        await client.chat(f"X-Request-Id: {request_id}", target="/api/ai-coach/chat?words=400&word_ms=200")

    async def _cancel(self, request_id: str) -> int:
        with closing(await self._connect()) as client:
            body = json.dumps({"requestId": request_id}).encode()
            await client.send(request_bytes("POST", CANCEL_PATH, f"Authorization: {ALICE}", body=body))
            answer = await client.answer()
        if answer.status in {HTTPStatus.OK, HTTPStatus.ACCEPTED} and json.loads(answer.body)["status"] == "cancelled":
            self.book.promised.add(request_id)
        return answer.status

    async def _connect(self) -> Downstream:
        return await Downstream.connect(self.process.url)

    # -- judging ---------------------------------------------------------------------------------------------------

    def judge_so_far(self) -> None:
        """Compare what holds at any moment, whatever is still owed."""
        turns = self.process.turns()
        assert set(turns.values()) <= STATES, Counter(turns.values())
        assert set(self.backend.questions) <= set(turns), "the backend heard of a turn that was not journalled"
        undone = {request_id for request_id, state in turns.items() if state in CANCELS}
        assert not self.book.complete & undone, "an answer that a client saw whole was undone"
        assert self.book.promised & set(turns) <= undone, "a cancel that was promised was forgotten"
        assert not self.book.forestalled & set(self.backend.questions), "what was cancelled first was asked"
        assert set(self.backend.effects.values()) <= {1}, "an effect was had twice"
        assert self._one_key_each(), "a call was made under two idempotency keys"

    def judge(self, states: dict[str, str]) -> None:
        """Compare once all is settled: the backend keeps what was completed, and nothing else."""
        self.judge_so_far()
        completed = {request_id for request_id, state in states.items() if state == "completed"}
        kept = self._kept()
        assert kept - completed == set(), "left behind in the backend"
        assert completed - kept == set(), "wrongly removed from the backend"
        assert self.book.complete <= completed

    def figures(self, states: dict[str, str]) -> str:
        """Say in a line what has been gone through."""
        causes = Counter(self.process.causes().values())
        return (
            f"{self.clients} clients, {len(states)} turns {dict(Counter(states.values()))}, causes {dict(causes)}, "
            f"{len(self.book.complete)} seen whole, {len(self.book.promised)} cancels promised "
            f"({len(self.book.forestalled)} before their request), {self.calls_seen} admin calls "
            f"to {len(self.keys)} paths, {len(self.backend.effects)} effects"
        )

    def _one_key_each(self) -> bool:
        calls = self.backend.calls[self.calls_seen :]
        self.calls_seen += len(calls)
        return all(
            self.keys.setdefault(f"{call.method} {call.path}", call.idempotency_key) == call.idempotency_key
            for call in calls
        )

    def _kept(self) -> set[str]:
        with closing(sqlite3.connect(self.backend.path)) as database:
            return {request_id for (request_id,) in database.execute("SELECT DISTINCT request_id FROM messages")}


__all__ = ["Soak", "Way", "unsteady"]
