"""Each way in which a client or an upstream ends a turn, against a running `sidecar run`: its cause, its calls.

The client that gives no sign is in test_vanished, the sidecar's own causes are in test_own_causes, the operator's in
test_operator_cancel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.acceptance.stage import CANCEL, PLAIN, ROLLBACK, head, stage
from tests.fakes.downstream import ALICE, CHAT, request_bytes
from tests.fakes.downstream import CANCEL as CANCEL_PATH
from tests.fakes.waiting import AT_ONCE_S, eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.acceptance.stage import Chat, Stage
    from tests.fakes.downstream import Downstream


def fin(client: Downstream) -> None:
    client.fin()


def close(client: Downstream) -> None:
    client.close()


def reset(client: Downstream) -> None:
    client.reset()


LEAVING = pytest.mark.parametrize(
    ("leave", "cause"), [(fin, "closed"), (close, "closed"), (reset, "reset")], ids=["half-close", "close", "reset"]
)
NAMED = {"begins": "always", "capture": {"conversation_id": ["request.header:X-Conversation"]}}
"""The client names the conversations that it begins, so that a rollback needs no answer to learn the id from."""
NAMES_C1 = "X-Conversation: c1"


@LEAVING
async def test_a_client_that_leaves_mid_stream(tmp_path: Path, leave: Callable[[Downstream], None], cause: str) -> None:
    async with stage(tmp_path) as running:
        chat = await running.answering()
        leave(chat.client)
        await chat.peer.gone(AT_ONCE_S)
        await running.judge(CANCEL, ROLLBACK, state="cancelled", cause=cause)


@pytest.mark.parametrize(("leave", "cause"), [(close, "closed"), (reset, "reset")])
async def test_a_client_that_leaves_while_the_upstream_is_silent(
    tmp_path: Path, leave: Callable[[Downstream], None], cause: str
) -> None:
    async with stage(tmp_path, chat=NAMED) as running:
        chat = await running.ask(NAMES_C1)
        leave(chat.client)
        await chat.peer.gone(AT_ONCE_S)
        await running.judge(CANCEL, ROLLBACK, state="cancelled", cause=cause)


@pytest.mark.parametrize("leave", [close, reset])
async def test_an_upload_that_is_cut_before_it_could_be_inspected(
    tmp_path: Path, leave: Callable[[Downstream], None]
) -> None:
    async with stage(tmp_path) as running:
        client = await running.client()
        whole = upload(10_000, "Expect: 100-continue")
        await client.send(whole[:-10_000])
        assert (await client.head()).status == 100
        await client.send(whole[-10_000:-6000])
        leave(client)
        line = await running.exchange_line()
        await running.end()
        assert (line["status"], line["cause"], line["turn"]) == (499, "upload_cut", None)
        assert running.upstream.nobody_came()
        assert (running.turns(), running.admin.lines) == ([], [])


@pytest.mark.parametrize("leave", [close, reset])
async def test_an_upload_too_large_to_be_inspected_that_is_cut(
    tmp_path: Path, leave: Callable[[Downstream], None]
) -> None:
    async with stage(tmp_path, chat={**NAMED, "inspect_bytes_max": 1000}) as running:
        client = await running.client()
        await client.send(upload(100_000)[:-60_000])
        peer = await running.upstream.take()
        await peer.head()
        await peer.exactly(40_000)
        leave(client)
        await peer.gone(AT_ONCE_S)
        await running.judge(CANCEL, ROLLBACK, state="cancelled", cause="upload_cut")


async def test_a_client_that_asks_for_a_cancel(tmp_path: Path) -> None:
    async with stage(tmp_path) as running:
        chat = await running.answering()
        other = await running.client()
        await other.send(cancel(b'{"requestId": "r1"}'))
        assert (await other.answer()).body == b'{"status": "cancelled"}'
        assert await chat.client.gone() == b""
        await chat.peer.gone(AT_ONCE_S)
        await running.judge(CANCEL, ROLLBACK, state="cancelled", cause="requested")


def cut(chat: Chat) -> None:
    chat.peer.close()


def break_off(chat: Chat) -> None:
    chat.peer.reset()


@pytest.mark.parametrize("fail", [cut, break_off])
async def test_an_upstream_that_dies_mid_answer(tmp_path: Path, fail: Callable[[Chat], None]) -> None:
    async with stage(tmp_path) as running:
        chat = await running.answering()
        fail(chat)
        with pytest.raises(ConnectionError):
            await chat.client.chunk()
        await running.judge(CANCEL, ROLLBACK, state="cancelled", cause="upstream_failed", status=200)


async def test_an_upstream_that_is_silent_for_too_long_before_its_answer(tmp_path: Path) -> None:
    async with stage(tmp_path, chat=NAMED, upstream={"response_timeout_s": 0.3}) as running:
        chat = await running.ask(NAMES_C1)
        assert (await chat.client.answer()).status == 504
        await running.judge(CANCEL, ROLLBACK, state="cancelled", cause="upstream_failed", status=504)


async def test_an_upstream_that_is_silent_for_too_long_mid_answer(tmp_path: Path) -> None:
    async with stage(tmp_path, upstream={"idle_timeout_s": 0.3}) as running:
        chat = await running.answering()
        with pytest.raises(ConnectionError):
            await chat.client.chunk()
        await running.judge(CANCEL, ROLLBACK, state="cancelled", cause="upstream_failed", status=200)


async def test_an_upstream_that_refuses_the_connection_is_owed_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path, chat=NAMED) as running:
        running.upstream.refuse()
        client = await running.client()
        await client.chat("X-Request-Id: r1", NAMES_C1)
        assert (await client.answer()).status == 502
        await running.judge(state="cancelled", cause="upstream_failed", status=502)


async def test_an_upstream_that_answers_with_an_error_has_taken_up_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path, chat=NAMED) as running:
        chat = await running.ask(NAMES_C1)
        await chat.peer.send(head(PLAIN, "Content-Length: 4", status="429 Slow down") + b"wait")
        assert (await chat.client.answer()).status == 429
        await running.judge(state="refused", cause=None, status=429)


async def test_a_client_that_stays_to_the_end(tmp_path: Path) -> None:
    async with stage(tmp_path) as running:
        chat = await running.answering()
        await chat.end()
        await running.judge(state="completed", cause=None, status=200)


async def test_many_leave_at_once_each_in_its_own_way(tmp_path: Path) -> None:
    async with stage(tmp_path) as running:
        for number in range(20):
            await running.answering(request_id=f"r{number}", conversation_id=f"c{number}")
        for number, client in enumerate(running.clients):
            (close, reset)[number % 2](client)
        await eventually(lambda: {turn["state"] for turn in running.turns()} == {"cancelled"})
        await running.end()
        assert [turn["cause"] for turn in running.turns()] == ["closed", "reset"] * 10
        assert sorted(running.admin.lines) == sorted(calls_for(running))


def calls_for(running: Stage) -> list[str]:
    """Name the calls that every turn in the journal comes to."""
    return [
        call
        for turn in running.turns()
        for call in (
            f"POST /admin/requests/{turn['request_id']}/cancel",
            f"DELETE /admin/conversations/{turn['conversation_id']}",
        )
    ]


def upload(size: int, *lines: str) -> bytes:
    """Give a chat request whose body is of that size."""
    return request_bytes("POST", CHAT, "X-Request-Id: r1", NAMES_C1, *lines, body=b" " * size)


def cancel(body: bytes) -> bytes:
    """Give a request to cancel."""
    return request_bytes("POST", CANCEL_PATH, f"Authorization: {ALICE}", body=body)
