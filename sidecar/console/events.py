"""The overview as server-sent events: looked at once a second for all who listen, and sent to them when it changed.

Whoever is slow gets the newest and misses those between; whoever nobody listens to is not looked at.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import structlog
from aiohttp import web

from sidecar.console.problem import Problem
from sidecar.errors import PeerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.console.models import Overview
    from sidecar.console.overview import Observatory

INTERVAL_S: Final = 1.0
HEARTBEAT_S: Final = 15.0
LISTENERS_MAX: Final = 32
RECONNECT: Final = b"retry: 2000\n\n"
HEARTBEAT: Final = b": still here\n\n"
_AT: Final = {"at"}

log = structlog.get_logger()


@dataclass(eq=False, slots=True)
class _Listener:
    """Someone who listens: what is news to them."""

    news: bytes | None
    told: asyncio.Event


class Events:
    """Those who listen. `close` ends all streams, and lets nobody in any more."""

    def __init__(self, observatory: Observatory) -> None:
        self._observatory = observatory
        self._listeners: set[_Listener] = set()
        self._looking: asyncio.Task[None] | None = None
        self._latest: bytes | None = None
        self._closed = False

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Answer with events until the listener leaves."""
        if self._closed or len(self._listeners) >= LISTENERS_MAX:
            mend = "Close another dashboard, or poll /api/overview."
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "Too many are listening.", mend)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        await response.prepare(request)
        with suppress(ConnectionError), self._listening() as listener:  # they leave whenever they like
            await response.write(RECONNECT)
            while await self._send_next(response, listener):
                pass
        return response

    async def close(self) -> None:
        """End all streams."""
        self._closed = True
        for listener in self._listeners:
            listener.told.set()
        await self._stop_looking()

    @contextmanager
    def _listening(self) -> Iterator[_Listener]:
        listener = _Listener(self._latest, asyncio.Event())
        self._listeners.add(listener)
        if listener.news is not None:
            listener.told.set()
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
            if not self._listeners and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    async def _send_next(self, response: web.StreamResponse, listener: _Listener) -> bool:
        """Send what is new, or a sign of life; give whether there may be more."""
        try:
            async with asyncio.timeout(HEARTBEAT_S):
                await listener.told.wait()
        except TimeoutError:
            await response.write(HEARTBEAT)
            return True
        listener.told.clear()
        if (news := listener.news) is not None:
            listener.news = None
            await response.write(news)
        return not self._closed

    async def _look(self) -> None:
        before = ""
        while True:
            try:
                overview = await self._observatory.overview()
            except PeerError as error:
                log.warning("console_looks_later", error=str(error))
            else:
                if (seen := overview.model_dump_json(exclude=_AT)) != before:
                    before = seen
                    self._tell(overview)
            await asyncio.sleep(INTERVAL_S)

    def _tell(self, overview: Overview) -> None:
        self._latest = b"event: overview\ndata: %b\n\n" % overview.model_dump_json().encode()
        for listener in self._listeners:
            listener.news = self._latest
            listener.told.set()

    async def _stop_looking(self) -> None:
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
