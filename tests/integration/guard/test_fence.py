"""A new turn in a conversation that is being rolled back waits for that, and no longer than it may."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.errors import JournalUnavailableError
from sidecar.journal.store import SqliteJournal
from tests.fakes.scene import scene
from tests.fakes.waiting import AT_ONCE_S, eventually, loop_turns
from tests.integration.chat.talk import begin, begin_answer, cancel
from tests.integration.guard.reading import CANCEL, ROLLBACK, STEADY, abandon, deliver

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.downstream import Downstream
    from tests.fakes.http import Message
    from tests.fakes.scene import Scene

MALLORY = "Authorization: Bearer mallory"


async def come(running: Scene, *lines: str, request_id: str = "r2", names: str | None = "c1") -> Downstream:
    """Have a client ask something that waits: the upstream hears nothing of it, nor does the journal."""
    client = await running.client()
    before = len(running.turns())
    await client.chat(f"X-Request-Id: {request_id}", *lines, names=names)
    await eventually(lambda: sleepers(running))
    await running.upstream_is_left_alone()
    assert client.nothing_came()
    assert len(running.turns()) == before
    return client


def sleepers(running: Scene) -> list[object]:
    """Give those that sleep at the fence."""
    waiters = running.sidecar.driver.fence._waiters.values()
    return [one for waiting in waiters for waiter in waiting for one in waiter._event._waiters]


async def come_in_vain(running: Scene, *lines: str, request_id: str = "r2", names: str | None = "c1") -> Message:
    """Have a client ask something that is refused without going anywhere; give the answer."""
    client = await running.client()
    before = running.turns()
    await client.chat(f"X-Request-Id: {request_id}", *lines, names=names)
    answer = await client.answer()
    await running.upstream_is_left_alone()
    assert [turn["id"] for turn in running.turns()] == [turn["id"] for turn in before]
    assert answer.get("X-Request-Id") == request_id.encode()
    return answer


def told(answer: Message) -> tuple[int, str, bytes | None]:
    return answer.status, json.loads(answer.body)["error"], answer.get("Retry-After")


async def begun(running: Scene, request_id: str = "r2") -> None:
    """Make sure that the upstream gets the question."""
    _, request = await running.upstream.request()
    assert request.get("X-Request-Id") == request_id.encode()


async def test_it_goes_on_when_the_rollback_is_done(running: Scene) -> None:
    running.admin.answers[ROLLBACK] = 503
    await abandon(running)
    await come(running)
    del running.admin.answers[ROLLBACK]
    await begun(running)
    assert [turn["state"] for turn in running.turns()] == ["cancelled", "open"]
    assert running.admin.lines[-1] == ROLLBACK
    assert running.sidecar.driver.fence._waiters == {}


async def test_it_goes_on_at_once_and_not_by_chance_of_a_look(running: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.engine.gate.POLL_S", 60.0)
    await test_it_goes_on_when_the_rollback_is_done(running)


async def test_what_another_process_does_is_looked_for(running: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.engine.gate.POLL_S", 0.01)
    monkeypatch.setattr(running.sidecar.driver.fence, "moved", lambda _: None)
    await test_it_goes_on_when_the_rollback_is_done(running)


@pytest.mark.parametrize("timeout_s", [0, 0.05])
async def test_it_is_refused_when_that_takes_too_long(tmp_path: Path, timeout_s: float) -> None:
    async with scene(tmp_path, chat={"fence_timeout_s": timeout_s}, admin=STEADY) as running:
        running.admin.answers[ROLLBACK] = 503
        await abandon(running)
        assert told(await come_in_vain(running)) == (409, "rollback_pending", b"1")
        line = await running.exchange_line(1)
        assert (line["status"], line["turn"], line["request_id"]) == (409, None, "r2")
        del running.admin.answers[ROLLBACK]
        await running.turn_in("cancelled")
        assert set(running.admin.lines) == {CANCEL, ROLLBACK}
        await begin(running, request_id="r2", names="c1")


async def test_the_connection_of_a_refused_one_goes_on(tmp_path: Path) -> None:
    async with scene(tmp_path, chat={"fence_timeout_s": 0}, admin=STEADY) as running:
        running.admin.answers[ROLLBACK] = 503
        await abandon(running)
        await come_in_vain(running)
        await running.clients[-1].chat("X-Request-Id: r3")
        await begun(running, "r3")


@pytest.mark.parametrize("reset", [True, False])
async def test_a_client_that_leaves_while_it_waits(running: Scene, *, reset: bool) -> None:
    running.admin.answers[ROLLBACK] = 503
    await abandon(running)
    client = await come(running)
    client.reset() if reset else client.close()
    async with asyncio.timeout(AT_ONCE_S):
        line = await running.exchange_line(1)
    assert (line["status"], line["turn"]) == (499, None)
    await eventually(lambda: not running.sidecar.driver.fence._waiters)
    del running.admin.answers[ROLLBACK]
    await running.turn_in("cancelled")
    await running.upstream_is_left_alone()
    assert len(running.turns()) == 1


async def test_a_stranger_waits_too(running: Scene) -> None:
    running.admin.answers[ROLLBACK] = 503
    await abandon(running)
    await come(running, MALLORY)
    del running.admin.answers[ROLLBACK]
    await begun(running)


async def test_a_client_that_begins_it_anew_by_its_own_id_waits_too(tmp_path: Path) -> None:
    async with scene(tmp_path, chat={"begins": "always"}, admin=STEADY) as running:
        running.admin.answers[ROLLBACK] = 503
        await abandon(running, names="c1")
        await come(running)
        del running.admin.answers[ROLLBACK]
        await begun(running)
        calls = len(running.admin.lines)
        await loop_turns()
        assert len(running.admin.lines) == calls, "what was begun anew is left alone"


async def test_a_rollback_that_is_given_up_is_waited_for_no_longer(tmp_path: Path) -> None:
    held_up: dict[str, Any] = {"attempts_max": 5, "backoff_first_s": 0.02, "backoff_max_s": 0.02}
    async with scene(tmp_path, admin=held_up) as running:
        running.admin.answers[ROLLBACK] = 503
        await abandon(running)
        client = await running.client()
        await client.chat("X-Request-Id: r2", names="c1")
        await begun(running)
        assert running.turns()[0]["state"] == "unresolved"
        running.logs.clear()  # a dead step is an error, and meant to be


# What is not waited for


async def test_another_conversation(running: Scene) -> None:
    running.admin.answers[ROLLBACK] = 503
    await abandon(running)
    await begin(running, request_id="r2", names="c2")
    await begin(running, request_id="r3")


async def test_the_cancel_of_a_turn_in_an_existing_conversation(running: Scene) -> None:
    running.admin.answers[CANCEL] = 503
    await abandon(running, names="c1")
    await begin(running, request_id="r2", names="c1")


async def test_the_cancel_of_a_turn_whose_conversation_is_kept(tmp_path: Path) -> None:
    async with scene(tmp_path, chat={"on": {"closed": "keep"}}, admin=STEADY) as running:
        running.admin.answers[CANCEL] = 503
        await abandon(running)
        await begin(running, request_id="r2", names="c1")


async def test_a_rollback_that_will_not_be_made(running: Scene) -> None:
    """Another turn in the conversation was delivered."""
    running.admin.answers[CANCEL] = 503
    abandoned = await begin_answer(running)
    await deliver(running, request_id="r2", names="c1")
    abandoned.client.close()
    await eventually(lambda: running.turns()[0]["state"] == "cancelling")
    await begin(running, request_id="r3", names="c1")


# Cancelled while it waits


@pytest.mark.parametrize(
    "ids", [{"requestId": "r2"}, {"conversationId": "c1"}, {"requestId": "?", "conversationId": "c1"}]
)
async def test_a_cancel_finds_the_one_that_waits(running: Scene, ids: dict[str, str]) -> None:
    running.admin.answers[ROLLBACK] = 503
    await abandon(running)
    client = await come(running)
    assert await cancel(running, ids) == (200, b'{"status": "cancelled"}')
    async with asyncio.timeout(AT_ONCE_S):
        assert told(await client.answer()) == (409, "cancelled", None)
    del running.admin.answers[ROLLBACK]
    await eventually(lambda: [turn["state"] for turn in running.turns()] == ["cancelled", "cancelled"])
    await running.upstream_is_left_alone()
    assert "POST /admin/requests/r2/cancel" not in running.admin.lines


async def test_a_cancel_by_a_stranger_does_not(running: Scene) -> None:
    running.admin.answers[ROLLBACK] = 503
    await abandon(running)
    await come(running)
    await cancel(running, {"requestId": "r2"}, who="Bearer mallory")
    await cancel(running, {"conversationId": "c1"}, who="Bearer mallory")
    del running.admin.answers[ROLLBACK]
    await begun(running)


async def test_a_cancel_of_the_first_is_none_of_the_second(running: Scene) -> None:
    running.admin.answers[ROLLBACK] = 503
    await abandon(running)
    await come(running)
    await cancel(running, {"requestId": "r1", "conversationId": "c1"})
    del running.admin.answers[ROLLBACK]
    await begun(running)


# When things go wrong


async def test_a_journal_that_cannot_be_asked(running: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object) -> None:
        raise JournalUnavailableError("the disk is gone")

    running.admin.answers[ROLLBACK] = 503
    await abandon(running)
    monkeypatch.setattr(SqliteJournal, "in_conversations", fails)
    assert told(await come_in_vain(running)) == (503, "journal_unavailable", None)
    await begin(running, request_id="r3")


async def test_a_sidecar_that_stops_lets_nobody_wait(tmp_path: Path) -> None:
    async with scene(tmp_path, admin=STEADY) as running:
        running.admin.answers[ROLLBACK] = 503
        await abandon(running)
        client = await come(running)
        del running.admin.answers[ROLLBACK]
        await running.sidecar.front.drain(0)
        assert await client.gone() == b""
        assert (await running.exchange_line(1))["cause"] == "shutdown"


async def test_whether_it_begins_is_asked_again_when_the_rollback_is_done(tmp_path: Path) -> None:
    """While it was there, the turn seemed to go on in it; what the turn then begins is its own to be rolled back."""
    look = "GET /admin/conversations/c1"
    verify = {"method": "GET", "path": "/admin/conversations/{conversation_id}"}
    admin = {**STEADY, "verify": verify, "verify_after_s": [0.001]}
    async with scene(tmp_path, chat={"begins": "probe", "announce": True}, admin=admin) as running:
        running.admin.answers = {look: 404, ROLLBACK: 503}
        talk = await begin(running, names="c1")
        talk.client.close()
        await running.turn_in("cancelling")
        running.admin.answers[look] = 200
        await come(running)
        running.admin.answers = {look: 404}
        await begun(running)
        assert [(turn["state"], turn["begins"]) for turn in running.turns()] == [("cancelled", 1), ("open", 1)]
        assert all(turn["temp_id"] for turn in running.turns())
