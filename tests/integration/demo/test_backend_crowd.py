"""Hundreds of questions at once, each abandoned its own way: every one is noticed, and every one is kept."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from random import Random
from typing import TYPE_CHECKING

from sidecar.demo.backend import BackendKnobs

if TYPE_CHECKING:
    from sidecar.demo.backend import LegacyBackend

CROWD = 200
RESET = struct.pack("ii", 1, 0)


async def abandon(backend: LegacyBackend, number: int, random: Random) -> None:
    """Ask, wait for a random moment of the answer, and leave by FIN or by RST (SO_LINGER 0)."""
    body = json.dumps({"messages": [], "stream": True}).encode()
    lines = (
        "POST /api/ai-coach/chat HTTP/1.1",
        "Host: x",
        f"X-Request-Id: req_{number}",
        f"Content-Length: {len(body)}",
    )
    _, writer = await asyncio.open_connection("127.0.0.1", backend.port)
    writer.write("\r\n".join((*lines, "", "")).encode() + body)
    record = await backend.heard(f"req_{number}", 30)
    words = random.randrange(4)
    await backend.until(lambda: record.words_made >= words, 30)
    if random.random() < 0.5:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


async def test_a_crowd_that_leaves(backend: LegacyBackend) -> None:
    backend.knobs = BackendKnobs(words=5, word_s=0.02, stall_after=4)
    random = Random(1)  # noqa: S311  (a seed makes a failure come again)
    await asyncio.gather(*(abandon(backend, number, random) for number in range(CROWD)))
    records = backend.generations.values()
    await backend.until(lambda: all(record.connection_closed_at for record in records), 30)
    assert len(backend.kept()) == len(backend.questions) == CROWD
    await backend.until(lambda: all(record.words_made == 4 for record in records), 30)
    assert not any(record.finished for record in records)
