"""Turns and their connections go when they are over, without the garbage collector, which stops everything."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

from tests.fakes.downstream import request_bytes
from tests.fakes.waiting import eventually, loop_turns
from tests.integration.chat.talk import END, begin, begin_answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.fakes.scene import Scene


async def relayed(running: Scene) -> None:
    client = await running.client()
    await client.send(request_bytes("POST", "/other", body=b"x"))
    peer, _ = await running.upstream.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    await client.answer()
    client.close()


async def completed(running: Scene) -> None:
    talk = await begin_answer(running)
    await talk.peer.send(END)
    await talk.client.chunk()
    await talk.settle("completed")
    talk.client.close()


async def cancelled_while_waiting(running: Scene) -> None:
    talk = await begin(running, names="c1")
    talk.client.close()
    await talk.settle("cancelled")


async def cancelled_amid_the_answer(running: Scene) -> None:
    talk = await begin_answer(running)
    talk.client.close()
    await talk.settle("cancelled")


async def broken_off(running: Scene) -> None:
    talk = await begin_answer(running)
    talk.peer.close()
    await talk.client.gone()
    await talk.settle("cancelled")


@pytest.mark.parametrize(
    "happening", [relayed, completed, cancelled_while_waiting, cancelled_amid_the_answer, broken_off]
)
async def test_no_cycle_is_left(running: Scene, happening: Callable[[Scene], Awaitable[None]]) -> None:
    gc.collect()
    gc.disable()
    try:
        await happening(running)
        await eventually(lambda: not running.sidecar.front.connections)
        await loop_turns()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        ours = [one for one in gc.garbage if type(one).__module__.startswith("sidecar.")]
        assert [type(one).__name__ for one in ours] == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
