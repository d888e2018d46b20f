"""A client that leaves without a word, or stays and takes nothing: what the kernel alone can tell a `sidecar run`.

Vanished: nothing of what is sent is acknowledged, by anyone. Stalled: the client's kernel is there, but has no room.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.stage import CANCEL, PLAIN, ROLLBACK, chunk, stage
from tests.fakes.deaf import go_deaf
from tests.fakes.downstream import ALICE, request_bytes
from tests.fakes.downstream import CANCEL as CANCEL_PATH
from tests.fakes.holding_proxy import HoldingProxy, Way
from tests.fakes.netns import namespace

if TYPE_CHECKING:
    from pathlib import Path

    from tests.acceptance.stage import Chat, Stage
    from tests.fakes.sockets import RawSocket

IMPATIENT = {"write_timeout_s": 0.7, "shutdown_grace_s": 0.2}
NOTICED_S = 10.0
"""The kernel counts a keepalive in whole seconds, and probes three times."""


async def keep_saying(peer: RawSocket, text: bytes, *, pause_s: float) -> None:
    """Have the upstream say something again and again, until its connection closes."""
    with suppress(ConnectionError):
        while peer.nothing_came():
            peer.send_now(chunk(text))
            await asyncio.sleep(pause_s)


async def test_a_client_that_vanishes_mid_stream(tmp_path: Path) -> None:
    async with stage(tmp_path, listen=IMPATIENT) as running:
        chat = await running.answering()
        go_deaf(chat.client.sock)
        await keep_saying(chat.peer, b"on and on ", pause_s=0.05)
        await running.judge(CANCEL, ROLLBACK, state="cancelled", cause="vanished")


async def test_a_client_that_vanishes_while_the_upstream_is_silent(tmp_path: Path) -> None:
    async with stage(tmp_path, listen=IMPATIENT) as running:
        chat = await running.answering()
        go_deaf(chat.client.sock)
        await chat.peer.gone(NOTICED_S)
        await running.judge(CANCEL, ROLLBACK, state="cancelled", cause="vanished")


async def test_a_client_whose_link_goes_down(tmp_path: Path) -> None:
    with namespace() as net:
        async with stage(tmp_path, listen=IMPATIENT, host=net.host) as running:
            chat = await running.answering(client=await net.connect(running.process.port))
            net.cut()
            await keep_saying(chat.peer, b"on and on ", pause_s=0.05)
            await running.judge(CANCEL, ROLLBACK, state="cancelled", cause="vanished")


async def test_a_client_that_vanishes_with_the_end_on_its_way(tmp_path: Path) -> None:
    async with stage(tmp_path, listen=IMPATIENT) as running:
        chat = await running.answering()
        go_deaf(chat.client.sock)
        await chat.peer.send(b"0\r\n\r\n")
        await running.judge(ROLLBACK, state="cancelled", cause="vanished", status=200, logged=None, timeout_s=NOTICED_S)


@pytest.mark.parametrize(("text", "pause_s"), [(b"x" * 50_000, 0.001), (b"x" * 200, 0.02)], ids=["flood", "trickle"])
async def test_a_client_that_stops_reading(tmp_path: Path, text: bytes, pause_s: float) -> None:
    async with stage(tmp_path, listen=IMPATIENT) as running:
        chat = await running.answering(client=await running.client(small_buffer=True))
        await keep_saying(chat.peer, text, pause_s=pause_s)
        await running.judge(CANCEL, ROLLBACK, state="cancelled", cause="stalled")


async def test_a_client_that_does_not_take_the_end(tmp_path: Path) -> None:
    async with stage(tmp_path, listen=IMPATIENT) as running:
        chat = await running.answering(client=await running.client(small_buffer=True))
        await chat.peer.send(chunk(b"x" * 20_000), b"0\r\n\r\n")
        await running.judge(ROLLBACK, state="cancelled", cause="stalled", status=200, logged=None, timeout_s=NOTICED_S)


async def test_a_client_behind_a_proxy_that_holds_the_answer(tmp_path: Path) -> None:
    async with stage(tmp_path, listen=IMPATIENT) as running, HoldingProxy.before(running.process.port) as proxy:
        chat = await begin_behind(proxy, running)
        proxy.hold(Way.DOWN)
        await keep_saying(chat.peer, b"x" * 5000, pause_s=0.01)
        await running.judge(CANCEL, ROLLBACK, state="cancelled", cause="stalled")


async def test_a_client_that_is_slow_is_none_that_left(tmp_path: Path) -> None:
    async with stage(tmp_path, listen=IMPATIENT) as running, HoldingProxy.before(running.process.port) as proxy:
        chat = await begin_behind(proxy, running)
        for _ in range(4):
            proxy.hold(Way.DOWN)
            await chat.peer.send(chunk(b"y" * 30_000))
            await asyncio.sleep(IMPATIENT["write_timeout_s"] * 0.6)
            proxy.release(Way.DOWN)
            assert (await chat.client.chunk())[1] == b"y" * 30_000
        await chat.end()
        await running.judge(state="completed", cause=None, status=200)


async def test_a_close_that_a_balancer_swallows_can_only_be_told(tmp_path: Path) -> None:
    """Nobody can see such a client leave: that is what the cancel endpoint is for."""
    async with (
        stage(tmp_path, listen=IMPATIENT) as running,
        HoldingProxy.before(running.process.port, passes_ends=False) as proxy,
    ):
        chat = await begin_behind(proxy, running)
        chat.client.close()
        await chat.peer.send(chunk(b"still talking"))
        other = await running.client()
        await other.send(request_bytes("POST", CANCEL_PATH, f"Authorization: {ALICE}", body=b'{"requestId": "r1"}'))
        assert (await other.answer()).status == 200
        await chat.peer.gone()
        await running.judge(CANCEL, ROLLBACK, state="cancelled", cause="requested")


async def begin_behind(proxy: HoldingProxy, running: Stage) -> Chat:
    """Have an answer begin for a client behind the proxy."""
    chat = await running.ask(client=await running.client(url=proxy.url))
    await chat.answer(PLAIN, "X-Conversation-Id: c1")
    return chat
