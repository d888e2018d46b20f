"""The raw connection against scripted upstreams, over real sockets, on both event loops."""

from __future__ import annotations

import asyncio
import socket
from functools import partial

import pytest

from sidecar.errors import BugError, UpstreamProtocolError, UpstreamTimeoutError
from tests.integration.upstream.scripted import (
    ANSWER,
    DEADLINE_S,
    REQUEST,
    Peer,
    Recorder,
    ask,
    pool_for,
    scripted,
    turns,
    until,
)

CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LONG_AGO_S = 1_000_000.0


async def test_an_answer_passes_as_it_came_and_the_connection_is_used_again() -> None:
    async def script(peer: Peer) -> None:
        while True:
            assert await peer.request() == REQUEST
            await peer.send(ANSWER)

    async with scripted(script) as port, pool_for(port) as pool:
        first = await pool.connect(fresh=False)
        for reused in (False, True, True):
            connection = await pool.connect(fresh=False) if reused else first
            recorder = ask(connection)
            assert await recorder.end() is None
            assert recorder.head is not None
            assert recorder.head.fields == ((b"Content-Length", b"5"),)
            assert recorder.raw == b"hello"
            assert connection is first
            assert connection.reused is reused
            assert pool.idle_count == 1


async def test_chunks_extensions_and_trailers_pass_byte_by_byte() -> None:
    body = b'5;x="y"\r\nhello\r\n1\r\n!\r\n0\r\nDigest: z\r\n\r\n'

    async def script(peer: Peer) -> None:
        await peer.request()
        whole = CHUNKED_HEAD + body
        await peer.send(*(whole[position : position + 1] for position in range(len(whole))))
        await peer.closed()

    async with scripted(script) as port, pool_for(port) as pool:
        recorder = ask(await pool.connect(fresh=True))
        assert await recorder.end() is None
        assert recorder.raw == body
        assert recorder.body == b"hello!"
        assert pool.idle_count == 1


async def test_interim_answers_are_handed_on_as_they_came() -> None:
    interims = [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nlink: </b>\r\n\r\n"]

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(*interims, ANSWER)
        await peer.closed()

    async with scripted(script) as port, pool_for(port) as pool:
        recorder = ask(await pool.connect(fresh=True))
        assert await recorder.end() is None
        assert recorder.interims == interims
        assert recorder.raw == b"hello"


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
    ],
)
async def test_bodiless_answers_leave_the_connection_good(method: str, answer: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)
        await peer.request()
        await peer.send(ANSWER)
        await peer.closed()

    async with scripted(script) as port, pool_for(port) as pool:
        bodiless = ask(await pool.connect(fresh=True), method=method)
        assert await bodiless.end() is None
        assert bodiless.raw == b""
        following = ask(await pool.connect(fresh=False))
        assert await following.end() is None
        assert following.raw == b"hello"


@pytest.mark.parametrize(
    "answer",
    [
        ANSWER.replace(b"1.1", b"1.0"),
        ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        ANSWER + b"!",
        ANSWER + ANSWER,
    ],
)
async def test_what_makes_a_connection_no_good_for_another_request(answer: bytes) -> None:
    gone = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)
        await peer.closed()
        gone.set()

    async with scripted(script) as port, pool_for(port) as pool:
        recorder = ask(await pool.connect(fresh=True))
        assert await recorder.end() is None
        assert recorder.raw == b"hello"
        assert pool.idle_count == 0
        await until(gone.is_set)


@pytest.mark.parametrize(("extra", "surplus"), [(b"", False), (b"!", True)])
async def test_surplus_is_known(extra: bytes, *, surplus: bool) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(ANSWER + extra)
        await peer.closed()

    async with scripted(script) as port, pool_for(port) as pool:
        connection = await pool.connect(fresh=True)
        assert await ask(connection).end() is None
        assert connection.surplus is surplus


async def test_bytes_on_an_idle_connection_end_it() -> None:
    idle = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(ANSWER)
        await idle.wait()
        await peer.send(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
        await peer.closed()

    async with scripted(script) as port, pool_for(port) as pool:
        connection = await pool.connect(fresh=True)
        assert await ask(connection).end() is None
        assert pool.idle_count == 1
        idle.set()
        await until(lambda: pool.idle_count == 0)
        assert connection.surplus


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (b"", "closed before answering"),
        (b"HTTP/1.1 200 OK\r\nContent-", "closed before answering"),
        (CHUNKED_HEAD + b"5\r\nhel", "broke off mid-answer"),
        (CHUNKED_HEAD + b"5\r\nhello\r\n0\r\n", "broke off mid-answer"),
        (ANSWER[:-1], "broke off mid-answer"),
    ],
)
async def test_an_answer_that_breaks_off_fails(sent: bytes, message: str, end: str) -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(sent)
        await go_on.wait()
        peer.close() if end == "close" else peer.reset()

    async with scripted(script) as port, pool_for(port) as pool:
        recorder = ask(await pool.connect(fresh=True))
        if b"\r\n\r\n" in sent:
            await recorder.until(lambda: len(recorder.raw) == len(sent.partition(b"\r\n\r\n")[2]))
        go_on.set()
        error = await recorder.end()
        assert isinstance(error, UpstreamProtocolError)
        assert str(error) == message
        assert pool.idle_count == 0


async def test_a_close_ends_a_body_without_length_and_a_reset_does_not() -> None:
    received = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
        await received.wait()
        peer.close() if peer.number == 0 else peer.reset()

    async with scripted(script) as port, pool_for(port) as pool:
        for expected in (type(None), UpstreamProtocolError):
            received.clear()
            recorder = ask(await pool.connect(fresh=True))
            await recorder.until(partial(recorder.raw.endswith, b"hello"))
            received.set()
            assert isinstance(await recorder.end(), expected)
            assert recorder.body == b"hello"
            assert pool.idle_count == 0


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"220 mail.example.org ESMTP\r\n",
        CHUNKED_HEAD + b"five\r\nhello\r\n",
    ],
)
async def test_what_is_no_proper_answer_fails_and_drops_the_connection(answer: bytes) -> None:
    gone = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)
        await peer.closed()
        gone.set()

    async with scripted(script) as port, pool_for(port) as pool:
        recorder = ask(await pool.connect(fresh=True))
        assert isinstance(await recorder.end(), UpstreamProtocolError)
        await until(gone.is_set)


# -- time --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-"])
async def test_silence_before_the_head_times_out(sent: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(sent)
        await peer.closed()

    async with scripted(script) as port, pool_for(port, response_timeout_s=0.1, idle_timeout_s=60) as pool:
        begun = asyncio.get_running_loop().time()
        error = await ask(await pool.connect(fresh=True)).end()
        assert isinstance(error, UpstreamTimeoutError)
        assert str(error) == "silent for 0.1 s before answering"
        assert asyncio.get_running_loop().time() - begun >= 0.09


async def test_silence_within_the_body_times_out() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED_HEAD + b"5\r\nhello\r\n")
        await peer.closed()

    async with scripted(script) as port, pool_for(port, response_timeout_s=60, idle_timeout_s=0.1) as pool:
        recorder = ask(await pool.connect(fresh=True))
        error = await recorder.end()
        assert isinstance(error, UpstreamTimeoutError)
        assert str(error) == "silent for 0.1 s mid-answer"
        assert recorder.body == b"hello"


async def test_an_interim_answer_is_a_sign_of_life_and_half_a_head_is_none() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 102 Processing\r\n\r\n")
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n")
        await peer.closed()

    async with scripted(script) as port, pool_for(port) as pool:
        connection = await pool.connect(fresh=True)
        recorder = ask(connection)
        connection._since -= LONG_AGO_S
        await recorder.until(lambda: recorder.interims)
        pool.silences._look(connection)
        assert recorder.ends == 0
        connection.send(REQUEST)
        connection._since -= LONG_AGO_S
        await until(lambda: connection._answer is not None and connection._answer._reader._held)
        pool.silences._look(connection)
        assert isinstance(await recorder.end(), UpstreamTimeoutError)


async def test_no_time_counts_while_reading_is_paused_or_downstream_is_uploading() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED_HEAD)
        await peer.closed()

    async with scripted(script) as port, pool_for(port) as pool:
        connection = await pool.connect(fresh=True)
        recorder = Recorder()
        connection.begin(recorder, method="POST")
        connection.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
        connection._since -= LONG_AGO_S
        pool.silences._look(connection)
        assert recorder.ends == 0
        connection.send(b"0123456789")
        connection.request_sent()
        await recorder.until(lambda: recorder.head)
        connection.pause_reading()
        connection._since -= LONG_AGO_S
        pool.silences._look(connection)
        assert recorder.ends == 0
        connection._since -= LONG_AGO_S
        connection.resume_reading()
        pool.silences._look(connection)
        assert recorder.ends == 0
        connection._since -= LONG_AGO_S
        pool.silences._look(connection)
        assert isinstance(await recorder.end(), UpstreamTimeoutError)


async def test_an_upstream_that_takes_no_bytes_times_out() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await asyncio.Event().wait()

    async with scripted(script) as port, pool_for(port, response_timeout_s=0.1) as pool:
        connection = await pool.connect(fresh=True)
        recorder = Recorder()
        connection.begin(recorder, method="POST")
        connection.send(REQUEST)
        connection.send(bytes(20_000_000))
        assert isinstance(await recorder.end(), UpstreamTimeoutError)


async def test_a_kept_connection_is_looked_at_again_from_its_next_request_on() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(ANSWER)
        await peer.request()
        await peer.closed()

    async with scripted(script) as port, pool_for(port, response_timeout_s=0.1) as pool:
        assert await ask(await pool.connect(fresh=True)).end() is None
        connection = await pool.connect(fresh=False)
        pool.silences._look(connection)  # while it is idle: it is looked at no more
        assert isinstance(await ask(connection).end(), UpstreamTimeoutError)


# -- back-pressure -----------------------------------------------------------------------------------------------------


async def test_pausing_stops_a_fast_upstream_and_resuming_lets_it_go_on() -> None:
    size, quiet_turns = 50_000_000, 200
    stalled = asyncio.Event()
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        quiet = 0
        while sent < size:
            count = peer.send_now(bytes(min(65536, size - sent)))
            sent += count
            quiet = 0 if count else quiet + 1
            if quiet > quiet_turns:
                stalled.set()
            await asyncio.sleep(0)
        await peer.closed()

    async with scripted(script) as port, pool_for(port) as pool:
        connection = await pool.connect(fresh=True)
        recorder = Recorder()
        recorder.on_head = connection.pause_reading
        connection.begin(recorder, method="GET")
        connection.send(REQUEST)
        connection.request_sent()
        connection.pause_reading()
        connection.resume_reading()
        await recorder.until(lambda: recorder.head)
        connection.pause_reading()
        async with asyncio.timeout(10):
            await stalled.wait()
        assert sent < size // 2
        assert len(recorder.raw) <= 262_144  # what one read may already have taken
        connection.resume_reading()
        connection.resume_reading()
        assert await recorder.end() is None
        assert len(recorder.raw) == size
        assert pool.idle_count == 1


async def test_a_connection_that_ends_paused_is_kept_reading() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(ANSWER)
        await peer.request()
        await peer.send(ANSWER)
        await peer.closed()

    async with scripted(script) as port, pool_for(port) as pool:
        connection = await pool.connect(fresh=True)
        recorder = Recorder()
        recorder.on_head = connection.pause_reading
        connection.begin(recorder, method="GET")
        connection.send(REQUEST)
        connection.request_sent()
        assert await recorder.end() is None
        assert await ask(await pool.connect(fresh=False)).end() is None


async def test_drain_waits_for_a_slow_upstream() -> None:
    size = 20_000_000
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await go_on.wait()
        await peer.read(size)
        await peer.send(ANSWER)
        await peer.closed()

    async with scripted(script) as port, pool_for(port) as pool:
        connection = await pool.connect(fresh=True)
        recorder = Recorder()
        connection.begin(recorder, method="POST")
        connection.send(bytes(size))
        connection.request_sent()
        await turns()
        assert recorder.full
        go_on.set()
        await recorder.until(lambda: not recorder.full)
        assert await recorder.end() is None


async def test_to_send_on_a_connection_that_is_gone_does_nothing() -> None:
    async def script(peer: Peer) -> None:
        await peer.read(1)
        peer.reset()

    async with scripted(script) as port, pool_for(port) as pool:
        connection = await pool.connect(fresh=True)
        recorder = Recorder()
        connection.begin(recorder, method="POST")
        connection.send(bytes(20_000_000))
        assert isinstance(await recorder.end(), UpstreamProtocolError)
        connection.send(b"nothing happens")


# -- early answers, aborts ---------------------------------------------------------------------------------------------


async def test_an_early_answer_is_heard_but_the_connection_is_not_kept() -> None:
    gone = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(ANSWER)
        await peer.closed()
        gone.set()

    async with scripted(script) as port, pool_for(port) as pool:
        connection = await pool.connect(fresh=True)
        recorder = Recorder()
        connection.begin(recorder, method="POST")
        connection.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
        assert await recorder.end() is None
        assert recorder.raw == b"hello"
        assert pool.idle_count == 0
        await until(gone.is_set)


async def test_an_early_refusal_is_heard_although_the_upload_breaks_the_connection() -> None:
    """An upstream that answers, then closes on unread bytes, resets: its answer must not go down with our write."""
    refused = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.read(1)
        assert peer.send_now(ANSWER) == len(ANSWER)
        peer.reset()
        refused.set()

    async with scripted(script) as port, pool_for(port) as pool:
        connection = await pool.connect(fresh=True)
        recorder = Recorder()
        connection.begin(recorder, method="POST")
        connection.pause_reading()  # so that only the write can notice
        connection.send(bytes(100_000))
        await until(refused.is_set)
        await turns()
        connection.send(bytes(100_000))
        assert await recorder.end() is None
        assert recorder.raw == b"hello"


async def test_who_aborts_hears_nothing_more_and_the_upstream_sees_it() -> None:
    gone = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED_HEAD + b"5\r\nhello\r\n")
        await peer.closed()
        gone.set()

    async with scripted(script) as port, pool_for(port) as pool:
        connection = await pool.connect(fresh=True)
        recorder = ask(connection)
        await recorder.until(lambda: recorder.body)
        connection.abort()
        connection.abort()
        connection.pause_reading()
        connection.resume_reading()
        await until(gone.is_set)
        await connection.wait_lost()
        assert recorder.ends == 0
        assert pool.idle_count == 0


async def test_an_abort_mid_answer_is_with_the_upstream_before_the_loop_comes_round() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE_S)
        async with pool_for(listener.getsockname()[1]) as pool:
            connection = await pool.connect(fresh=True)
            ask(connection)
            peer, _ = listener.accept()
            with peer:
                peer.settimeout(DEADLINE_S)
                assert peer.recv(65536) == REQUEST
                connection.abort()
                assert peer.recv(1) == b""


async def test_who_aborts_on_the_head_never_hears_the_body() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(ANSWER)
        await peer.closed()

    async with scripted(script) as port, pool_for(port) as pool:
        connection = await pool.connect(fresh=True)
        recorder = Recorder()
        recorder.on_head = connection.abort
        connection.begin(recorder, method="GET")
        connection.send(REQUEST)
        connection.request_sent()
        await connection.wait_lost()
        assert recorder.head is not None
        assert recorder.ends == 0
        assert recorder.raw == b""
        assert pool.idle_count == 0


async def test_a_request_on_a_closed_connection_fails() -> None:
    async def script(peer: Peer) -> None:
        peer.close()

    async with scripted(script) as port, pool_for(port) as pool:
        connection = await pool.connect(fresh=True)
        await connection.wait_lost()
        recorder = ask(connection)
        assert recorder.ends == 0  # not from within begin
        assert isinstance(await recorder.end(), UpstreamProtocolError)
        forgotten = ask(connection)
        connection.abort()
        await turns()
        assert forgotten.ends == 0


async def test_a_busy_connection_takes_no_second_request() -> None:
    async def script(peer: Peer) -> None:
        await peer.closed()

    async with scripted(script) as port, pool_for(port) as pool:
        connection = await pool.connect(fresh=True)
        ask(connection)
        with pytest.raises(BugError):
            ask(connection)
        connection.abort()


async def test_socket_options() -> None:
    async def script(peer: Peer) -> None:
        await peer.closed()

    async with scripted(script) as port, pool_for(port) as pool:
        connection = await pool.connect(fresh=True)
        sock = connection._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert connection._transport.get_write_buffer_limits() == (16_384, 65_536)
        assert getattr(connection._transport, "max_size", 16_384) == 16_384
        connection.abort()
