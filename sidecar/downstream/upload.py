"""Sends one request upstream: its head and what is there of its body in one write, the rest as it comes.

The upstream's pace is downstream's: each piece waits until the upstream takes more. A body that came in chunks is sent
in chunks of our own.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import ClientError, web

from sidecar.downstream.body import Coding, chunk, end_of
from sidecar.errors import SidecarError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.upstream.connection import UpstreamConnection


class Upload:
    """The sending of one request. `broke` is called when its body does not come whole."""

    def __init__(self, request: web.BaseRequest, broke: Callable[[Exception], None]) -> None:
        self.body_bytes = 0
        """How many bytes of the body were sent, without framing."""
        self.again: bytes | None = None
        """The whole request, while it may have to be sent again because its connection was a kept one."""
        self._content = request.content
        self._coding = Coding.CHUNKED if _is_chunked(request) else Coding.AS_CAME
        self._broke = broke
        self._pump: asyncio.Task[None] | None = None

    def take_buffered(self) -> bytes:
        """Take what of the body is there without waiting."""
        return self._content.read_nowait(-1) if self._content.is_eof() else b""

    def begin(self, upstream: UpstreamConnection, head: bytes, body: bytes) -> None:
        """Send the head and the body so far; go on with the rest in the background."""
        sent = head + self._framed(body)
        self.body_bytes += len(body)
        if self._content.at_eof():
            self.again = sent + end_of(self._coding) if upstream.reused else None
            self.send_whole(upstream, sent + end_of(self._coding))
        else:
            upstream.send(sent)
            self._pump = asyncio.create_task(self._send_rest(upstream))

    def send_whole(self, upstream: UpstreamConnection, request: bytes) -> None:
        """Send a request that is all there."""
        upstream.send(request)
        upstream.request_sent()

    def stop(self) -> None:
        """Send nothing more; harmless when done twice."""
        if self._pump is not None:
            self._pump.cancel()

    async def _send_rest(self, upstream: UpstreamConnection) -> None:
        try:
            async for data in self._content.iter_any():
                upstream.send(self._framed(data))
                self.body_bytes += len(data)
                await upstream.drain()
        except SidecarError:
            return  # the upstream's end of it is told by its answer, or by answer_failed
        except (ClientError, OSError, web.RequestPayloadError) as error:
            self._broke(error)
            return
        self.send_whole(upstream, end_of(self._coding))

    def _framed(self, data: bytes) -> bytes:
        return chunk(data) if self._coding is Coding.CHUNKED else data


def _is_chunked(request: web.BaseRequest) -> bool:
    return "chunked" in request.headers.get("Transfer-Encoding", "").lower()
