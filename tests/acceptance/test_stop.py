"""SIGTERM lets streams end within their grace time; a second one ends at once, and still nothing is forgotten."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.stage import END, PLAIN, chunk, stage
from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

LONG_S = 600
UNREAD = b"x" * 50_000
"""More than a small receive buffer takes, less than would hold the upstream back."""
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def test_a_stream_that_ends_within_the_grace_time_is_delivered(tmp_path: Path) -> None:
    async with stage(tmp_path, listen={"shutdown_grace_s": LONG_S}) as running:
        chat = await running.answering()
        running.process.signal(signal.SIGTERM)
        await eventually(lambda: running.process.log("stopping"))
        await chat.say(b"a time.")
        await chat.end()
        assert await running.process.wait() == 0
        assert [turn["state"] for turn in running.turns()] == ["completed"]
        assert running.admin.lines == []
        running.no_complaints()


async def test_one_that_outlives_it_is_cancelled_and_what_is_owed_is_done(tmp_path: Path) -> None:
    async with stage(tmp_path, listen={"shutdown_grace_s": 0.1}) as running:
        chat = await running.answering()
        assert await running.process.terminate() == 0
        await chat.client.gone()
        assert [(turn["state"], turn["cause"]) for turn in running.turns()] == [("cancelled", "shutdown")]
        assert len(running.admin.lines) == 2


@pytest.mark.timeout(180)  # many processes are started, one after the other
@pytest.mark.parametrize("workers", [1, 2])
async def test_a_second_one_ends_at_once_and_the_next_start_does_what_is_owed(tmp_path: Path, workers: int) -> None:
    """Neither the grace time, nor an id that may still come, nor a slow admin API is waited for."""
    listen = {"workers": workers, "shutdown_grace_s": LONG_S}
    async with stage(tmp_path, listen=listen, admin={"timeout_s": LONG_S}) as running:
        chat = await running.answering()
        early = await running.ask(request_id="r2")
        running.process.signal(signal.SIGTERM)
        await eventually(lambda: running.process.log("stopping"))
        await chat.say(b"there was ")
        running.process.signal(signal.SIGTERM)
        assert await running.process.wait() == 0
        assert running.process.log("stopping_at_once")
        await chat.client.gone()
        await early.client.gone()
        turns = running.turns()
        assert {turn["cause"] for turn in turns} == {"shutdown"}
        running.no_complaints()

        await running.process.start()
        await running.turn_in("cancelled")
        assert "DELETE /admin/conversations/c1" in running.admin.lines


async def test_a_connection_that_was_just_made_is_served_and_an_idle_one_is_closed(tmp_path: Path) -> None:
    """Its request may be on its way; one that is kept open between requests has nothing to lose."""
    async with stage(tmp_path, listen={"shutdown_grace_s": LONG_S}) as running:
        busy, idle, fresh = await running.ask(), await running.client(), await running.client()
        await idle.get("/first")
        peer, _ = await running.upstream.request()
        await peer.send(OK)
        assert (await idle.answer()).body == b"ok"
        running.process.signal(signal.SIGTERM)
        await idle.gone()
        await fresh.get("/late")
        await peer.request()
        await peer.send(OK)
        answer = await fresh.answer()
        assert (answer.body, answer.get("Connection")) == (b"ok", b"close")
        await fresh.gone()
        await busy.answer(PLAIN)
        await busy.end()
        assert await running.process.wait() == 0


@pytest.mark.parametrize("stops", ["before the end", "behind the end"])
async def test_an_answer_that_is_still_on_its_way_to_its_client_is_delivered(tmp_path: Path, stops: str) -> None:
    """What is handed over and not acknowledged yet is waited for, and not taken away from who then reads it."""
    async with stage(tmp_path, listen={"shutdown_grace_s": LONG_S}) as running:
        chat = await running.ask(client=await running.client(small_buffer=True))
        await chat.answer(PLAIN, "X-Conversation-Id: c1")
        if stops == "behind the end":
            await chat.peer.send(chunk(UNREAD), END)
            await running.exchange_line()
        running.process.signal(signal.SIGTERM)
        await eventually(lambda: running.process.log("stopping"))
        if stops == "before the end":
            await chat.peer.send(chunk(UNREAD), END)
            await running.turn_in("answered")
        assert await chat.client.rest() == chunk(UNREAD) + END
        assert await running.process.wait() == 0
        assert [turn["state"] for turn in running.turns()] == ["completed"]
        assert running.admin.lines == []
        running.no_complaints()


async def test_a_hang_up_while_it_stops_changes_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path, listen={"shutdown_grace_s": LONG_S}) as running:
        chat = await running.ask()
        running.process.signal(signal.SIGTERM)
        await eventually(lambda: running.process.log("stopping"))
        running.process.signal(signal.SIGHUP)
        await chat.answer(PLAIN)
        await chat.end()
        assert await running.process.wait() == 0
        assert not running.process.log("reloaded")
