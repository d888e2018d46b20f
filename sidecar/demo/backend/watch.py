"""Tells that a connection is lost, without ever cancelling a handler: a legacy backend does not stop for that.

A thin protocol around aiohttp's own; a handler finds it on its request's transport.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aiohttp import web


class Watched(asyncio.Protocol):
    """Passes everything on to aiohttp's protocol, and tells those who asked when the connection is lost."""

    def __init__(self, inner: asyncio.Protocol) -> None:
        self._inner = inner
        self._listeners: set[Callable[[], None]] = set()
        self._lost = False

    @contextmanager
    def telling(self, listener: Callable[[], None]) -> Iterator[None]:
        """Call `listener` when the connection is lost while inside; at once if it already is."""
        if self._lost:
            listener()
        self._listeners.add(listener)
        try:
            yield
        finally:
            self._listeners.discard(listener)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Pass it on."""
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass it on."""
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        """Pass it on."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on, and tell."""
        self._lost = True
        self._inner.connection_lost(exc)
        for listener in tuple(self._listeners):
            listener()


@contextmanager
def telling_of_loss(request: web.Request, listener: Callable[[], None]) -> Iterator[None]:
    """Call `listener` when the request's connection is lost while inside; at once if it already is."""
    if request.transport is None:
        listener()
        yield
        return
    watched = request.transport.get_protocol()
    if not isinstance(watched, Watched):
        raise TypeError("the backend serves its connections through Watched")
    with watched.telling(listener):
        yield
