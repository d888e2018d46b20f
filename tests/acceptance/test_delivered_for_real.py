"""Complete means delivered (law 5), asked of a real kernel by a running `sidecar run`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.acceptance.stage import CANCEL, END, PLAIN, ROLLBACK, chunk, stage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.fakes.downstream import Downstream

DONE = b"data: [DONE]\n\n"
UNREAD = b"x" * 50_000
"""More than a small receive buffer takes, less than would hold the upstream back."""


def fin(client: Downstream) -> None:
    client.fin()


def close(client: Downstream) -> None:
    client.close()


LEAVE = pytest.mark.parametrize("leave", [fin, close])


@LEAVE
async def test_a_client_that_closes_right_after_the_terminal_frame(
    tmp_path: Path, leave: Callable[[Downstream], None]
) -> None:
    async with stage(tmp_path, chat={"terminal": ["data: [DONE]"]}) as running:
        chat = await running.ask()
        await chat.answer("Content-Type: text/event-stream", "X-Conversation-Id: c1")
        await chat.say(b'data: {"delta": "hi"}\n\n', DONE)
        leave(chat.client)
        await chat.peer.gone()
        await running.judge(state="completed", cause=None, status=200)


@LEAVE
async def test_a_client_that_closes_right_after_the_end(tmp_path: Path, leave: Callable[[Downstream], None]) -> None:
    async with stage(tmp_path) as running:
        chat = await running.answering()
        await chat.end()
        leave(chat.client)
        await running.judge(state="completed", cause=None, status=200)


async def test_a_client_that_closes_right_before_the_terminal_frame(tmp_path: Path) -> None:
    async with stage(tmp_path, chat={"terminal": ["data: [DONE]"]}) as running:
        chat = await running.ask()
        await chat.answer("Content-Type: text/event-stream", "X-Conversation-Id: c1")
        await chat.say(b'data: {"delta": "hi"}\n\n')
        chat.client.close()
        await chat.peer.gone()
        await running.judge(CANCEL, ROLLBACK, state="cancelled", cause="closed")


async def test_a_client_that_closes_with_bytes_unacknowledged(tmp_path: Path) -> None:
    async with stage(tmp_path) as running:
        chat = await running.ask(client=await running.client(small_buffer=True))
        await chat.answer(PLAIN, "X-Conversation-Id: c1")
        await chat.peer.send(chunk(UNREAD), END)
        await running.exchange_line()  # all is handed over
        assert running.turns()[0]["state"] == "answered"
        chat.client.close()
        await running.judge(ROLLBACK, state="cancelled", cause="reset", status=200, logged=None)


async def test_sent_is_enough_where_the_route_says_so(tmp_path: Path) -> None:
    async with stage(tmp_path, chat={"confirm_on": "sent"}) as running:
        chat = await running.ask(client=await running.client(small_buffer=True))
        await chat.answer(PLAIN, "X-Conversation-Id: c1")
        await chat.peer.send(chunk(UNREAD), END)
        await running.turn_in("completed")
        chat.client.close()
        await running.judge(state="completed", cause=None, status=200)


async def test_sent_is_not_enough_before_the_end(tmp_path: Path) -> None:
    async with stage(tmp_path, chat={"confirm_on": "sent"}) as running:
        chat = await running.answering()
        chat.client.close()
        await running.judge(CANCEL, ROLLBACK, state="cancelled", cause="closed")
