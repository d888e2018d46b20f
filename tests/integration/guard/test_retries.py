"""The same request id again: what comes of it hangs on what became of the first."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.scene import scene
from tests.fakes.waiting import eventually
from tests.integration.chat.talk import PLAIN, begin, begin_answer, cancel, head
from tests.integration.guard.reading import CANCEL, CLOSE, ROLLBACK, STEADY, abandon, deliver
from tests.integration.guard.test_fence import begun, come, come_in_vain, told

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.scene import Scene

MALLORY = "Authorization: Bearer mallory"
CANCELLED = (200, b'{"status": "cancelled"}')


def states(running: Scene) -> list[str]:
    return [turn["state"] for turn in running.turns()]


async def again(running: Scene, *lines: str) -> tuple[int, str, bytes | None]:
    return told(await come_in_vain(running, *lines, request_id="r1", names=None))


async def test_while_the_first_is_under_way(running: Scene) -> None:
    talk = await begin_answer(running)
    assert await again(running) == (409, "in_progress", b"1")
    await talk.say(b"a time")
    await talk.peer.send(b"0\r\n\r\n")
    await talk.client.chunk()
    await talk.settle("completed")
    assert running.admin.calls == []


async def test_before_the_first_is_answered(running: Scene) -> None:
    await begin(running)
    assert await again(running) == (409, "in_progress", b"1")


async def test_while_the_first_runs_on_unseen(tmp_path: Path) -> None:
    async with scene(tmp_path, chat={"on": {"closed": "complete"}}) as running:
        talk = await begin_answer(running)
        talk.client.close()
        await running.exchange_line()
        assert await again(running) == (409, "in_progress", b"1")


async def test_both_at_once(running: Scene) -> None:
    clients = [await running.client() for _ in range(5)]
    for client in clients:
        await client.chat("X-Request-Id: r1")
    await begun(running, "r1")
    refused = await eventually(lambda: [one for one in clients if not one.nothing_came()][3:] and clients)
    answers = [await client.answer() for client in refused if not client.nothing_came()]
    assert [told(answer) for answer in answers] == [(409, "in_progress", b"1")] * 4
    assert running.upstream.nobody_asked()
    assert len(running.turns()) == 1


async def test_after_it_was_delivered(running: Scene) -> None:
    await deliver(running)
    await deliver(running)
    assert states(running) == ["completed", "completed"]
    assert len({turn["id"] for turn in running.turns()}) == 2


async def test_after_it_was_refused(running: Scene) -> None:
    talk = await begin(running)
    await talk.peer.send(head(CLOSE, "Content-Length: 0", status="503 Busy"))
    assert (await talk.client.answer()).status == 503
    await talk.settle("refused")
    await deliver(running)
    assert states(running) == ["refused", "completed"]


async def test_after_the_upstream_could_not_be_reached(running: Scene) -> None:
    talk = await begin(running)
    talk.peer.close()
    assert (await talk.client.answer()).status == 502
    await eventually(lambda: states(running)[0] != "open")
    await begin(running)


async def test_after_a_disconnect_it_waits_until_the_first_is_undone(running: Scene) -> None:
    running.admin.answers[CANCEL] = 503
    await abandon(running)
    await come(running, request_id="r1", names=None)
    running.admin.answers = {ROLLBACK: 503}
    await eventually(lambda: ROLLBACK in running.admin.lines)
    await running.upstream_is_left_alone()
    del running.admin.answers[ROLLBACK]
    await begun(running, "r1")
    assert states(running) == ["cancelled", "open"]
    assert running.admin.lines[-1] == ROLLBACK


async def test_after_a_disconnect_in_an_existing_conversation_too(running: Scene) -> None:
    running.admin.answers[CANCEL] = 503
    await abandon(running, names="c1")
    await come(running, request_id="r1")
    del running.admin.answers[CANCEL]
    await begun(running, "r1")
    assert set(running.admin.lines) == {CANCEL}


async def test_after_a_disconnect_it_is_refused_when_that_takes_too_long(tmp_path: Path) -> None:
    async with scene(tmp_path, chat={"fence_timeout_s": 0.05}, admin=STEADY) as running:
        running.admin.answers[CANCEL] = 503
        await abandon(running)
        assert await again(running) == (409, "rollback_pending", b"1")
        del running.admin.answers[CANCEL]
        await running.turn_in("cancelled")
        await begin(running)


async def test_a_cancel_that_is_still_owed_does_not_hit_the_second(running: Scene) -> None:
    """The first is cancelled by request id: when that call is made, the upstream knows only the first."""
    running.admin.answers[CANCEL] = 503
    await abandon(running)
    await come(running, request_id="r1", names=None)
    del running.admin.answers[CANCEL]
    await begun(running, "r1")
    calls = list(running.admin.lines)
    assert calls[-2:] == [CANCEL, ROLLBACK]
    peer = running.upstream.taken[-1]
    await peer.send(head(PLAIN, CLOSE, "Content-Length: 2"), b"hi")
    assert (await running.clients[-1].answer()).body == b"hi"
    await eventually(lambda: states(running) == ["cancelled", "completed"])
    assert running.admin.lines == calls


async def test_looks_that_are_still_to_come_hold_up_nothing(tmp_path: Path) -> None:
    """The first is cancelled and rolled back; it only remains to look whether it comes back (law 7)."""
    verify: dict[str, Any] = {"method": "GET", "path": "/admin/conversations/{conversation_id}"}
    async with scene(tmp_path, admin={"verify": verify, "verify_after_s": [60]}) as running:
        running.admin.answers["GET /admin/conversations/c1"] = 404
        await abandon(running)
        await eventually(lambda: running.turns()[0]["looks"] == 1)
        await begin(running)
        assert states(running) == ["cancelling", "open"]
        await come(running)


async def test_an_answer_that_is_about_to_be_delivered_is_waited_for(running: Scene) -> None:
    talk = await begin(running, small_buffer=True)
    body = b"x" * 60_000
    await talk.peer.send(head(PLAIN, CLOSE, f"Content-Length: {len(body)}"), body)
    await running.turn_in("answered")
    await come(running, request_id="r1", names=None)
    assert (await talk.client.answer()).body == body
    await begun(running, "r1")
    assert states(running) == ["completed", "open"]


async def test_an_answer_that_is_not_taken_is_waited_for_in_vain(tmp_path: Path) -> None:
    async with scene(tmp_path, chat={"fence_timeout_s": 0}) as running:
        talk = await begin(running, small_buffer=True)
        await talk.peer.send(head(PLAIN, "Content-Length: 60000"), b"x" * 60_000)
        await running.turn_in("answered")
        assert await again(running) == (409, "in_progress", b"1")


# After an explicit cancel


@pytest.mark.parametrize("ids", [{"requestId": "r1"}, {"conversationId": "c1"}])
async def test_after_a_cancel_it_goes_nowhere(running: Scene, ids: dict[str, str]) -> None:
    await begin_answer(running)
    assert await cancel(running, ids) == CANCELLED
    for _ in range(2):
        client = await running.client()
        await client.chat("X-Request-Id: r1")
        assert told(await client.answer()) == (409, "cancelled", None)
    await running.upstream_is_left_alone()
    await eventually(lambda: set(states(running)) == {"cancelled"})
    assert running.admin.lines == [CANCEL, ROLLBACK]
    assert await cancel(running, ids) == CANCELLED


async def test_it_does_not_wait_to_be_told_so(running: Scene) -> None:
    running.admin.answers[CANCEL] = 503
    await begin_answer(running)
    assert await cancel(running, {"requestId": "r1"}) == CANCELLED
    client = await running.client()
    await client.chat("X-Request-Id: r1")
    assert told(await client.answer()) == (409, "cancelled", None)


async def test_after_a_late_cancel_too(running: Scene) -> None:
    await deliver(running)
    assert await cancel(running, {"requestId": "r1"}) == CANCELLED
    client = await running.client()
    await client.chat("X-Request-Id: r1")
    assert told(await client.answer()) == (409, "cancelled", None)


async def test_after_a_cancel_that_came_too_late_it_is_relayed(tmp_path: Path) -> None:
    async with scene(tmp_path, chat={"cancel_grace_s": 0}) as running:
        await deliver(running)
        assert await cancel(running, {"requestId": "r1"}) == (200, b'{"status": "completed"}')
        await begin(running)


async def test_after_a_disconnect_and_a_cancel(running: Scene) -> None:
    """The app aborts its transfer and says so, too: the socket may well be seen first."""
    await abandon(running)
    assert await cancel(running, {"requestId": "r1"}) == CANCELLED
    client = await running.client()
    await client.chat("X-Request-Id: r1")
    assert told(await client.answer()) == (409, "cancelled", None)


async def test_the_cancel_is_remembered_over_a_restart(tmp_path: Path) -> None:
    async with scene(tmp_path) as running:
        await begin_answer(running)
        assert await cancel(running, {"requestId": "r1"}) == CANCELLED
    async with scene(tmp_path) as running:
        client = await running.client()
        await client.chat("X-Request-Id: r1")
        assert told(await client.answer()) == (409, "cancelled", None)


async def test_the_cancel_is_forgotten_in_time(tmp_path: Path) -> None:
    async with scene(tmp_path, journal={"tombstone_ttl_s": 0.001}) as running:
        await begin_answer(running)
        assert await cancel(running, {"requestId": "r1"}) == CANCELLED
        await running.turn_in("cancelled")
        await begin(running)


# Whose request it is


async def test_another_principal_has_request_ids_of_its_own(running: Scene) -> None:
    talk = await begin_answer(running)
    await begin(running, MALLORY)
    assert await cancel(running, {"requestId": "r1"}) == CANCELLED
    await talk.peer.gone()
    await begin(running, MALLORY.replace("mallory", "bob"))
    assert sorted(states(running))[-2:] == ["open", "open"]


async def test_another_request_id_is_another_request(running: Scene) -> None:
    await begin_answer(running)
    await begin(running, request_id="r2")
    client = await running.client()
    await client.chat()
    _, request = await running.upstream.request()
    assert json.loads(request.body)
    assert (request.get("X-Request-Id") or b"").startswith(b"req_")
