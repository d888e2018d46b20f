"""A cancel may come first, late, or from a stranger (law 6)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.fakes.scene import scene
from tests.fakes.waiting import eventually
from tests.integration.chat.talk import END, PLAIN, Talk, begin, begin_answer, cancel, head

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.http import Message
    from tests.fakes.scene import Scene

CANCEL = "POST /admin/requests/r1/cancel"
ROLLBACK = "DELETE /admin/conversations/c1"
CANCELLED = b'{"status": "cancelled"}'
COMPLETED = b'{"status": "completed"}'
MALLORY = "Bearer mallory"


async def ask(running: Scene, names: str | None = None) -> Message:
    """Ask a question that never goes upstream; give the answer."""
    client = await running.client()
    await client.chat("X-Request-Id: r1", names=names)
    answer = await client.answer()
    await running.upstream_is_left_alone()
    return answer


async def complete(running: Scene, *, request_id: str = "r1", names: str | None = None) -> Talk:
    """Have a turn completed in the conversation c1."""
    talk = await begin_answer(running, request_id=request_id, names=names)
    await talk.peer.send(END)
    await talk.client.chunk()
    await eventually(lambda: running.turns()[-1]["state"] == "completed")
    return talk


async def test_first_by_request_id(running: Scene) -> None:
    assert await cancel(running, {"requestId": "r1"}) == (202, CANCELLED)
    answer = await ask(running)
    assert answer.status == 409
    assert json.loads(answer.body)["error"] == "cancelled"
    await running.turn_in("cancelled")
    assert running.admin.calls == []
    line = await running.exchange_line()
    assert (line["status"], line["request_id"]) == (409, "r1")
    assert await cancel(running, {"requestId": "r1"}) == (200, CANCELLED)


async def test_first_by_conversation_id(tmp_path: Path) -> None:
    async with scene(tmp_path, chat={"begins": "always"}) as running:
        assert await cancel(running, {"conversationId": "c1"}) == (202, CANCELLED)
        assert (await ask(running, names="c1")).status == 409


async def test_first_by_conversation_id_stops_no_later_message_in_one_that_goes_on(running: Scene) -> None:
    assert await cancel(running, {"conversationId": "c1"}) == (202, CANCELLED)
    talk = await begin(running, names="c1")
    assert talk.client.nothing_came()


async def test_first_and_another_request_goes_through(running: Scene) -> None:
    assert await cancel(running, {"requestId": "r2"}) == (202, CANCELLED)
    talk = await begin(running, request_id="r1")
    assert talk.client.nothing_came()


async def test_first_is_remembered_over_a_restart(tmp_path: Path) -> None:
    async with scene(tmp_path) as running:
        assert await cancel(running, {"requestId": "r1"}) == (202, CANCELLED)
    async with scene(tmp_path) as running:
        assert (await ask(running)).status == 409


async def test_first_is_forgotten_in_time(tmp_path: Path) -> None:
    async with scene(tmp_path, journal={"tombstone_ttl_s": 0.001}) as running:
        assert await cancel(running, {"requestId": "r1"}) == (202, CANCELLED)
        talk = await begin(running)
        assert talk.client.nothing_came()


async def test_first_from_a_stranger_stops_nothing(running: Scene) -> None:
    assert await cancel(running, {"requestId": "r1"}, who=MALLORY) == (202, CANCELLED)
    talk = await begin(running)
    assert talk.client.nothing_came()


@pytest.mark.parametrize("ids", [{"requestId": "r1"}, {"conversationId": "c1"}])
async def test_a_stranger_learns_and_does_nothing(running: Scene, ids: dict[str, str]) -> None:
    talk = await begin_answer(running)
    unknown = await cancel(running, {"requestId": "unknown"}, who=MALLORY)
    assert await cancel(running, ids, who=MALLORY) == unknown == (202, CANCELLED)
    await talk.say(b"a time")
    await talk.peer.send(END)
    await talk.client.chunk()
    await talk.settle("completed")
    assert await cancel(running, ids, who=MALLORY) == unknown
    assert running.admin.calls == []


async def test_without_any_identity_there_is_one_principal(tmp_path: Path) -> None:
    async with scene(tmp_path, chat={"identity": []}) as running:
        talk = await begin_answer(running)
        assert await cancel(running, {"requestId": "r1"}, who=MALLORY) == (200, CANCELLED)
        assert await talk.client.gone() == b""


@pytest.mark.parametrize("ids", [{"requestId": "r1"}, {"conversationId": "c1"}])
async def test_late_within_the_grace_time_it_is_rolled_back(running: Scene, ids: dict[str, str]) -> None:
    talk = await complete(running)
    assert await cancel(running, ids) == (200, CANCELLED)
    await talk.settle("cancelled")
    assert running.admin.lines == [ROLLBACK]
    assert talk.client.nothing_came(), "the connection is left alone"
    assert await cancel(running, ids) == (200, CANCELLED)


async def test_late_leaves_the_next_exchange_on_the_connection_alone(running: Scene) -> None:
    talk = await complete(running)
    await talk.client.chat("X-Request-Id: r2")
    peer, _ = await running.upstream.request()
    assert await cancel(running, {"requestId": "r1"}) == (200, CANCELLED)
    await eventually(lambda: running.admin.lines == [ROLLBACK])
    await peer.send(head(PLAIN, "Content-Length: 2"), b"hi")
    assert (await talk.client.answer()).body == b"hi"


async def test_late_after_the_grace_time_it_stays(tmp_path: Path) -> None:
    async with scene(tmp_path, chat={"cancel_grace_s": 0}) as running:
        await complete(running)
        assert await cancel(running, {"requestId": "r1"}) == (200, COMPLETED)
        assert running.turns()[0]["state"] == "completed"
        assert running.admin.calls == []


async def test_late_in_an_existing_conversation_it_stays(running: Scene) -> None:
    await complete(running, names="c1")
    assert await cancel(running, {"requestId": "r1"}) == (200, COMPLETED)
    assert running.admin.calls == []


async def test_late_behind_another_turn_it_stays(running: Scene) -> None:
    await complete(running)
    await complete(running, request_id="r2", names="c1")
    assert await cancel(running, {"requestId": "r1"}) == (200, COMPLETED)
    assert running.admin.calls == []


async def test_what_was_refused_is_completed(running: Scene) -> None:
    talk = await begin(running)
    await talk.peer.send(head("Content-Length: 0", status="500 Oops"))
    await talk.client.answer()
    await talk.settle("refused")
    assert (await cancel(running, {"requestId": "r1"}))[0] == 200
    assert running.turns()[0]["state"] == "refused"
    assert running.admin.calls == []
