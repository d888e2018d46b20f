"""Clients that come again and again while something is done to the sidecar, and have to be answered each time."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    import ssl

CLIENTS: Final = 8
RESTART_S: Final = 40
"""A restart may take long on a busy machine, and whoever comes meanwhile waits."""


async def answer_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Play the upstream: an answer to each request, on a connection of its own."""
    with suppress(asyncio.IncompleteReadError):  # one that was opened in vain
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    writer.close()


async def come_again(
    where: tuple[str, int], over: asyncio.Event, answered: list[int], tls: ssl.SSLContext | None = None
) -> None:
    """Play a client that connects, asks, has to be answered however long it takes, and comes again."""
    while not over.is_set():
        async with asyncio.timeout(RESTART_S):
            reader, writer = await asyncio.open_connection(*where, ssl=tls)
            writer.write(b"GET / HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n\r\n")
            assert (await reader.read()).endswith(b"\r\n\r\nok")
            writer.close()
            answered[0] += 1


async def more_are_answered(answered: list[int]) -> None:
    before = answered[0]
    await eventually(lambda: answered[0] > before + 4 * CLIENTS, RESTART_S)
