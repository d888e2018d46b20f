"""A slow reader on one side slows the other; one that takes nothing for too long is gone."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from tests.fakes.downstream import request_bytes
from tests.fakes.scene import scene
from tests.fakes.waiting import loop_turns

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.scene import Scene
    from tests.fakes.sockets import RawSocket

BODY = hashlib.sha256(b"seed").digest() * 262_144  # 8 MiB: more than all the kernel's buffers between the ends
ROUNDS_WITHOUT_PROGRESS = 50


async def push(sender: RawSocket, data: bytes) -> int:
    """Send until nothing more is taken, however often the loop goes round; give the number of bytes."""
    sent = stuck = 0
    while sent < len(data) and stuck < ROUNDS_WITHOUT_PROGRESS:
        count = sender.send_now(data[sent : sent + 262_144])
        sent += count
        stuck = 0 if count else stuck + 1
        await loop_turns()
    return sent


async def pump(sender: RawSocket, rest: bytes, receiver: RawSocket, already: bytes, size: int) -> bytes:
    """Send the rest while the other end reads; give the digest of the `size` bytes that it read in all."""
    digest, read, sent = hashlib.sha256(already), len(already), 0
    while read < size:
        sent += sender.send_now(rest[sent : sent + 262_144])
        piece = await receiver.some()
        digest.update(piece)
        read += len(piece)
    return digest.digest()


async def stalled_download(running: Scene) -> tuple[RawSocket, RawSocket, int]:
    """Have the upstream send all that is taken from it while the client reads nothing."""
    client = await running.client(small_buffer=True)
    await client.get("/x")
    peer, _ = await running.upstream.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY))
    return client, peer, await push(peer, BODY)


async def test_a_slow_client_holds_the_upstream_back(running: Scene) -> None:
    client, peer, sent = await stalled_download(running)
    assert sent < len(BODY)
    await client.head()
    assert await pump(peer, BODY[sent:], client, b"", len(BODY)) == hashlib.sha256(BODY).digest()


async def test_a_slow_upstream_holds_the_client_back(tmp_path: Path) -> None:
    async with scene(tmp_path, upstream_small_buffer=True) as running:
        client = await running.client()
        await client.send(request_bytes("POST", "/x", f"Content-Length: {len(BODY)}"))
        peer = await running.upstream.take()
        sent = await push(client, BODY)
        assert sent < len(BODY)
        await peer.head()
        assert await pump(client, BODY[sent:], peer, b"", len(BODY)) == hashlib.sha256(BODY).digest()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert (await client.answer()).body == b"ok"


async def test_a_client_that_takes_nothing_for_too_long_is_gone(tmp_path: Path) -> None:
    async with scene(tmp_path, listen={"write_timeout_s": 0.1}) as running:
        _client, peer, _ = await stalled_download(running)
        await peer.gone()
        line = await running.exchange_line()
        assert (line["status"], line["cause"]) == (499, "stalled")


async def test_a_client_that_takes_little_is_not_gone(tmp_path: Path) -> None:
    async with scene(tmp_path, listen={"write_timeout_s": 0.5}) as running:
        client, peer, sent = await stalled_download(running)
        await client.head()
        assert await pump(peer, BODY[sent:], client, b"", len(BODY)) == hashlib.sha256(BODY).digest()
        assert (await running.exchange_line())["status"] == 200


async def test_a_stalled_client_on_a_unix_socket_is_gone_too(tmp_path: Path) -> None:
    settings = {"address": f"unix:{tmp_path}/s", "write_timeout_s": 0.1}
    async with scene(tmp_path, listen=settings) as running:
        _client, peer, _ = await stalled_download(running)
        await peer.gone()
        assert (await running.exchange_line())["cause"] == "stalled"
