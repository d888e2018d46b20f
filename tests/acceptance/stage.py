"""A `sidecar run` in a process of its own, between a scripted upstream, an admin API, and raw clients.

A turn is judged by what outlasts it: its row in the journal's file, its line in the log, and every call that the admin
API ever got, the ones made while the process ends included.
"""

from __future__ import annotations

import sqlite3
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tests.acceptance.process import SidecarProcess
from tests.fakes.admin import AdminFake
from tests.fakes.downstream import Downstream
from tests.fakes.upstream import Upstream
from tests.fakes.waiting import DEADLINE_S, eventually
from tests.integration.chat.talk import CHUNKED, END, PLAIN, chunk, head

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.fakes.http import Message
    from tests.fakes.sockets import RawSocket

CANCEL: Final = "POST /admin/requests/r1/cancel"
ROLLBACK: Final = "DELETE /admin/conversations/c1"
COMPLAINTS: Final = frozenset({"error", "critical"})


@dataclass
class Chat:
    """A turn under way, played on both sides: its client, and the upstream's end of it."""

    client: Downstream
    peer: RawSocket

    async def answer(self, *lines: str) -> Message:
        """Have the upstream send the head of an answer in chunks; give it as the client gets it."""
        await self.peer.send(head(CHUNKED, *lines))
        return await self.client.head()

    async def say(self, *texts: bytes) -> None:
        """Have the upstream say something, a chunk each, and the client read it."""
        for text in texts:
            await self.peer.send(chunk(text))
            assert (await self.client.chunk())[1] == text

    async def end(self) -> None:
        """Have the upstream end its answer, and the client read the end."""
        await self.peer.send(END)
        assert (await self.client.chunk())[0] == END


@dataclass
class Stage:
    """The running parts."""

    process: SidecarProcess
    upstream: Upstream
    admin: AdminFake
    clients: list[Downstream] = field(default_factory=list)

    async def client(self, *, small_buffer: bool = False, url: str | None = None) -> Downstream:
        """Connect a client."""
        client = await Downstream.connect(url or self.process.url, small_buffer=small_buffer)
        self.clients.append(client)
        return client

    async def ask(self, *lines: str, client: Downstream | None = None, request_id: str = "r1") -> Chat:
        """Have a client ask, and the upstream take the question."""
        if client is None:
            client = await self.client()
        elif client not in self.clients:
            self.clients.append(client)
        await client.chat(f"X-Request-Id: {request_id}", *lines)
        return await self.taken(client)

    async def taken(self, client: Downstream) -> Chat:
        """Have the upstream take what the client has asked."""
        peer, _ = await self.upstream.request()
        return Chat(client, peer)

    async def answering(
        self, *, client: Downstream | None = None, request_id: str = "r1", conversation_id: str = "c1"
    ) -> Chat:
        """Have the answer begin, too: its head tells the conversation's id, and a few words come."""
        chat = await self.ask(client=client, request_id=request_id)
        await chat.answer(PLAIN, f"X-Conversation-Id: {conversation_id}")
        await chat.say(b"Once upon ")
        return chat

    # -- what outlasts the turn ------------------------------------------------------------------------------------

    def turns(self) -> list[dict[str, Any]]:
        """Read the turns from the journal's file, oldest first."""
        return self._rows("SELECT * FROM turns ORDER BY id")

    def steps(self) -> list[dict[str, Any]]:
        """Read the outbox from the journal's file."""
        return self._rows("SELECT * FROM outbox ORDER BY id")

    async def turn_in(self, state: str, *, request_id: str = "r1", timeout_s: float = DEADLINE_S) -> dict[str, Any]:
        """Wait until a turn is durably in that state; give its row."""

        def look() -> dict[str, Any] | None:
            found = [turn for turn in self.turns() if turn["request_id"] == request_id]
            assert len(found) <= 1, found
            return found[0] if found and found[0]["state"] == state else None

        try:
            return await eventually(look, timeout_s)
        except TimeoutError:
            raise AssertionError(f"{request_id} is not {state}: {self.turns()} {self.process.log_text()}") from None

    async def exchange_line(self, request_id: str = "r1") -> dict[str, Any]:
        """Wait for the canonical line of a request's exchange; there is one only."""

        def look() -> list[dict[str, Any]]:
            return [line for line in self.process.log("exchange") if line["request_id"] == request_id]

        lines = await eventually(look)
        assert len(lines) == 1
        return lines[0]

    async def judge(
        self,
        *calls: str,
        state: str,
        cause: str | None,
        status: int = 499,
        logged: str | None = "",
        timeout_s: float = DEADLINE_S,
    ) -> dict[str, Any]:
        """Judge the only turn, r1, and nothing else: end the process in order, so that it makes what calls it owes.

        `cause` is the journal's and, unless `logged` names another, the exchange's line's. Gives the turn's row.
        """
        turn = await self.turn_in(state, timeout_s=timeout_s)
        line = await self.exchange_line()
        await self.end()
        assert turn["cause"] == cause
        assert (line["status"], line["cause"], line["turn"]) == (status, cause if logged == "" else logged, turn["id"])
        assert [entry["cause"] for entry in self.process.log("cancelled")] == ([cause] if cause else [])
        assert self.admin.lines == list(calls)
        assert {step["state"] for step in self.steps()} <= {"delivered"}
        assert [other["id"] for other in self.turns()] == [turn["id"]]
        return turn

    @asynccontextmanager
    async def journal_locked(self) -> AsyncIterator[None]:
        """Lock the journal's file against writing by anyone else."""
        with closing(sqlite3.connect(self.process.journal, isolation_level=None, timeout=0)) as other:

            def lock() -> bool:
                with suppress(sqlite3.OperationalError):  # the sidecar is writing
                    other.execute("BEGIN IMMEDIATE")
                return other.in_transaction

            await eventually(lock)
            yield

    async def end(self) -> None:
        """End the process in order, and make sure that it had nothing to complain of."""
        assert await self.process.terminate() == 0, self.process.log_text()
        self.no_complaints()

    def no_complaints(self) -> None:
        """Make sure that nothing was logged but lines of the sidecar's own, and no error among them."""
        lines = self.process.log_lines()
        assert not [line for line in lines if line["level"] in COMPLAINTS or "exception" in line], lines

    def _rows(self, query: str) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(self.process.journal)) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(query)]


@asynccontextmanager
async def stage(
    folder: Path,
    *,
    chat: dict[str, Any] | None = None,
    host: str = "127.0.0.1",
    journal_path: Path | None = None,
    **sections: dict[str, Any],
) -> AsyncIterator[Stage]:
    """Run a sidecar whose files lie in the folder. `chat` is the `[[chat]]`, `sections` the other tables."""
    async with Upstream.listening() as upstream, AdminFake.listening() as admin:
        base: dict[str, dict[str, Any]] = {
            "admin": {"url": admin.url, "backoff_first_s": 0.05, "backoff_max_s": 0.5, "timeout_s": 2},
            "listen": {"shutdown_grace_s": 0.2},
        }
        tables = {name: {**values, **sections.pop(name, {})} for name, values in base.items()}
        all_tables = {**tables, **sections, "chat": [chat or {}]}
        process = SidecarProcess(folder, upstream.url, tables=all_tables, host=host, journal=journal_path)
        running = Stage(process, upstream, admin)
        try:
            await running.process.start()
            yield running
            if running.process.running:
                await running.end()
        finally:
            for client in running.clients:
                client.close()
            await running.process.close()


__all__ = ["CANCEL", "CHUNKED", "END", "PLAIN", "ROLLBACK", "Chat", "Stage", "chunk", "head", "stage"]
