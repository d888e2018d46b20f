"""A read that names a conversation: at once a 404 where that is gone, and relayed where it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sidecar.errors import JournalUnavailableError
from sidecar.journal.store import SqliteJournal
from tests.fakes.downstream import request_bytes
from tests.fakes.scene import scene
from tests.fakes.waiting import eventually
from tests.integration.chat.talk import begin, begin_answer, cancel, head
from tests.integration.guard.reading import CANCEL, CLOSE, GUARDS, ROLLBACK, abandon, deliver, read, read_gone

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.fakes.downstream import Downstream
    from tests.fakes.scene import Scene

CONVERSATION = "/history/c1"
FOUND = head(CLOSE, "Content-Length: 2") + b"hi"


async def is_shown(running: Scene, target: str = CONVERSATION) -> bool:
    return (await read(running, FOUND, target=target)).body == b"hi"


async def test_while_the_rollback_is_owed_and_when_it_is_done(running: Scene) -> None:
    running.admin.answers[ROLLBACK] = 503
    await abandon(running)
    await read_gone(running, CONVERSATION)
    del running.admin.answers[ROLLBACK]
    await running.turn_in("cancelled")
    await read_gone(running, CONVERSATION)


@pytest.mark.parametrize("call", [CANCEL, ROLLBACK])
async def test_when_it_could_not_be_undone(tmp_path: Path, call: str) -> None:
    async with scene(tmp_path, guard=GUARDS, admin={"attempts_max": 1}) as running:
        running.admin.answers[call] = 503
        await abandon(running)
        await eventually(lambda: "dead" in [step["state"] for step in running.steps()])
        await read_gone(running, CONVERSATION)
        running.logs.clear()  # a dead step is an error, and meant to be


async def test_it_is_gone_for_everyone(running: Scene) -> None:
    await abandon(running)
    await read_gone(running, CONVERSATION, "Authorization: Bearer mallory")


async def test_it_is_gone_by_every_way_to_write_it(running: Scene) -> None:
    await abandon(running)
    await read_gone(running, "/history/%63%31?page=2")
    await read_gone(running, "http://app.example/history/c1")


async def test_the_connection_goes_on_and_other_conversations_are_shown(running: Scene) -> None:
    await abandon(running)
    client = await running.client()
    await client.get(CONVERSATION)
    assert (await client.answer()).get("Connection") is None
    await client.get("/history/c2")
    peer, request = await running.upstream.request()
    assert request.target == b"/history/c2"
    await peer.send(FOUND)
    assert (await client.answer()).body == b"hi"


async def test_a_head_request_gets_a_head(running: Scene) -> None:
    await abandon(running)
    answer = await read_gone(running, CONVERSATION, method="HEAD")
    assert running.clients[-1].nothing_came()
    assert int(answer.get("Content-Length") or 0) > 0


async def test_another_method_is_not_guarded(running: Scene) -> None:
    await abandon(running)
    assert (await read(running, FOUND, target=CONVERSATION, method="DELETE")).body == b"hi"


async def test_the_canonical_line_tells(running: Scene) -> None:
    await abandon(running)
    await read_gone(running, CONVERSATION)
    line = await running.exchange_line(1)
    assert (line["status"], line["path"], line["error"]) == (404, CONVERSATION, "the conversation was cancelled")


async def test_it_is_gone_after_a_restart(tmp_path: Path) -> None:
    async with scene(tmp_path, guard=GUARDS) as running:
        await abandon(running)
        await running.turn_in("cancelled")
    async with scene(tmp_path, guard=GUARDS) as running:
        await read_gone(running, CONVERSATION)


async def test_a_cancel_on_request_counts_too(running: Scene) -> None:
    await begin_answer(running)
    await cancel(running, {"requestId": "r1"})
    await read_gone(running, CONVERSATION)


async def test_a_late_cancel_counts_too(running: Scene) -> None:
    await deliver(running)
    assert await is_shown(running)
    await cancel(running, {"requestId": "r1"})
    await read_gone(running, CONVERSATION)


async def test_a_temporary_id_is_gone_too(tmp_path: Path) -> None:
    async with scene(tmp_path, guard=GUARDS, chat={"announce": True}) as running:
        talk = await begin(running)
        await talk.answer("Content-Type: text/plain", "X-Conversation-Id: c1")
        temp_id = running.turns()[0]["temp_id"]
        talk.client.close()
        await running.turn_in("cancelled")
        await read_gone(running, f"/history/{temp_id}")
        await read_gone(running, CONVERSATION)


async def test_before_the_cancel_is_durable(running: Scene) -> None:
    talk = await begin_answer(running)
    async with running.journal_locked():
        talk.client.close()
        await read_gone(running, CONVERSATION)
        assert running.turns()[0]["state"] == "open"
    await running.turn_in("cancelled")


# What is not gone


async def test_a_turn_under_way_or_delivered_is_shown(running: Scene) -> None:
    await begin_answer(running)
    assert await is_shown(running)
    await deliver(running, request_id="r2")
    assert await is_shown(running)


async def test_an_existing_conversation_is_shown(running: Scene) -> None:
    await abandon(running, names="c1")
    assert await is_shown(running)


async def test_a_conversation_that_is_kept_is_shown(tmp_path: Path) -> None:
    async with scene(tmp_path, guard=GUARDS, chat={"on": {"closed": "keep"}}) as running:
        await abandon(running)
        assert await is_shown(running)


async def test_what_the_upstream_refused_was_never_cancelled(running: Scene) -> None:
    talk = await begin(running)
    await talk.peer.send(head(CLOSE, "Content-Length: 0", "X-Conversation-Id: c1", status="500 Oops"))
    await talk.settle("refused")
    assert await is_shown(running)


async def test_another_turn_that_was_delivered_keeps_it_shown(running: Scene) -> None:
    abandoned = await begin_answer(running)
    await deliver(running, request_id="r2", names="c1")
    abandoned.client.close()
    await eventually(lambda: [turn["state"] for turn in running.turns()] == ["cancelled", "completed"])
    assert await is_shown(running)


async def test_a_client_that_begins_it_anew_sees_it(tmp_path: Path) -> None:
    async with scene(tmp_path, guard=GUARDS, chat={"begins": "always"}) as running:
        await abandon(running, names="c1")
        await running.turn_in("cancelled")
        talk = await begin(running, request_id="r2", names="c1")
        assert await is_shown(running)
        talk.client.close()
        await eventually(lambda: running.turns()[-1]["state"] == "cancelled")
        await read_gone(running, CONVERSATION)


async def test_a_journal_that_cannot_be_asked_shows_nothing(running: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object) -> None:
        raise JournalUnavailableError("the disk is gone")

    monkeypatch.setattr(SqliteJournal, "in_conversations", fails)
    client = await running.client()
    await client.get(CONVERSATION)
    assert (await client.answer()).status == 503
    await running.upstream_is_left_alone()


LEAVE = pytest.mark.parametrize("leave", [lambda client: client.close(), lambda client: client.reset()])


@LEAVE
@pytest.mark.parametrize("turns", [20])
async def test_a_read_right_behind_the_leaving_never_shows_it(
    running: Scene, leave: Callable[[Downstream], None], turns: int
) -> None:
    """The rollback is far from being made."""
    for number in range(turns):
        name = f"c{number}"
        running.admin.answers[f"DELETE /admin/conversations/{name}"] = 503
        talk = await begin(running, request_id=f"r{number}")
        await talk.answer("Content-Type: text/plain", f"X-Conversation-Id: {name}")
        reader = await running.client()
        leave(talk.client)
        reader.send_now(request_bytes("GET", f"/history/{name}"))
        assert (await reader.answer()).status == 404
    assert running.upstream.nobody_asked()


async def test_what_can_be_no_id_is_relayed(running: Scene) -> None:
    assert await is_shown(running, "/history/%ff")
    assert await is_shown(running, "/history/%ED%A0%80%00")
