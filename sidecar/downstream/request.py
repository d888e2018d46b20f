"""A request as its bytes come in: the head is whole, the body is held until somebody takes it.

connection --feed--> body --held--> gather (a turn's body is read first)
--------> BodyTaker, at once, as the bytes came
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from sidecar.errors import DownstreamGoneError
from sidecar.wire.fields import Fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.errors import PeerError
    from sidecar.wire.framing import Framing
    from sidecar.wire.request_head import RequestHead


NO_FIELDS: Final = Fields()


class BodyTaker(Protocol):
    """Whoever takes a body as it comes."""

    def body_received(self, data: bytes) -> None:
        """Take bytes as they came, framing included; they may be empty only at the end."""

    def body_broke(self, error: PeerError) -> None:
        """Take note that the rest will not come."""


class RequestBody:
    """One request's body. `room` is called when more may come than the `held_max` bytes that were allowed so far."""

    __slots__ = (
        "_framing",
        "_held",
        "_held_bytes",
        "_held_max",
        "_plain",
        "_room",
        "_taker",
        "_waiter",
        "error",
        "size",
    )

    def __init__(self, framing: Framing, room: Callable[[], None], *, held_max: int) -> None:
        self.size = 0
        """How many bytes of the body came, without framing."""
        self.error: PeerError | None = None
        """Why the rest will not come."""
        self._framing = framing
        self._room = room
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._held_max = held_max
        self._plain: list[bytes] = []
        self._taker: BodyTaker | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def complete(self) -> bool:
        """Whether all of it came."""
        return self._framing.complete

    @property
    def full(self) -> bool:
        """Whether downstream has to wait, because nobody takes what is held."""
        return self._taker is None and self._held_bytes > self._held_max

    def feed(self, data: bytes) -> bytes:
        """Take what came; give what came behind the body. Raises MalformedError where the body is ill-formed.

        A body that broke stays broken: what comes later must not make it look whole.
        """
        if self.error is not None:
            return b""
        taken = self._framing.feed(data)
        behind = b""
        if taken < len(data):
            data, behind = data[:taken], data[taken:]
        spans = self._framing.spans
        self.size += sum([stop - start for start, stop in spans])
        if self._taker is None:
            self._hold(data, [data[start:stop] for start, stop in spans])
        else:
            self._taker.body_received(data)
        return behind

    def skip(self, data: bytes) -> None:
        """Take what came for nobody. Raises MalformedError."""
        self._framing.feed(data)

    def fail(self, error: PeerError) -> None:
        """Take note that the rest will not come; harmless when it came, or when done twice."""
        if self.complete or self.error is not None:
            return
        self.error = error
        taker = self._taker
        if taker is not None:
            taker.body_broke(error)
        self._wake()

    def abandon(self) -> None:
        """Let nobody wait for it any more."""
        if self._waiter is not None:
            self.fail(DownstreamGoneError("the request is over"))

    async def gather(self, limit: int) -> tuple[bytes, bool]:
        """Give the body proper up to about `limit` bytes, and whether that is all; it stays held. Raises PeerError.

        What counts is what came, framing included, or a body in tiny chunks could hold many times the limit.
        """
        self._held_max = max(limit, self._held_max)
        self._room()
        while not self.complete and self.size <= limit and not self.full:
            if self.error is not None:
                raise self.error
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return b"".join(self._plain), self.complete and self.size <= limit

    def flow(self, taker: BodyTaker) -> None:
        """Hand what comes from now on to a taker. What is held is `take`n before."""
        self._taker = taker
        self._room()
        if self.error is not None:
            taker.body_broke(self.error)

    def take(self) -> bytes:
        """Give what is held, as it came."""
        held = b"".join(self._held)
        self._held.clear()
        self._plain.clear()
        self._held_bytes = 0
        return held

    def _hold(self, data: bytes, plain: list[bytes]) -> None:
        self._held.append(data)
        self._plain += plain
        self._held_bytes += len(data)
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class Request:
    """A request: what its head says, and its body as far as it came."""

    __slots__ = (
        "body",
        "expects_continue",
        "fields",
        "keeps_alive",
        "method",
        "raw_target",
        "target",
        "upgrade",
        "version",
    )

    def __init__(self, head: RequestHead, body: RequestBody) -> None:
        self.method = head.method
        self.raw_target = head.target
        self.target = head.target.decode("utf-8", "surrogateescape")
        """The target as text, for routes and captures."""
        self.version = head.version
        self.fields = head.fields
        """Its header fields, until they are `let_go`."""
        self.keeps_alive = head.keeps_alive
        """Downstream means to send another one after it."""
        self.expects_continue = head.expects_continue
        self.upgrade = head.upgrade
        """The protocols that downstream offers to switch to, if any."""
        self.body = body

    @property
    def line(self) -> bytes:
        """The request line as the upstream is sent it."""
        return b"%b %b HTTP/1.1" % (self.method.encode(), self.raw_target)

    def let_go(self) -> None:
        """Forget the fields, which are more than all the rest, once they are on their way and nobody needs them."""
        self.fields = NO_FIELDS

    @property
    def unasked(self) -> bool:
        """Whether downstream still waits to be asked for its body: it will not send it once it is answered."""
        return self.expects_continue and not (self.body.complete or self.body.size)

    @property
    def speaks_1_0(self) -> bool:
        """Whether downstream knows neither chunks nor interim answers."""
        return self.version == "1.0"
