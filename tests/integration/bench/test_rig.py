"""The bench's C ends find what a relay does wrong: they are no good if they find nothing."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
from typing import TYPE_CHECKING, Any

import pytest

from bench import native

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.native import Native

pytestmark = pytest.mark.skipif(not shutil.which("cc") or not shutil.which("make"), reason="needs a C compiler")
ALL = "streams --streams 20 --gap 10 --chunks 60 --size 16-200 --ramp 0.1 --window 0.2 --limit 20"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Native:
    return native.build(tmp_path_factory.mktemp("native"))


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def run(built: Native, arguments: str, *more: str) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        built.rig, *arguments.split(), *more, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    said, complaint = await process.communicate()
    assert process.returncode == 0, complaint
    figures: dict[str, Any] = json.loads(said)
    return figures


async def run_through(built: Native, spoil: Callable[[bytes], bytes]) -> dict[str, Any]:
    """Run with a relay between the ends that does something to what the backend says."""
    backend_port = free_port()

    async def pump(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, change: Callable[[bytes], bytes]
    ) -> None:
        while some := await reader.read(65536):
            writer.write(change(some))
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", backend_port)
        ways = pump(reader, up_writer, lambda some: some), pump(up_reader, writer, spoil)
        await asyncio.gather(*ways, return_exceptions=True)

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        return await run(built, ALL, "--port", str(backend_port), "--target", f"127.0.0.1:{port}")


async def test_a_faithful_way_damages_nothing(built: Native) -> None:
    figures = await run_through(built, lambda some: some)
    damage = {name: figures[name] for name in ("lost_chunks", "misplaced_chunks", "changed_chunks", "errors")}
    assert figures["complete"] == 20, figures["first_error"]
    assert not any(damage.values()), damage


async def test_a_changed_byte_is_found(built: Native) -> None:
    figures = await run_through(built, lambda some: some.replace(b"klm", b"kLm"))
    assert figures["changed_chunks"] > 0


async def test_a_lost_chunk_is_found(built: Native) -> None:
    dropped: list[bytes] = []

    def drop_one(some: bytes) -> bytes:
        """Leave out the first whole chunk that comes alone, with its framing, so that only the data tells."""
        alone = some.count(b"@") == 1 and b"HTTP/" not in some and not some.endswith(b"0\r\n\r\n")
        if not dropped and alone:
            dropped.append(some)
            return b""
        return some

    figures = await run_through(built, drop_one)
    assert dropped
    assert figures["misplaced_chunks"] > 0


async def test_clients_that_leave_are_seen_to_leave(built: Native) -> None:
    arguments = "cancel --streams 20 --when mid --gap 20 --ramp 0.1 --close-lo 0 --close-hi 0.2 --limit 20"
    figures = await run(built, arguments, "--port", str(free_port()))
    assert figures["left"] == 20
    assert figures["never_seen"] == 0
    assert figures["closed_p50_us"] >= 0
