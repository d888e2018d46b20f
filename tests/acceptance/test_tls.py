"""TLS in front of a real process: a turn by it, a leaving, and a certificate that is renewed under a stream."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.acceptance.stage import CANCEL, END, PLAIN, ROLLBACK, Stage, chunk, stage
from tests.acceptance.stage import head as head_of
from tests.fakes.downstream import ALICE, CHAT, chat_body, request_bytes
from tests.fakes.tls import FIRST, SECOND, certificate_of, trusting
from tests.fakes.waiting import eventually
from tests.integration.chat.talk import CHUNKED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.fakes.sockets import RawSocket

QUESTION = request_bytes(
    "POST", CHAT, f"Authorization: {ALICE}", "X-Request-Id: r1", "Content-Type: application/json", body=chat_body()
)
WAIT_S = 20
READ_BYTES_MAX = 10_000_000
MANY = 10
"""Connections enough for each of two workers to have some."""


class Client:
    """A client that speaks TLS."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @property
    def sees(self) -> bytes | None:
        ssl_object: ssl.SSLObject = self.writer.get_extra_info("ssl_object")
        return ssl_object.getpeercert(binary_form=True)

    async def asks(self, running: Stage) -> RawSocket:
        """Ask; give the upstream's end, its answer begun."""
        self.writer.write(QUESTION)
        peer, request = await running.upstream.request()
        assert request.get("X-Forwarded-Proto") == b"https"
        await peer.send(head_of(CHUNKED, PLAIN, "X-Conversation-Id: c1"), chunk(b"Once "))
        await self.reads(b"Once ")
        return peer

    async def reads(self, text: bytes) -> bytes:
        async with asyncio.timeout(WAIT_S):
            return await self.reader.readuntil(text)


@dataclass
class Secured:
    """A sidecar behind a certificate."""

    running: Stage
    file: Path
    clients: list[Client] = field(default_factory=list)

    async def client(self) -> Client:
        """Shake hands."""
        port = urlsplit(self.running.process.url).port
        self.clients.append(
            Client(*await asyncio.open_connection("127.0.0.1", port, ssl=trusting(), limit=READ_BYTES_MAX))
        )
        return self.clients[-1]


@asynccontextmanager
async def secured(folder: Path, *, workers: int = 1) -> AsyncIterator[Secured]:
    """Run a sidecar behind a certificate that is in a file of its own."""
    file = folder / "cert.pem"
    shutil.copy(FIRST, file)
    async with stage(folder, listen={"workers": workers, "tls": {"cert": str(file)}}) as running:
        scene = Secured(running, file)
        try:
            yield scene
        finally:
            for client in scene.clients:
                client.writer.transport.abort()


async def test_an_answer_is_delivered(tmp_path: Path) -> None:
    async with secured(tmp_path) as scene:
        running = scene.running
        client = await scene.client()
        peer = await client.asks(running)
        await peer.send(chunk(b"a time" * 50_000), END)
        await client.reads(b"\r\n0\r\n\r\n")
        await running.turn_in("completed", timeout_s=WAIT_S)
        client.writer.close()
        assert running.admin.lines == []


async def test_a_client_that_leaves_is_seen_however_it_leaves(tmp_path: Path) -> None:
    """By a goodbye (close_notify), and without one."""
    async with secured(tmp_path) as scene:
        running = scene.running
        client = await scene.client()
        await client.asks(running)
        client.writer.close()
        await running.turn_in("cancelled", timeout_s=WAIT_S)
        assert running.admin.lines == [CANCEL, ROLLBACK]

    (tmp_path / "again").mkdir()
    async with secured(tmp_path / "again") as scene:
        running = scene.running
        client = await scene.client()
        await client.asks(running)
        client.writer.transport.abort()
        await running.turn_in("cancelled", timeout_s=WAIT_S)
        assert running.admin.lines == [CANCEL, ROLLBACK]


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_renewed_certificate_is_taken_up_under_a_stream_and_a_bad_one_is_not(
    tmp_path: Path, workers: int
) -> None:
    async with secured(tmp_path, workers=workers) as scene:
        running, file = scene.running, scene.file
        client = await scene.client()
        peer = await client.asks(running)
        file.write_text("junk")
        refused = await running.process.reload("reload_refused")
        assert refused["problems"] == [f"listen.tls.cert: {file} holds no certificate; give a PEM file, with its chain"]
        assert {(await scene.client()).sees for _ in range(MANY)} == {certificate_of(FIRST)}
        shutil.copy(SECOND, file)
        assert (await running.process.reload())["changed"] == []
        assert {(await scene.client()).sees for _ in range(MANY)} == {certificate_of(SECOND)}
        await peer.send(chunk(b"a time"), END)
        await client.reads(b"\r\n0\r\n\r\n")
        await running.turn_in("completed", timeout_s=WAIT_S)
        assert await running.process.terminate() == 0
        assert "Traceback" not in running.process.log_text()


async def test_an_answer_that_breaks_off_is_no_whole_one(tmp_path: Path) -> None:
    """The upstream's answer is cut short: chunked, its end is missing."""
    async with secured(tmp_path) as scene:
        running = scene.running
        client = await scene.client()
        peer = await client.asks(running)
        peer.reset()
        async with asyncio.timeout(WAIT_S):
            try:
                rest = await client.reader.read()
            except (ConnectionError, ssl.SSLError):
                rest = b""
        assert END not in rest
        await running.turn_in("cancelled", timeout_s=WAIT_S)


async def test_who_shakes_hands_when_it_stops_is_served(tmp_path: Path) -> None:
    async with stage(tmp_path, listen={"tls": {"cert": str(FIRST)}, "shutdown_grace_s": 600}) as running:
        port = urlsplit(running.process.url).port
        early = await asyncio.open_connection("127.0.0.1", port)
        witness = await asyncio.open_connection("127.0.0.1", port, ssl=trusting())  # so the early one is let in, too
        witness[1].transport.abort()
        running.process.signal(signal.SIGTERM)
        await eventually(lambda: running.process.log("stopping"), WAIT_S)
        reader, writer = early
        await writer.start_tls(trusting(), server_hostname="localhost")
        writer.write(request_bytes("GET", "/late"))
        peer, _ = await running.upstream.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        async with asyncio.timeout(WAIT_S):
            assert (await reader.read()).endswith(b"\r\n\r\nok")
        writer.close()
        assert await running.process.wait() == 0


async def test_nor_is_one_without_framing_that_breaks_off(tmp_path: Path) -> None:
    """A client would take a goodbye for its end: so there is none."""
    async with secured(tmp_path) as scene:
        port = urlsplit(scene.running.process.url).port or 0
        reading = asyncio.create_task(asyncio.to_thread(read_to_the_end, port))
        peer, _ = await scene.running.upstream.request()
        await peer.send(head_of("Connection: close", PLAIN, "X-Conversation-Id: c1"), b"Once ")
        peer.reset()
        assert await reading == "broken off"
        await scene.running.turn_in("cancelled", timeout_s=WAIT_S)


def read_to_the_end(port: int) -> str:
    """Ask, and read; say how that ended. asyncio itself would not tell."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)
    with trusting().wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False) as secure:
        secure.sendall(QUESTION)
        try:
            while secure.recv(65_536):
                pass
        except (ssl.SSLError, ConnectionError):
            return "broken off"
        return "whole"
