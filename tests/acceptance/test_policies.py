"""What a leaving means is configured (`[chat.on]`): to cancel, to keep, to let the answer end, and after how long."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sidecar.demo.backend import BackendKnobs, LegacyBackend
from tests.acceptance.process import SidecarProcess
from tests.acceptance.stage import CANCEL, END, ROLLBACK, chunk, stage
from tests.fakes.downstream import ALICE, Downstream, request_bytes
from tests.fakes.downstream import CANCEL as CANCEL_PATH
from tests.fakes.waiting import AT_ONCE_S, eventually

if TYPE_CHECKING:
    from pathlib import Path

COMPLETE: dict[str, Any] = {"on": {"closed": "complete"}}
CONFIRM = {"confirm": {"method": "POST", "path": "/admin/conversations/{conversation_id}/confirm"}}


def patient(grace_s: float, policy: str = "cancel") -> dict[str, Any]:
    return {"on": {"closed": {"policy": policy, "grace_s": grace_s}}}


async def test_complete_the_answer_ends_unseen_and_is_kept(tmp_path: Path) -> None:
    async with LegacyBackend.serve(BackendKnobs(words=20, word_s=0.03), path=tmp_path / "backend.db") as backend:
        process = SidecarProcess(tmp_path, backend.url, tables={"chat": [COMPLETE]})
        await process.start()
        try:
            client = await Downstream.connect(process.url)
            await client.chat("X-Request-Id: r1")
            assert (await client.head()).status == 200
            await client.chunk()
            client.close()
            assert await process.until_settled(10) == {"r1": "completed"}
            assert await process.terminate() == 0
        finally:
            await process.close()
        assert [(kept.words, kept.status) for kept in backend.kept()] == [(20, "active")]
        assert backend.calls == []


async def test_complete_is_confirmed_and_its_waste_is_counted(tmp_path: Path) -> None:
    async with stage(tmp_path, chat=COMPLETE, admin=CONFIRM) as running:
        chat = await running.answering()
        chat.client.close()
        await running.exchange_line()
        rest = [chunk(b"a time there was"), END]
        await chat.peer.send(*rest)
        await running.judge("POST /admin/conversations/c1/confirm", state="completed", cause=None, logged="closed")
        unseen = running.process.log("unseen")
        assert [(line["cause"], line["route"]) for line in unseen] == [("closed", "/api/ai-coach/chat")]
        assert unseen[0]["bytes"] == sum(map(len, rest))


async def test_complete_is_of_that_cause_alone(tmp_path: Path) -> None:
    async with stage(tmp_path, chat=COMPLETE) as running:
        chat = await running.answering()
        chat.client.reset()
        await chat.peer.gone(AT_ONCE_S)
        await running.judge(CANCEL, ROLLBACK, state="cancelled", cause="reset")


async def test_complete_an_upstream_that_dies_unseen_is_cancelled(tmp_path: Path) -> None:
    async with stage(tmp_path, chat=COMPLETE) as running:
        chat = await running.answering()
        chat.client.close()
        await running.exchange_line()
        chat.peer.reset()
        await running.judge(CANCEL, ROLLBACK, state="cancelled", cause="upstream_failed", logged="closed")


async def test_complete_a_cancel_ends_the_unseen_answer(tmp_path: Path) -> None:
    async with stage(tmp_path, chat=COMPLETE) as running:
        chat = await running.answering()
        chat.client.close()
        await running.exchange_line()
        assert chat.peer.nothing_came()
        other = await running.client()
        await other.send(request_bytes("POST", CANCEL_PATH, f"Authorization: {ALICE}", body=b'{"requestId": "r1"}'))
        assert (await other.answer()).body == b'{"status": "cancelled"}'
        await chat.peer.gone(AT_ONCE_S)
        await running.judge(CANCEL, ROLLBACK, state="cancelled", cause="requested", logged="closed")


async def test_complete_killed_meanwhile_it_is_cancelled(tmp_path: Path) -> None:
    async with stage(tmp_path, chat=COMPLETE) as running:
        chat = await running.answering()
        await eventually(lambda: running.turns()[0]["conversation_id"] == "c1")
        chat.client.close()
        await running.exchange_line()
        await running.process.kill()
        await running.process.start()
        turn = await running.turn_in("cancelled")
        await running.end()
        assert turn["cause"] == "restarted"
        assert running.admin.lines == [CANCEL, ROLLBACK]


async def test_keep_is_stopped_and_not_rolled_back(tmp_path: Path) -> None:
    async with stage(tmp_path, chat={"on": {"closed": "keep"}}) as running:
        chat = await running.answering()
        chat.client.close()
        await chat.peer.gone(AT_ONCE_S)
        await running.judge(CANCEL, state="cancelled", cause="closed")


async def test_a_grace_time_is_waited_then_acted_on(tmp_path: Path) -> None:
    async with stage(tmp_path, chat=patient(0.6)) as running:
        chat = await running.answering()
        loop = asyncio.get_running_loop()
        left_at = loop.time()
        chat.client.close()
        await running.exchange_line()
        assert chat.peer.nothing_came()
        await chat.peer.gone()
        assert loop.time() - left_at >= 0.5
        await running.judge(CANCEL, ROLLBACK, state="cancelled", cause="closed")


async def test_an_answer_that_ends_within_the_grace_time_is_kept(tmp_path: Path) -> None:
    async with stage(tmp_path, chat=patient(30)) as running:
        chat = await running.answering()
        chat.client.close()
        await running.exchange_line()
        await chat.peer.send(chunk(b"a time"), END)
        await running.judge(state="completed", cause=None, logged="closed")


async def test_a_grace_time_before_keeping(tmp_path: Path) -> None:
    async with stage(tmp_path, chat=patient(0.3, "keep")) as running:
        chat = await running.answering()
        chat.client.close()
        await chat.peer.gone()
        await running.judge(CANCEL, state="cancelled", cause="closed")


async def test_stopped_while_an_answer_runs_on_unseen(tmp_path: Path) -> None:
    async with stage(tmp_path, chat=COMPLETE) as running:
        chat = await running.answering()
        chat.client.close()
        await running.exchange_line()
        assert await running.process.terminate() == 0
        running.no_complaints()
        assert [(turn["state"], turn["cause"]) for turn in running.turns()] == [("cancelled", "shutdown")]
        assert running.admin.lines == [CANCEL, ROLLBACK]
