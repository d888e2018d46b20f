"""Before a whole legacy backend: nobody who reads through the sidecar ever sees what was cancelled."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from sidecar.app import Sidecar
from sidecar.config import load_table
from sidecar.demo.backend import BackendKnobs, LegacyBackend
from tests.fakes.admin_faults import answering
from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CHAT: Final = "/api/ai-coach/chat"
HISTORY: Final = "/api/ai-coach/conversations"
GUARDS: Final = [{"path": HISTORY, "list": ""}, {"path": f"{HISTORY}/{{conversation_id}}"}]
CHATS: Final = 20


@dataclass
class House:
    """A backend, a sidecar before it, and a person who goes to either."""

    backend: LegacyBackend
    through: aiohttp.ClientSession
    straight: aiohttp.ClientSession

    async def ask(self) -> aiohttp.ClientResponse:
        """Ask, and hear the first word."""
        response = await self.through.post(CHAT, json={"messages": ["Hello"], "stream": True})
        await response.content.readany()
        return response

    async def history(self, session: aiohttp.ClientSession | None = None) -> set[str]:
        async with (session or self.through).get(HISTORY) as response:
            return {conversation["id"] for conversation in await response.json()}

    async def status_of(self, conversation_id: str) -> int:
        async with self.through.get(f"{HISTORY}/{conversation_id}") as response:
            return response.status


@asynccontextmanager
async def house(path: Path, knobs: BackendKnobs) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(LegacyBackend.serve(knobs, path=path / "backend.db"))
        table: dict[str, Any] = {
            "listen": {"address": "127.0.0.1:0", "shutdown_grace_s": 0},
            "upstream": {"url": backend.url},
            "admin": {"backoff_first_s": 0.01, "backoff_max_s": 0.05, "attempts_max": 10_000},
            "guard": GUARDS,
            "journal": {"path": str(path / "sidecar.db")},
            "console": {"address": "off"},
        }
        sidecar = await stack.enter_async_context(Sidecar.start(load_table(table, {})))
        through, straight = [
            await stack.enter_async_context(aiohttp.ClientSession(url)) for url in (sidecar.url, backend.url)
        ]
        yield House(backend, through, straight)


async def test_read_right_behind_the_leaving(tmp_path: Path) -> None:
    """No call gets through: each conversation stays in the backend all the time."""
    async with house(tmp_path, BackendKnobs(words=1000, word_s=0.005)) as home:
        home.backend.admin_fault = answering(503)
        ghosts = set()
        for _ in range(CHATS):
            response = await home.ask()
            ghost = response.headers["X-Conversation-Id"]
            response.close()
            assert ghost not in await home.history()
            assert await home.status_of(ghost) == 404
            ghosts.add(ghost)
        assert await home.history(home.straight) == ghosts
        assert await home.history() == set()


async def test_a_backend_that_saves_late(tmp_path: Path) -> None:
    """The rollback is done, and then the backend brings the conversation back."""
    async with house(tmp_path, BackendKnobs(words=3, word_s=0.001)) as home:
        kept = await home.ask()
        await kept.read()
        home.backend.knobs = BackendKnobs(words=150, word_s=0.005, saves_late=True)
        response = await home.ask()
        ghost = response.headers["X-Conversation-Id"]
        response.close()
        await eventually(lambda: home.backend.effects[f"deleted {ghost}"])
        await home.backend.until(lambda: home.backend.quiet)
        assert ghost in await home.history(home.straight)
        assert await home.history() == {kept.headers["X-Conversation-Id"]}
        assert await home.status_of(ghost) == 404


async def test_readers_all_the_while(tmp_path: Path) -> None:
    """One who reads the whole time never sees what is gone again."""
    async with house(tmp_path, BackendKnobs(words=1000, word_s=0.005)) as home:
        gone: set[str] = set()
        seen: list[set[str]] = []
        stop = asyncio.Event()

        async def read_on() -> None:
            while not stop.is_set():
                before = frozenset(gone)
                seen.append(await home.history() & before)

        readers = [asyncio.create_task(read_on()) for _ in range(4)]
        for _ in range(CHATS):
            response = await home.ask()
            response.close()
            gone.add(response.headers["X-Conversation-Id"])
        reads = len(seen)
        await eventually(lambda: len(seen) > reads + 8)
        stop.set()
        await asyncio.gather(*readers)
        assert set().union(*seen) == set()
