"""The admin API stops and deletes for good, each effect once; only a backend that saves late brings back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
import pytest

from sidecar.demo.backend import BackendKnobs, LegacyBackend
from tests.fakes.admin_faults import answering, dropping, first, hanging

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

CHAT = "/api/ai-coach/chat"
ASKED = {"messages": [{"role": "user", "content": "How do I calm down?"}], "stream": True}
CANCEL = "/admin/requests/req_1/cancel"


@pytest.fixture
async def asking(backend: LegacyBackend, person: aiohttp.ClientSession) -> AsyncIterator[str]:
    """Keep a question under way, amid its answer; give its conversation's id."""
    backend.knobs = BackendKnobs(word_s=0.002, stall_after=3)
    async with person.post(CHAT, json=ASKED, headers={"X-Request-Id": "req_1"}) as response:
        await backend.until(lambda: backend.generations["req_1"].words_made == 3)
        yield response.headers["X-Conversation-Id"]


def conversation(
    person: aiohttp.ClientSession, method: str, id_: str
) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
    return person.request(method, f"/admin/conversations/{id_}")


async def test_cancel_stops_and_saves_nothing_more(
    backend: LegacyBackend, person: aiohttp.ClientSession, asking: str
) -> None:
    for _ in range(2):
        async with person.post(CANCEL) as response:
            assert (response.status, await response.json()) == (200, {"status": "stopped", "conversationId": asking})
    await backend.until(lambda: backend.quiet)
    record = backend.generations["req_1"]
    assert (record.words_made, record.finished, record.cancelled) == (3, False, True)
    assert [(kept.status, kept.words) for kept in backend.kept()] == [("temp", 0)]
    assert backend.effects == {"stopped req_1": 1}


async def test_cancel_before_the_first_word_tells_the_conversation(
    backend: LegacyBackend, person: aiohttp.ClientSession
) -> None:
    async def ask() -> tuple[int, bytes]:
        async with person.post(f"{CHAT}?think_ms=60000", json=ASKED, headers={"X-Request-Id": "req_1"}) as response:
            return response.status, await response.read()

    task = asyncio.create_task(ask())
    record = await backend.heard("req_1")
    async with person.post(CANCEL) as response:
        assert (await response.json())["conversationId"] == record.conversation_id
    assert await task == (200, b"")
    assert record.words_made == 0


async def test_cancel_after_the_end_has_no_effect(backend: LegacyBackend, person: aiohttp.ClientSession) -> None:
    async with person.post(CHAT, json=ASKED, headers={"X-Request-Id": "req_1"}) as response:
        await response.read()
    async with person.post(CANCEL) as response:
        assert (response.status, (await response.json())["status"]) == (200, "finished")
    assert not backend.effects
    assert [kept.words for kept in backend.kept()] == [14]


async def test_cancel_of_an_unknown_request(backend: LegacyBackend, person: aiohttp.ClientSession) -> None:
    async with person.post("/admin/requests/nobody/cancel") as response:
        assert response.status == 404
    assert not backend.effects


async def test_delete_stops_and_removes(backend: LegacyBackend, person: aiohttp.ClientSession, asking: str) -> None:
    for method, status in (("GET", 200), ("DELETE", 204), ("DELETE", 404), ("GET", 404)):
        async with conversation(person, method, asking) as response:
            assert response.status == status
    await backend.until(lambda: backend.quiet)
    assert backend.kept() == ()
    assert backend.effects == {"stopped req_1": 1, f"deleted {asking}": 1}


async def test_deletes_at_the_same_time_have_one_effect(
    backend: LegacyBackend, person: aiohttp.ClientSession, asking: str
) -> None:
    async def delete() -> int:
        async with conversation(person, "DELETE", asking) as response:
            return response.status

    assert sorted(await asyncio.gather(*(delete() for _ in range(5)))) == [204, 404, 404, 404, 404]
    assert set(backend.effects.values()) == {1}


async def test_delete_by_the_temporary_id(backend: LegacyBackend, person: aiohttp.ClientSession) -> None:
    backend.knobs = BackendKnobs(words=1, announce=True)
    async with person.post(CHAT, json=ASKED) as response:
        await response.read()
        temp_id = response.headers["X-Conversation-Id"]
    async with conversation(person, "DELETE", temp_id) as response:
        assert response.status == 204
    assert backend.kept() == ()


async def test_a_backend_that_saves_late_brings_the_conversation_back(
    backend: LegacyBackend, person: aiohttp.ClientSession
) -> None:
    backend.knobs = BackendKnobs(word_s=0.02, saves_late=True)
    async with person.post(CHAT, json=ASKED, headers={"X-Request-Id": "req_1"}) as response:
        conversation_id = response.headers["X-Conversation-Id"]
        async with person.post(CANCEL) as cancelled:
            assert (await cancelled.json())["status"] == "stopped"
        async with conversation(person, "DELETE", conversation_id) as deleted:
            assert deleted.status == 204
    assert backend.kept() == ()
    await backend.until(lambda: backend.quiet)
    assert [(kept.id, kept.words) for kept in backend.kept()] == [(conversation_id, 14)]


async def test_confirm(backend: LegacyBackend, person: aiohttp.ClientSession, asking: str) -> None:
    for id_, status in ((asking, 200), (asking, 200), ("nobody", 404)):
        async with person.post(f"/admin/conversations/{id_}/confirm", json={}) as response:
            assert response.status == status
    assert [kept.status for kept in backend.kept()] == ["active"]


async def test_the_token(backend: LegacyBackend, person: aiohttp.ClientSession, asking: str) -> None:
    backend.knobs = BackendKnobs(admin_token="demo-admin")
    for headers, status in (
        ({}, 401),
        ({"Authorization": "Bearer x"}, 401),
        ({"Authorization": "Bearer demo-admin"}, 204),
    ):
        async with person.delete(f"/admin/conversations/{asking}", headers=headers) as response:
            assert response.status == status
    assert [call.status for call in backend.calls] == [401, 401, 204]


async def test_every_call_is_recorded(backend: LegacyBackend, person: aiohttp.ClientSession) -> None:
    async with person.post("/admin/requests/a%2Fb/cancel", headers={"Idempotency-Key": "k1", "traceparent": "t"}):
        (call,) = backend.calls
    assert (call.method, call.path, call.idempotency_key) == ("POST", "/admin/requests/a%2Fb/cancel", "k1")
    assert (call.headers["traceparent"], call.status) == ("t", 404)


@pytest.mark.usefixtures("asking")
async def test_a_fault_stands_in_place_of_the_effect(backend: LegacyBackend, person: aiohttp.ClientSession) -> None:
    backend.admin_fault = first(1, answering(429, headers={"Retry-After": "1"}))
    for status, stopped in ((429, False), (200, True)):
        async with person.post(CANCEL) as response:
            assert response.status == status
        assert backend.generations["req_1"].cancelled == stopped


async def test_a_fault_after_the_effect_loses_only_the_answer(
    backend: LegacyBackend, person: aiohttp.ClientSession, asking: str
) -> None:
    backend.admin_fault_after = first(1, dropping())
    with pytest.raises(aiohttp.ClientConnectionError):
        await person.post(CANCEL)
    async with person.post(CANCEL) as response:
        assert (await response.json())["conversationId"] == asking
    assert backend.effects == {"stopped req_1": 1}


@pytest.mark.usefixtures("asking")
async def test_an_admin_api_that_hangs(backend: LegacyBackend, person: aiohttp.ClientSession) -> None:
    backend.admin_fault = hanging()
    with pytest.raises(TimeoutError):
        await person.post(CANCEL, timeout=aiohttp.ClientTimeout(total=0.05))
    assert [call.status for call in backend.calls] == [None]
    assert not backend.generations["req_1"].cancelled
