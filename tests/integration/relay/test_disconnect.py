"""A client that leaves is noticed at once in every phase: the upstream's connection closes, and one line says why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.downstream import request_bytes
from tests.fakes.waiting import AT_ONCE_S, loop_turns

if TYPE_CHECKING:
    from collections.abc import Callable

    from structlog.typing import EventDict

    from tests.fakes.downstream import Downstream
    from tests.fakes.scene import Scene
    from tests.fakes.sockets import RawSocket

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def fin(client: Downstream) -> None:
    client.fin()


def close(client: Downstream) -> None:
    client.close()


def reset(client: Downstream) -> None:
    client.reset()


LEAVING = pytest.mark.parametrize(
    ("leave", "cause"), [(fin, "closed"), (close, "closed"), (reset, "reset")], ids=["fin", "close", "rst"]
)


async def noticed(running: Scene, peer: RawSocket) -> EventDict:
    """Wait for the upstream's connection to close; give the only canonical line."""
    await peer.gone(AT_ONCE_S)
    line = await running.exchange_line()
    await loop_turns()
    assert len(running.exchange_lines()) == 1
    assert (line["status"], line["aborted_by"]) == (499, "downstream")
    return line


async def push_until_stuck(sender: RawSocket, frame: bytes = b"x" * 262_144) -> None:
    """Send frames until, however often the loop goes round, nothing more is taken."""
    stuck = 0
    while stuck < 50:
        stuck = 0 if sender.send_now(frame) else stuck + 1
        await loop_turns()


@LEAVING
async def test_while_the_upstream_is_silent(running: Scene, leave: Callable[[Downstream], None], cause: str) -> None:
    client = await running.client()
    await client.get()
    peer, _ = await running.upstream.request()
    leave(client)
    assert (await noticed(running, peer))["cause"] == cause


@LEAVING
async def test_mid_stream(running: Scene, leave: Callable[[Downstream], None], cause: str) -> None:
    client = await running.client()
    await client.get()
    peer, _ = await running.upstream.request()
    await peer.send(HEAD + b"5\r\nhello\r\n")
    await client.head()
    await client.chunk()
    leave(client)
    line = await noticed(running, peer)
    assert (line["cause"], line["bytes_down"]) == (cause, 10)


@LEAVING
async def test_while_the_body_is_uploaded(running: Scene, leave: Callable[[Downstream], None], cause: str) -> None:
    client = await running.client()
    await client.send(request_bytes("POST", "/x", "Content-Length: 1000"), b"half")
    peer = await running.upstream.take()
    await peer.head()
    assert await peer.exactly(4) == b"half"
    leave(client)
    line = await noticed(running, peer)
    assert line["cause"] in {cause, "upload_cut"}


@LEAVING
async def test_a_chunked_upload_is_not_ended_for_the_client(
    running: Scene, leave: Callable[[Downstream], None], cause: str
) -> None:
    client = await running.client()
    await client.send(request_bytes("POST", "/x", "Transfer-Encoding: chunked"), b"4\r\nhalf\r\n")
    peer = await running.upstream.take()
    await peer.head()
    await peer.chunk()
    leave(client)
    assert await peer.gone(AT_ONCE_S) == b""
    assert (await running.exchange_line())["cause"] in {cause, "upload_cut"}


async def test_a_reset_while_an_upload_is_held_back(running: Scene) -> None:
    client = await running.client()
    await client.send(request_bytes("POST", "/x", "Content-Length: 100000000"))
    peer = await running.upstream.take()
    await peer.head()
    await push_until_stuck(client)
    client.reset()
    line = await noticed(running, peer)
    assert line["cause"] == "reset"


@pytest.mark.parametrize("leave", [fin, close])
async def test_a_close_while_reading_is_paused(running: Scene, leave: Callable[[Downstream], None]) -> None:
    """Enough to pause reading, little enough for the FIN to get through."""
    client = await running.client()
    await client.send(request_bytes("POST", "/x", "Content-Length: 100000000"))
    peer = await running.upstream.take()
    await peer.head()
    await push_until_stuck(client)
    await peer.exactly(1_000_000)
    leave(client)
    await peer.gone(AT_ONCE_S)
    assert (await running.exchange_line())["cause"] in {"closed", "upload_cut"}


@LEAVING
async def test_with_requests_waiting_behind(running: Scene, leave: Callable[[Downstream], None], cause: str) -> None:
    client = await running.client()
    await client.send(b"".join(request_bytes("GET", f"/{number}") for number in range(100)))
    peer, _ = await running.upstream.request()
    leave(client)
    await peer.gone(AT_ONCE_S)
    assert (await running.exchange_line())["cause"] == cause
    await running.upstream_is_left_alone()


@LEAVING
async def test_while_the_client_reads_nothing(running: Scene, leave: Callable[[Downstream], None], cause: str) -> None:
    client = await running.client(small_buffer=True)
    await client.get()
    peer, _ = await running.upstream.request()
    await peer.send(HEAD)
    await peer.send(b"FFFFFFF\r\n")
    await push_until_stuck(peer)
    leave(client)
    line = await noticed(running, peer)
    assert line["cause"] == ("reset" if leave is close else cause)  # the kernel resets for what was not read


@LEAVING
async def test_right_behind_the_request(running: Scene, leave: Callable[[Downstream], None], cause: str) -> None:
    client = await running.client()
    client.send_now(request_bytes("GET", "/x"))
    leave(client)
    if leave is reset:
        # The kernel may drop what the reset overtakes: then there was no request at all.
        await loop_turns(200)
        assert all(line["status"] == 499 for line in running.exchange_lines())
    else:
        line = await running.exchange_line()
        assert (line["status"], line["cause"]) == (499, cause)
    await running.upstream_is_left_alone()


async def test_a_client_that_goes_between_requests_is_no_event(running: Scene) -> None:
    client = await running.client()
    await client.get()
    peer, _ = await running.upstream.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    assert (await client.answer()).body == b"hi"
    client.close()
    await loop_turns(200)
    (line,) = running.exchange_lines()
    assert (line["status"], line["cause"]) == (200, None)
    assert peer.nothing_came()


async def test_while_nobody_listens_upstream(running: Scene) -> None:
    client = await running.client()
    running.upstream.refuse()
    await client.get()
    client.close()
    line = await running.exchange_line()
    assert line["status"] in {499, 502}
