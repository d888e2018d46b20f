"""What comes on a connection is what it was sent as: neither an attacker's pace nor an odd order changes that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.downstream import request_bytes
from tests.fakes.scene import scene
from tests.fakes.waiting import eventually, loop_turns

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.scene import Scene

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
CHUNKED = request_bytes("POST", "/x", "Transfer-Encoding: chunked")


@pytest.mark.parametrize(
    "pieces",
    [
        [b"a\r\n", b"0123456789XX", b"\r\n0\r\n\r\n"],
        [b"5", b"zz", b"\r\nhello\r\n0\r\n\r\n"],
        [b"0\r\n", b"A\nB: c\r\n", b"\r\n"],
    ],
)
async def test_a_malformed_body_is_not_mended_by_what_follows(tmp_path: Path, pieces: list[bytes]) -> None:
    """It is found while its exchange waits for a connection: nothing of it may reach the upstream later."""
    async with scene(tmp_path, upstream={"connections_max": 1}) as running:
        first, second = await running.client(), await running.client()
        await first.get("/first")
        peer, _ = await running.upstream.request()
        for piece in [CHUNKED, *pieces]:
            await second.send(piece)
            await loop_turns()
        await eventually(lambda: running.sidecar.front.under_way == 2)
        await peer.send(OK)
        assert (await first.answer()).body == b"hi"
        assert (await second.answer()).status == 400
        assert await peer.gone() == b""
        await running.upstream_is_left_alone()


async def test_a_client_that_reads_no_answers_is_not_asked_for_more(running: Scene) -> None:
    """Answers that are small enough to come whole hold nothing back by themselves, but they would pile up."""
    client = await running.client(small_buffer=True)
    count, body = 500, bytes(12_000)
    await client.send(request_bytes("GET", "/") * count)
    peer = await running.upstream.take()
    asked = 0
    while asked == 0 or not peer.nothing_came():
        await peer.request()
        asked += 1
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await loop_turns(50)
    assert asked < count
    for _ in range(asked):
        assert (await client.answer()).body == body
    for _ in range(count - asked):
        await peer.request()
        await peer.send(OK)
        assert (await client.answer()).body == b"hi"
