"""The same three chats, straight to the backend or through the sidecar: what the person does, and what is left of it.

What is left is read from the backend's own database, once nothing more is going to happen to it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import aiohttp

from sidecar.demo.backend.ids import new_request_id

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from contextlib import AbstractAsyncContextManager

    from sidecar.demo.backend import GenerationRecord, KeptConversation, LegacyBackend

DEADLINE_S: Final = 5.0
_WORDS_READ: Final = 5
_QUESTION: Final = {"messages": [{"role": "user", "content": "How do I calm down?"}], "stream": True}


class Deed(StrEnum):
    """What the person does with a chat."""

    READ = "reads to the end"
    LEFT = "leaves mid-answer"
    CANCELLED = "cancels before the first word"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """What a chat left behind: a kept conversation or none, and how much of its answer was generated."""

    deed: Deed
    kept: KeptConversation | None
    words_made: int
    words: int
    trouble: str | None = None
    """What went wrong on the person's side, if anything did."""

    @property
    def ghost(self) -> bool:
        """The person cancelled the conversation, and yet it is kept."""
        return self.deed is not Deed.READ and self.kept is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrance:
    """Where a person's requests go: straight to the backend, or to the sidecar before it."""

    url: str
    backend: LegacyBackend
    guarded: bool
    """The sidecar is there: it may be told to cancel, and is expected to roll back."""


async def play_chats(entrance: Entrance) -> tuple[Leftover, ...]:
    """Play the three chats side by side, wait until all is quiet, and look at what is left of each."""
    request_ids = {deed: new_request_id() for deed in Deed}
    async with aiohttp.ClientSession(entrance.url) as session:
        chats = (
            _read_to_end(session, request_ids[Deed.READ]),
            _leave_mid_answer(session, request_ids[Deed.LEFT]),
            _cancel_before_first_word(session, request_ids[Deed.CANCELLED], entrance),
        )
        troubles = await asyncio.gather(*map(_attempt, chats))
    await _settle(entrance, request_ids)
    return _leftovers(entrance.backend, request_ids, dict(zip(Deed, troubles, strict=True)))


async def _read_to_end(session: aiohttp.ClientSession, request_id: str) -> None:
    async with _ask(session, request_id) as response:
        await response.read()


async def _leave_mid_answer(session: aiohttp.ClientSession, request_id: str) -> None:
    async with _ask(session, request_id) as response:
        text = b""
        async for chunk in response.content.iter_any():
            text += chunk
            if len(text.split()) >= _WORDS_READ:
                break
        _abort(response)


async def _cancel_before_first_word(session: aiohttp.ClientSession, request_id: str, entrance: Entrance) -> None:
    """Press Stop while the backend is still thinking: tell the sidecar, if there is one, and drop the connection."""
    asking = asyncio.create_task(_read_to_end(session, request_id))
    try:
        await entrance.backend.heard(request_id, DEADLINE_S)
        if entrance.guarded:
            async with session.post("/api/ai-coach/cancel", json={"requestId": request_id}) as response:
                response.raise_for_status()
    finally:
        asking.cancel()
        with suppress(asyncio.CancelledError, aiohttp.ClientError):
            await asking


def _ask(session: aiohttp.ClientSession, request_id: str) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
    headers = {"X-Request-Id": request_id}
    return session.post("/api/ai-coach/chat", json=_QUESTION, headers=headers, raise_for_status=True)


def _abort(response: aiohttp.ClientResponse) -> None:
    """End the connection at once, as `XMLHttpRequest.abort()` does."""
    if response.connection is not None and response.connection.transport is not None:
        response.connection.transport.abort()


async def _attempt(chat: Coroutine[None, None, None]) -> str | None:
    """Play a chat; say what went wrong, if anything did."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            await chat
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        return f"{type(error).__name__}: {error}"
    return None


async def _settle(entrance: Entrance, request_ids: Mapping[Deed, str]) -> None:
    """Wait until nothing is generated any more, and, behind the sidecar, until what was abandoned is rolled back.

    Not for ever: what is then not as it should be shows in what is left.
    """
    backend = entrance.backend
    abandoned = [request_id for deed, request_id in request_ids.items() if deed is not Deed.READ]

    def settled() -> bool:
        records = [backend.generations[request_id] for request_id in abandoned if request_id in backend.generations]
        rolled_back = all(_rolled_back(backend, record) for record in records)
        return backend.quiet and (rolled_back or not entrance.guarded)

    with suppress(TimeoutError):
        await backend.until(settled, DEADLINE_S)


def _rolled_back(backend: LegacyBackend, record: GenerationRecord) -> bool:
    return backend.effects[f"deleted {record.conversation_id}"] > 0


def _leftovers(
    backend: LegacyBackend, request_ids: Mapping[Deed, str], troubles: Mapping[Deed, str | None]
) -> tuple[Leftover, ...]:
    kept = {request_id: conversation for conversation in backend.kept() for request_id in conversation.request_ids}
    records = backend.generations
    return tuple(
        Leftover(
            deed=deed,
            kept=kept.get(request_id),
            words_made=records[request_id].words_made if request_id in records else 0,
            words=backend.knobs.words,
            trouble=troubles[deed],
        )
        for deed, request_id in request_ids.items()
    )
