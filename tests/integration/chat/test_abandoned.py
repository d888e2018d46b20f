"""A turn that its client abandons is cancelled, and what it began is rolled back: once each, and in this order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.downstream import CHAT, request_bytes
from tests.fakes.http import Message
from tests.fakes.scene import scene
from tests.fakes.waiting import AT_ONCE_S, eventually, loop_turns
from tests.integration.chat.talk import CHUNKED, PLAIN, Talk, begin, begin_answer, chunk, head

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.fakes.downstream import Downstream
    from tests.fakes.scene import Scene

CANCEL = "POST /admin/requests/r1/cancel"
ROLLBACK = "DELETE /admin/conversations/c1"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def fin(client: Downstream) -> None:
    client.fin()


def reset(client: Downstream) -> None:
    client.reset()


LEAVING = pytest.mark.parametrize(("leave", "cause"), [(fin, "closed"), (reset, "reset")], ids=["fin", "rst"])


async def undone(talk: Talk, cause: str, *calls: str) -> None:
    """Make sure that the turn was cancelled with that cause, and by these calls alone."""
    await talk.peer.gone(AT_ONCE_S)
    turn = await talk.settle("cancelled")
    line = await talk.running.exchange_line()
    assert (line["status"], line["cause"], turn["cause"]) == (499, cause, cause)
    assert talk.running.admin.lines == list(calls)
    assert [step["state"] for step in talk.running.steps()] == ["delivered"] * len(calls)


@LEAVING
async def test_mid_answer(running: Scene, leave: Callable[[Downstream], None], cause: str) -> None:
    talk = await begin_answer(running)
    leave(talk.client)
    await undone(talk, cause, CANCEL, ROLLBACK)


@LEAVING
async def test_while_the_upstream_is_silent(running: Scene, leave: Callable[[Downstream], None], cause: str) -> None:
    talk = await begin(running, names="c1")
    leave(talk.client)
    await undone(talk, cause, CANCEL)


@LEAVING
async def test_a_client_that_chooses_the_id_of_a_new_conversation(
    tmp_path: Path, leave: Callable[[Downstream], None], cause: str
) -> None:
    async with scene(tmp_path, chat={"begins": "always"}) as running:
        talk = await begin(running, names="c1")
        leave(talk.client)
        await undone(talk, cause, CANCEL, ROLLBACK)


@LEAVING
async def test_in_an_existing_conversation(running: Scene, leave: Callable[[Downstream], None], cause: str) -> None:
    talk = await begin_answer(running, names="c1")
    leave(talk.client)
    await undone(talk, cause, CANCEL)


@LEAVING
async def test_while_the_client_reads_nothing(running: Scene, leave: Callable[[Downstream], None], cause: str) -> None:
    talk = await begin(running, small_buffer=True)
    await talk.peer.send(head(PLAIN, CHUNKED, "X-Conversation-Id: c1") + b"FFFFFFF\r\n")
    stuck = 0
    while stuck < 50:
        stuck = 0 if talk.peer.send_now(b"x" * 262_144) else stuck + 1
        await loop_turns()
    leave(talk.client)
    await undone(talk, cause, CANCEL, ROLLBACK)


async def test_the_calls_carry_what_makes_them_safe_to_repeat(running: Scene) -> None:
    client = await running.client()
    await client.chat("X-Request-Id: r1", f"traceparent: {TRACE}")
    peer, _ = await running.upstream.request()
    await peer.send(head(PLAIN, CHUNKED, "X-Conversation-Id: c1"))
    await client.head()
    client.close()
    await running.turn_in("cancelled")
    keys = [call.headers["Idempotency-Key"] for call in running.admin.calls]
    assert len(set(keys)) == 2
    assert keys == [step["idempotency_key"] for step in running.steps()]
    assert [call.headers["traceparent"] for call in running.admin.calls] == [TRACE, TRACE]
    assert [call.headers["X-Request-Id"] for call in running.admin.calls] == ["r1", "r1"]


async def test_a_call_that_fails_is_made_again_with_the_same_key_and_holds_up_the_next(running: Scene) -> None:
    running.admin.answers[CANCEL] = 500
    talk = await begin_answer(running)
    talk.client.close()
    await eventually(lambda: len(running.admin.calls) >= 2)
    assert set(running.admin.lines) == {CANCEL}
    del running.admin.answers[CANCEL]
    await talk.settle("cancelled")
    assert running.admin.lines[-2:] == [CANCEL, ROLLBACK]
    keys = {call.headers["Idempotency-Key"] for call in running.admin.calls if call.line == CANCEL}
    assert len(keys) == 1


async def test_already_gone_counts_as_done(running: Scene) -> None:
    running.admin.answers.update({CANCEL: 404, ROLLBACK: 410})
    talk = await begin_answer(running)
    talk.client.close()
    await talk.settle("cancelled")
    assert running.admin.lines == [CANCEL, ROLLBACK]


async def test_another_turn_that_was_confirmed_saves_the_conversation(running: Scene) -> None:
    abandoned = await begin_answer(running)
    kept = await begin(running, request_id="r2", names="c1")
    await kept.peer.send(head(PLAIN, "Content-Length: 2"), b"hi")
    assert (await kept.client.answer()).body == b"hi"
    await eventually(lambda: [turn["state"] for turn in running.turns()] == ["open", "completed"])
    abandoned.client.close()
    await eventually(lambda: [turn["state"] for turn in running.turns()] == ["cancelled", "completed"])
    assert running.admin.lines == [CANCEL]


async def test_another_turn_that_is_under_way_is_waited_for(running: Scene) -> None:
    abandoned = await begin_answer(running)
    other = await begin(running, request_id="r2", names="c1")
    abandoned.client.close()
    await eventually(lambda: running.admin.lines == [CANCEL])
    await other.peer.send(head(PLAIN, "Content-Length: 2"), b"hi")
    assert (await other.client.answer()).body == b"hi"
    await eventually(lambda: [turn["state"] for turn in running.turns()] == ["cancelled", "completed"])
    assert running.admin.lines == [CANCEL]


async def test_a_client_that_takes_nothing_for_too_long(tmp_path: Path) -> None:
    async with scene(tmp_path, listen={"write_timeout_s": 0.1}) as running:
        talk = await begin(running, small_buffer=True)
        await talk.peer.send(head(PLAIN, CHUNKED, "X-Conversation-Id: c1") + b"FFFFFFF\r\n")
        while not running.exchange_lines():
            talk.peer.send_now(b"x" * 262_144)
            await loop_turns()
        await undone(talk, "stalled", CANCEL, ROLLBACK)


async def test_nothing_more_is_relayed_behind_a_cancel(running: Scene) -> None:
    talk = await begin_answer(running)
    talk.client.fin()
    talk.peer.send_now(chunk(b"too late"))
    assert await talk.client.gone() == b""
    await undone(talk, "closed", CANCEL, ROLLBACK)


async def test_an_upload_that_is_cut_is_cancelled(tmp_path: Path) -> None:
    async with scene(tmp_path, chat={"inspect_bytes_max": 0}) as running:
        client = await running.client()
        await client.send(request_bytes("POST", CHAT, "X-Request-Id: r1", "Content-Length: 100"), b"half")
        peer = await running.upstream.take()
        await peer.head()
        assert await peer.exactly(4) == b"half"
        client.close()
        await undone(Talk(running, client, peer, Message(b"", [])), "upload_cut", CANCEL)
