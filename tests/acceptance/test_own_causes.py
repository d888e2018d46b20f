"""The sidecar's own reasons to end a turn, against a running `sidecar run`: it was killed, it stops, a turn is old."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import TYPE_CHECKING

from tests.acceptance.stage import CANCEL, END, ROLLBACK, stage
from tests.fakes.engine import locked
from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path


async def test_killed_mid_answer(tmp_path: Path) -> None:
    async with stage(tmp_path) as running:
        chat = await running.answering()
        await eventually(lambda: [turn["conversation_id"] for turn in running.turns()] == ["c1"])
        await running.process.kill()
        await chat.client.gone()
        await running.process.start()
        turn = await running.turn_in("cancelled")
        await running.end()
        assert turn["cause"] == "restarted"
        assert running.admin.lines == [CANCEL, ROLLBACK]
        assert [line["turns"] for line in running.process.log("recovered")] == [1]


async def test_killed_before_the_upstream_told_an_id(tmp_path: Path) -> None:
    async with stage(tmp_path) as running:
        await running.ask()
        await running.process.kill()
        await running.process.start()
        turn = await running.turn_in("unresolved")
        await running.end()
        assert turn["cause"] == "restarted"
        assert running.admin.lines == [CANCEL], "without an id there is nothing to roll back, and that is said"


async def test_killed_between_the_cancel_call_and_its_commit(tmp_path: Path) -> None:
    async with stage(tmp_path) as running:
        chat = await running.answering()
        await eventually(lambda: [turn["conversation_id"] for turn in running.turns()] == ["c1"])
        with locked(str(running.process.journal)):
            chat.client.reset()
            await eventually(lambda: running.admin.lines)
            await running.process.kill()
            assert [turn["state"] for turn in running.turns()] == ["open"]
            assert not running.steps()
        await running.process.start()
        await running.turn_in("cancelled")
        await running.end()
        assert running.admin.lines == [CANCEL, CANCEL, ROLLBACK]
        keys = [call.headers["Idempotency-Key"] for call in running.admin.calls]
        assert keys[0] == keys[1]


async def test_killed_with_the_end_shown_it_is_confirmed(tmp_path: Path) -> None:
    async with stage(tmp_path) as running:
        chat = await running.answering()
        await chat.end()
        await running.process.kill()
        await running.process.start()
        turn = await running.turn_in("completed")
        await running.end()
        assert (turn["cause"], running.admin.lines) == (None, [])


async def test_too_old(tmp_path: Path) -> None:
    async with stage(tmp_path, journal={"temp_ttl_s": 0.5}) as running:
        chat = await running.answering()
        assert await chat.client.gone() == b""
        await chat.peer.gone()
        await running.judge(CANCEL, ROLLBACK, state="cancelled", cause="expired")
        assert [line["expired"] for line in running.process.log("swept")] == [1]


async def test_stopped_it_lets_streams_end_and_cancels_the_rest(tmp_path: Path) -> None:
    async with stage(tmp_path, listen={"shutdown_grace_s": 1}) as running:
        ends = await running.answering()
        lasts = await running.answering(request_id="r2", conversation_id="c2")
        stopping = asyncio.ensure_future(running.process.terminate())
        await eventually(lambda: running.process.log("stopping"))
        with socket.socket() as late:
            assert late.connect_ex(("127.0.0.1", running.process.port)) == errno.ECONNREFUSED
        await ends.say(b"a time ")
        await ends.end()
        assert await lasts.client.gone() == b""

        assert await stopping == 0
        running.no_complaints()
        states = {turn["request_id"]: (turn["state"], turn["cause"]) for turn in running.turns()}
        assert states == {"r1": ("completed", None), "r2": ("cancelled", "shutdown")}
        assert running.admin.lines == ["POST /admin/requests/r2/cancel", "DELETE /admin/conversations/c2"]
        lines = [await running.exchange_line(request_id) for request_id in ("r1", "r2")]
        assert [(line["status"], line["cause"]) for line in lines] == [(200, None), (499, "shutdown")]


async def test_stopped_with_the_end_on_its_way(tmp_path: Path) -> None:
    async with stage(tmp_path, listen={"shutdown_grace_s": 5}) as running:
        chat = await running.answering()
        await chat.peer.send(END)
        assert await running.process.terminate() == 0
        assert (await chat.client.chunk())[0] == END
        assert [(turn["state"], turn["cause"]) for turn in running.turns()] == [("completed", None)]


async def test_stopped_while_the_admin_api_is_down_it_owes_on(tmp_path: Path) -> None:
    async with stage(tmp_path) as running:
        running.admin.answers = {CANCEL: 503}
        await running.answering()
        assert await running.process.terminate() == 0
        assert [turn["state"] for turn in running.turns()] == ["cancelling"]
        running.admin.answers = {}
        await running.process.start()
        turn = await running.turn_in("cancelled")
        await running.end()
        assert turn["cause"] == "shutdown"
        assert running.admin.lines[-2:] == [CANCEL, ROLLBACK]
        assert set(running.admin.lines[:-1]) == {CANCEL}
