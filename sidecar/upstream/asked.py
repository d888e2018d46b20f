"""One short question to a server, over a pool: the request goes out whole, and one bounded answer is gathered.

        ask --request--> connection --answer--> Gathered --over--> ask
         '--sent again on a fresh connection, where a kept one provably did not hear of it

Nothing is followed, inflated or remembered. What cannot be told from the answer's head alone is the asker's matter.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from sidecar.wire.fields import head_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.errors import PeerError
    from sidecar.upstream.connection import UpstreamConnection
    from sidecar.upstream.pool import UpstreamPool
    from sidecar.wire.answer_head import Head
    from sidecar.wire.framing import Framing


class Question(NamedTuple):
    """A request as it goes out: `data` is head and body."""

    method: str
    data: bytes

    @classmethod
    def of(cls, method: str, target: str, fields: Sequence[tuple[str, str]], body: bytes) -> Question:
        """Put it together. Raises ValueError where a value would end its line."""
        line = f"{method} {target} HTTP/1.1".encode()
        head = head_bytes(line, [(name.encode(), value.encode()) for name, value in fields])
        if head.count(b"\n") != len(fields) + 2 or head.count(b"\r") != len(fields) + 2 or b"\0" in head:
            raise ValueError("a line break in a field")
        return cls(method, head + body)


class Gathered:
    """An answer as far as it came: its requester. It is `whole`, or `error` says why not; time is no error."""

    def __init__(self, connection: UpstreamConnection, *, bytes_max: int) -> None:
        self.head: Head | None = None
        self.body = bytearray()
        self.whole = False
        self.error: PeerError | None = None
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when nothing more comes."""
        self.unheard = False
        """The server provably heard nothing of the request."""
        self._ended = False
        self._connection = connection
        self._bytes_max = bytes_max

    def abandon(self) -> None:
        """Take nothing more, and drop the connection; harmless where the answer is over."""
        if not self._ended:
            self._connection.abort()
            self._end()

    # -- from the connection (Requester) -----------------------------------------------------------------------------

    def informational_received(self, head: Head, raw: bytes) -> None:
        """Do nothing: nobody waits for an interim answer."""

    def switched(self, head: Head, raw: bytes, behind: bytes) -> None:
        """Do nothing: no other protocol is ever offered."""

    def head_received(self, head: Head, framing: Framing, *, alone: bool) -> None:
        """Take the head."""
        del framing, alone
        self.head = head

    def body_received(self, data: bytes, framing: Framing, *, last: bool) -> None:
        """Take bytes of the body; one that is too long loses the connection."""
        for start, stop in framing.spans:
            self.body += data[start:stop]
        if last:
            self.whole = True
            self._end()
        elif len(self.body) > self._bytes_max:
            self.abandon()

    def answer_failed(self, error: PeerError) -> None:
        """Take note that nothing more will come."""
        self.error = error
        self.unheard = self._connection.unheard
        self._end()

    def upload_full(self) -> None:
        """Do nothing: the request is out already."""

    def upload_drained(self) -> None:
        """Do nothing, either."""

    def _end(self) -> None:
        self._ended = True
        if not self.over.done():
            self.over.set_result(None)


async def ask(pool: UpstreamPool, question: Question, *, timeout_s: float, bytes_max: int) -> Gathered:
    """Ask, and give what came within the time; of a body, little more than `bytes_max`.

    Raises TimeoutError where there was no connection in time, and what `pool.connect` raises.
    """
    until = asyncio.get_running_loop().time() + timeout_s
    connection = pool.check_out(repeatable=True) or await _connected(pool, until, fresh=False)
    gathered = await _asked(connection, question, until, bytes_max)
    if gathered.unheard:
        gathered = await _asked(await _connected(pool, until, fresh=True), question, until, bytes_max)
    return gathered


async def _connected(pool: UpstreamPool, until: float, *, fresh: bool) -> UpstreamConnection:
    async with asyncio.timeout_at(until):
        return await pool.connect(fresh=fresh)


async def _asked(connection: UpstreamConnection, question: Question, until: float, bytes_max: int) -> Gathered:
    gathered = Gathered(connection, bytes_max=bytes_max)
    timer = asyncio.get_running_loop().call_at(until, gathered.abandon)
    try:
        connection.begin(gathered, method=question.method)
        connection.send(question.data)
        connection.request_sent()
        await gathered.over
    finally:
        timer.cancel()
        gathered.abandon()
    return gathered
