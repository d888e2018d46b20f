"""An id learned late still counts (law 4), and not a byte more than that is read; against a running `sidecar run`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.acceptance.stage import CANCEL, CHUNKED, END, PLAIN, ROLLBACK, chunk, head, stage
from tests.fakes.waiting import AT_ONCE_S, eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.stage import Chat, Stage

TELLS = chunk(b'{"temp_conversation_id": "c1"}\n')
ROLLBACK_TURN = {
    "rollback_turn": {"method": "DELETE", "path": "/admin/conversations/{conversation_id}/messages/{message_id}"}
}
CAPTURES_MESSAGE: dict[str, Any] = {"capture": {"message_id": ["stream.json:/messageId"]}}


async def abandon(running: Stage) -> Chat:
    """Have a client ask for a new conversation, whose id it has not been told when it leaves."""
    chat = await running.ask()
    await chat.answer(PLAIN)
    await chat.say(b"Once upon ")
    chat.client.close()
    await eventually(lambda: running.admin.lines == [CANCEL])
    assert chat.peer.nothing_came(), "the upstream is still listened to"
    return chat


def unseen(running: Stage) -> list[tuple[str, int]]:
    """Give cause and bytes of the answers that ran on unseen."""
    return [(line["cause"], line["bytes"]) for line in running.process.log("unseen")]


async def test_the_id_is_waited_for_and_then_nothing_more(tmp_path: Path) -> None:
    async with stage(tmp_path) as running:
        chat = await abandon(running)
        await chat.peer.send(chunk(b"a time "))
        await chat.peer.send(chunk(b"\n") + TELLS)
        await chat.peer.gone(AT_ONCE_S)
        await running.judge(CANCEL, ROLLBACK, state="cancelled", cause="closed")
        assert unseen(running) == [("closed", len(chunk(b"a time ") + chunk(b"\n") + TELLS))]


async def test_the_id_may_come_with_the_head(tmp_path: Path) -> None:
    async with stage(tmp_path) as running:
        chat = await running.ask()
        chat.client.close()
        await eventually(lambda: running.admin.lines == [CANCEL])
        await chat.peer.send(head(CHUNKED, PLAIN, "X-Conversation-Id: c1"))
        await chat.peer.gone(AT_ONCE_S)
        await running.judge(CANCEL, ROLLBACK, state="cancelled", cause="closed")
        assert unseen(running) == [("closed", 0)]


async def test_nothing_is_waited_for_that_is_known(tmp_path: Path) -> None:
    async with stage(tmp_path) as running:
        chat = await running.answering()
        chat.client.close()
        await chat.peer.gone(AT_ONCE_S)
        await running.judge(CANCEL, ROLLBACK, state="cancelled", cause="closed")
        assert unseen(running) == []


async def test_it_ends_with_its_time(tmp_path: Path) -> None:
    async with stage(tmp_path, upstream={"drain": {"timeout_s": 0.3}}) as running:
        chat = await abandon(running)
        await chat.peer.gone()
        await running.judge(CANCEL, state="unresolved", cause="closed")
        assert unseen(running) == [("closed", 0)]


async def test_it_ends_with_its_bytes(tmp_path: Path) -> None:
    async with stage(tmp_path, upstream={"drain": {"bytes_max": 3000}}) as running:
        chat = await abandon(running)
        await chat.peer.send(chunk(b"x" * 2000))
        await chat.peer.send(chunk(b"x" * 2000))
        await chat.peer.gone(AT_ONCE_S)
        await running.judge(CANCEL, state="unresolved", cause="closed")
        assert unseen(running) == [("closed", 2 * len(chunk(b"x" * 2000)))]


async def test_it_ends_with_the_answer(tmp_path: Path) -> None:
    async with stage(tmp_path) as running:
        chat = await abandon(running)
        await chat.peer.send(chunk(b"a time"), END)
        await running.judge(CANCEL, state="unresolved", cause="closed")


async def test_the_messages_of_a_turn_in_an_existing_conversation_are_rolled_back(tmp_path: Path) -> None:
    async with stage(tmp_path, chat=CAPTURES_MESSAGE, admin=ROLLBACK_TURN) as running:
        chat = await in_conversation(running)
        await chat.say(b'{"messageId": "m7"}\n')
        await chat.say(b"Once upon ")
        chat.client.close()
        await chat.peer.gone(AT_ONCE_S)
        await running.judge(CANCEL, f"{ROLLBACK}/messages/m7", state="cancelled", cause="closed")


async def test_the_id_of_a_message_is_waited_for_too(tmp_path: Path) -> None:
    async with stage(tmp_path, chat=CAPTURES_MESSAGE, admin=ROLLBACK_TURN) as running:
        chat = await in_conversation(running)
        chat.client.close()
        await eventually(lambda: running.admin.lines == [CANCEL])
        await chat.peer.send(chunk(b'{"messageId": "m7"}\n'))
        await chat.peer.gone(AT_ONCE_S)
        await running.judge(CANCEL, f"{ROLLBACK}/messages/m7", state="cancelled", cause="closed")


async def test_without_such_a_call_the_turn_is_only_cancelled(tmp_path: Path) -> None:
    async with stage(tmp_path) as running:
        chat = await in_conversation(running)
        chat.client.close()
        await chat.peer.gone(AT_ONCE_S)
        await running.judge(CANCEL, state="cancelled", cause="closed")


async def in_conversation(running: Stage) -> Chat:
    """Have a client ask within the conversation c1, and an answer begin."""
    client = await running.client()
    await client.chat("X-Request-Id: r1", body=b'{"conversationId": "c1", "messages": [], "stream": true}')
    chat = await running.taken(client)
    await chat.answer(PLAIN)
    return chat
