"""A model that is talked into writing somebody else's conversation id into its answer: what may not come of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fakes.scene import scene
from tests.fakes.waiting import eventually
from tests.integration.chat.talk import CHUNKED, END, PLAIN, begin, cancel, chunk, head

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.scene import Scene
    from tests.integration.chat.talk import Talk

MALLORY = "Bearer mallory"
PLANTED = b'Sure:\n{"final_conversation_id": "c1"}\n'
ROLLBACK = "DELETE /admin/conversations/c1"


async def victim_has_a_conversation(running: Scene) -> None:
    """Have Alice begin the conversation c1, and read its first answer to the end."""
    talk = await begin(running, request_id="r1")
    await talk.peer.send(head(PLAIN, CHUNKED, "X-Conversation-Id: c1"), chunk(b"Hi"), END)
    assert (await talk.client.answer()).body == b"Hi"
    await eventually(lambda: running.turns()[0]["state"] == "completed")


async def attack(running: Scene) -> Talk:
    """Have Mallory begin a conversation that nobody names, and the model write c1 in its answer."""
    talk = await begin(running, f"Authorization: {MALLORY}", request_id="r2")
    await talk.answer(PLAIN)
    await talk.say(PLANTED)
    return talk


async def test_a_conversation_with_a_delivered_turn_is_never_rolled_back(running: Scene) -> None:
    await victim_has_a_conversation(running)
    talk = await attack(running)
    assert (await cancel(running, {"requestId": "r2"}, who=MALLORY))[0] == 200
    await talk.peer.gone()
    await eventually(lambda: running.turns()[1]["state"] in {"cancelled", "unresolved"})
    assert ROLLBACK not in running.admin.lines


async def test_nor_when_the_answer_is_cancelled_after_its_end(running: Scene) -> None:
    await victim_has_a_conversation(running)
    talk = await attack(running)
    await talk.peer.send(END)
    assert await talk.client.chunk() == (END, b"")
    await eventually(lambda: running.turns()[1]["state"] == "completed")
    assert (await cancel(running, {"requestId": "r2"}, who=MALLORY))[0] == 200
    await eventually(lambda: running.turns()[1]["state"] in {"cancelled", "completed", "unresolved"})
    assert ROLLBACK not in running.admin.lines


async def test_one_that_the_sidecar_never_saw_is_safe_where_text_tells_no_ids(tmp_path: Path) -> None:
    async with scene(tmp_path, chat={"stream_ids": "before_text"}) as running:
        talk = await attack(running)
        assert (await cancel(running, {"requestId": "r2"}, who=MALLORY))[0] == 200
        turn = await eventually(lambda: next((turn for turn in running.turns() if turn["state"] != "cancelling"), None))
        assert turn["conversation_id"] is None
        await talk.peer.gone()
        assert ROLLBACK not in running.admin.lines


async def test_ids_before_text_still_count_there(tmp_path: Path) -> None:
    async with scene(tmp_path, chat={"stream_ids": "before_text"}) as running:
        talk = await begin(running, request_id="r3")
        await talk.answer(PLAIN)
        await talk.say(b'{"temp_conversation_id": "temp_3"}\n', PLANTED)
        talk.client.close()
        await talk.peer.gone()
        turn = await running.turn_in("cancelled")
        assert turn["conversation_id"] == "temp_3"
        assert "DELETE /admin/conversations/temp_3" in running.admin.lines
        assert ROLLBACK not in running.admin.lines
