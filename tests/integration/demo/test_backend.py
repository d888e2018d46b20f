"""The backend goes on to the end of an answer whoever leaves, and saves it."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import TYPE_CHECKING

import aiohttp
import pytest

from sidecar.demo.backend import BackendKnobs, LegacyBackend

if TYPE_CHECKING:
    from pathlib import Path

CHAT = "/api/ai-coach/chat"
ASKED = {"messages": [{"role": "user", "content": "How do I calm down?"}], "stream": True}
HEADERS = {"X-Request-Id": "req_1"}


async def read_frames(person: aiohttp.ClientSession, query: str) -> tuple[str, list[str]]:
    async with person.post(f"{CHAT}?{query}", json=ASKED, headers=HEADERS) as response:
        assert response.status == 200
        return response.headers["Content-Type"], (await response.text()).splitlines()


async def test_an_answer_that_is_read_to_its_end(backend: LegacyBackend, person: aiohttp.ClientSession) -> None:
    async with person.post(CHAT, json=ASKED, headers=HEADERS) as response:
        text = await response.text()
        assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert response.headers["Transfer-Encoding"] == "chunked"
        conversation_id = response.headers["X-Conversation-Id"]
    assert re.fullmatch(r"mobile-\d{10}-[a-z0-9]{9}", conversation_id)
    assert len(text.split()) == 14
    (kept,) = backend.kept()
    assert (kept.id, kept.status, kept.words) == (conversation_id, "active", 14)
    assert kept.request_ids == {"req_1"}
    record = backend.generations["req_1"]
    assert (record.words_made, record.finished, record.cancelled, record.connection_closed_at) == (
        14,
        True,
        False,
        None,
    )


async def test_the_conversation_is_there_as_soon_as_the_question_is_in(
    backend: LegacyBackend, person: aiohttp.ClientSession
) -> None:
    asking = asyncio.create_task(read_frames(person, "think_ms=60000"))
    record = await backend.heard("req_1")
    assert [(kept.status, kept.words) for kept in backend.kept()] == [("temp", 0)]
    assert (record.words_made, backend.quiet) == (0, False)
    asking.cancel()


async def test_who_leaves_before_the_head_leaves_a_ghost(backend: LegacyBackend, person: aiohttp.ClientSession) -> None:
    asking = asyncio.create_task(read_frames(person, "think_ms=100"))
    record = await backend.heard("req_1")
    left_at = time.monotonic()
    asking.cancel()
    await backend.until(lambda: record.connection_closed_at)
    assert record.connection_closed_at is not None
    assert 0 <= record.connection_closed_at - left_at < 1
    assert not record.finished
    await backend.until(lambda: backend.quiet)
    assert [(kept.status, kept.words) for kept in backend.kept()] == [("active", 14)]


async def test_who_leaves_amid_the_answer_leaves_a_ghost(backend: LegacyBackend, person: aiohttp.ClientSession) -> None:
    async with person.post(f"{CHAT}?word_ms=20", json=ASKED, headers=HEADERS) as response:
        await response.content.readany()
        response.close()
    record = backend.generations["req_1"]
    await backend.until(lambda: record.connection_closed_at)
    assert record.words_made < 14
    await backend.until(lambda: backend.quiet)
    assert record.finished
    assert [(kept.status, kept.words) for kept in backend.kept()] == [("active", 14)]


async def test_a_second_question_in_the_same_conversation(
    backend: LegacyBackend, person: aiohttp.ClientSession
) -> None:
    for request_id in ("req_1", "req_2"):
        asked = {**ASKED, "conversationId": "mine"}
        async with person.post(CHAT, json=asked, headers={"X-Request-Id": request_id}) as response:
            assert response.headers["X-Conversation-Id"] == "mine"
            await response.read()
    (kept,) = backend.kept()
    assert (kept.id, kept.words, sorted(kept.request_ids)) == ("mine", 28, ["req_1", "req_2"])
    assert backend.questions == ["req_1", "req_2"]


async def test_a_request_without_an_id_gets_one(backend: LegacyBackend, person: aiohttp.ClientSession) -> None:
    async with person.post(CHAT, json=ASKED) as response:
        await response.read()
    assert re.fullmatch(r"req_\d{13}_[a-z0-9]{9}", backend.questions[0])


async def test_announced_ids(backend: LegacyBackend, person: aiohttp.ClientSession) -> None:
    _, (first, words, last) = await read_frames(person, "announce=1&words=3")
    temp_id, final_id = json.loads(first)["temp_conversation_id"], json.loads(last)["final_conversation_id"]
    assert temp_id.startswith("temp_")
    assert len(words.split()) == 3
    assert [(kept.id, kept.status) for kept in backend.kept()] == [(final_id, "active")]
    async with person.get(f"/admin/conversations/{temp_id}") as response:
        assert (await response.json())["id"] == final_id


async def test_sse(person: aiohttp.ClientSession) -> None:
    content_type, lines = await read_frames(person, "sse=1&words=2&announce=1")
    assert content_type == "text/event-stream; charset=utf-8"
    events = [line.removeprefix("data: ") for line in lines if line]
    assert [list(json.loads(event)) for event in events[:-1]] == [
        ["temp_conversation_id"],
        ["delta"],
        ["delta"],
        ["final_conversation_id"],
    ]
    assert events[-1] == "[DONE]"


async def test_ndjson_with_the_id_in_the_stream(backend: LegacyBackend, person: aiohttp.ClientSession) -> None:
    content_type, lines = await read_frames(person, "ndjson=1&words=2&id_in=stream")
    assert content_type == "application/x-ndjson"
    (kept,) = backend.kept()
    assert json.loads(lines[0]) == {"conversation_id": kept.id}
    assert [list(json.loads(line)) for line in lines[1:]] == [["delta"], ["delta"]]


async def test_an_id_that_is_told_nowhere(person: aiohttp.ClientSession) -> None:
    async with person.post(f"{CHAT}?id_in=none", json=ASKED) as response:
        assert "X-Conversation-Id" not in response.headers
        assert "{" not in await response.text()


async def test_an_answer_that_is_no_stream(person: aiohttp.ClientSession) -> None:
    async with person.post(CHAT, json={**ASKED, "stream": False}) as response:
        text = await response.text()
        assert (response.content_length, len(text.split())) == (len(text), 14)


async def test_an_error_takes_up_nothing(backend: LegacyBackend, person: aiohttp.ClientSession) -> None:
    async with person.post(f"{CHAT}?status=503", json=ASKED) as response:
        assert response.status == 503
    assert (backend.kept(), backend.questions) == ((), [])


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("", b"{"),
        ("", b"[]"),
        ("", b'{"messages": 1}'),
        ("", b'{"messages": [], "conversationId": 5}'),
        ("words=many", b'{"messages": []}'),
        ("sse=1&ndjson=1", b'{"messages": []}'),
        ("words=-1", b'{"messages": []}'),
        ("id_in=body", b'{"messages": []}'),
    ],
)
async def test_a_request_that_makes_no_sense(
    backend: LegacyBackend, person: aiohttp.ClientSession, query: str, body: bytes
) -> None:
    async with person.post(f"{CHAT}?{query}", data=body) as response:
        assert response.status == 400
        assert await response.json()
    assert backend.questions == []


@pytest.mark.parametrize("words", [0, 5, 14])
async def test_a_connection_that_dies_leaves_the_work_going(
    backend: LegacyBackend, person: aiohttp.ClientSession, words: int
) -> None:
    async with person.post(f"{CHAT}?die_after={words}&word_ms=5", json=ASKED, headers=HEADERS) as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    await backend.until(lambda: backend.quiet)
    assert [kept.words for kept in backend.kept()] == [14]


async def test_a_generation_that_stalls(backend: LegacyBackend, person: aiohttp.ClientSession) -> None:
    async with person.post(f"{CHAT}?stall_after=3&word_ms=0", json=ASKED, headers=HEADERS) as response:
        await backend.until(lambda: backend.generations["req_1"].words_made == 3)
        async with person.post("/admin/requests/req_1/cancel") as cancelled:
            assert cancelled.status == 200
        assert len((await response.text()).split()) == 3
    assert [(kept.status, kept.words) for kept in backend.kept()] == [("temp", 0)]


async def test_knobs_can_be_turned_while_it_runs(backend: LegacyBackend, person: aiohttp.ClientSession) -> None:
    backend.knobs = BackendKnobs(words=2, word_s=0)
    _, (text,) = await read_frames(person, "")
    assert len(text.split()) == 2


async def test_the_history_is_the_users_own(person: aiohttp.ClientSession) -> None:
    mine = {"Authorization": "Bearer mine"}
    async with person.post(CHAT, json=ASKED, headers=mine) as response:
        await response.read()
        path = f"/api/ai-coach/conversations/{response.headers['X-Conversation-Id']}"
    for headers, count, status in ((mine, 1, 200), ({}, 0, 404)):
        async with person.get("/api/ai-coach/conversations", headers=headers) as response:
            assert len(await response.json()) == count
        async with person.get(path, headers=headers) as response:
            assert response.status == status


async def test_the_routes_that_are_only_relayed(person: aiohttp.ClientSession) -> None:
    async with person.get("/health") as response:
        assert await response.json() == {"status": "ok"}
    async with person.put("/api/ai-coach/echo", data=b"\x00" * 300_000, headers={"Content-Type": "x/y"}) as response:
        assert (response.headers["Content-Type"], response.content_length) == ("x/y", 300_000)
        assert (response.headers["X-Method"], await response.read()) == ("PUT", b"\x00" * 300_000)
    async with person.get("/api/ai-coach/bytes?n=100000") as response:
        assert (await response.read()) == (bytes(range(256)) * 391)[:100_000]


async def test_going_down_breaks_off_what_is_under_way(tmp_path: Path) -> None:
    path = tmp_path / "backend.db"
    async with aiohttp.ClientSession() as person:
        async with LegacyBackend.serve(path=path) as backend:
            url, port = backend.url, backend.port
            response = await person.post(f"{url}{CHAT}?stall_after=1", json=ASKED, headers=HEADERS)
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
        with pytest.raises(aiohttp.ClientConnectionError):
            await person.get(f"{url}/health")
        async with LegacyBackend.serve(path=path, port=port) as backend:
            assert (backend.url, [kept.words for kept in backend.kept()]) == (url, [0])
