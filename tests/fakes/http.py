"""Just enough HTTP/1.1 to read what came over a raw socket: strict, and keeping every byte."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

Fields = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Message:
    """A request or an answer. `raw` is its body as it came, framing included; `body` is the body proper."""

    start: bytes
    fields: Fields
    raw: bytes = b""
    body: bytes = b""

    def get(self, name: str) -> bytes | None:
        """Give the first value of a field."""
        return next(iter(self.values(name)), None)

    def values(self, name: str) -> list[bytes]:
        """Give all values of a field."""
        return [value for field, value in self.fields if field.lower() == name.lower().encode()]

    @property
    def status(self) -> int:
        """An answer's status."""
        return int(self.start.split(b" ")[1])

    @property
    def target(self) -> bytes:
        """A request's target."""
        return self.start.split(b" ")[1]


def parse_head(head: bytes) -> Message:
    """Cut a head, which ends in CRLF CRLF, into its lines."""
    assert head.endswith(b"\r\n\r\n"), head
    start, *lines = head[:-4].split(b"\r\n")
    return Message(start, [(name, value) for name, _, value in (line.partition(b": ") for line in lines)])


class ByteSource(ABC):
    """Whatever bytes are read from."""

    @abstractmethod
    async def exactly(self, count: int) -> bytes:
        """Read so many bytes. Raises ConnectionError where they do not come."""

    @abstractmethod
    async def until(self, separator: bytes) -> bytes:
        """Read up to and with the separator. Raises ConnectionError where it does not come."""

    @abstractmethod
    async def rest(self) -> bytes:
        """Read up to the end. Raises ConnectionError for a reset."""

    async def head(self) -> Message:
        """Read a head."""
        return parse_head(await self.until(b"\r\n\r\n"))

    async def chunk(self) -> tuple[bytes, bytes]:
        """Read a chunk, or the last-chunk with its trailer section: as it came, and what is in it."""
        line = await self.until(b"\r\n")
        size = int(line[:-2].partition(b";")[0], 16)
        if size:
            data = await self.exactly(size + 2)
            assert data.endswith(b"\r\n"), data
            return line + data, data[:-2]
        while not line.endswith(b"\r\n\r\n"):
            line += await self.until(b"\r\n")
        return line, b""

    async def request(self) -> Message:
        """Read a whole request."""
        head = await self.head()
        return await self._with_body(head, ended_by_close=False)

    async def answer(self, method: str = "GET") -> Message:
        """Read a whole answer to a request of that method. Raises ConnectionError where it is cut short."""
        head = await self.head()
        if method == "HEAD" or head.status in {204, 304} or head.status < 200:
            return head
        return await self._with_body(head, ended_by_close=True)

    async def _with_body(self, head: Message, *, ended_by_close: bool) -> Message:
        if head.get("Transfer-Encoding") is not None:
            assert head.get("Content-Length") is None
            return Message(head.start, head.fields, *await self._all_chunks())
        length = head.get("Content-Length")
        if length is not None:
            body = await self.exactly(int(length))
        else:
            body = await self.rest() if ended_by_close else b""
        return Message(head.start, head.fields, body, body)

    async def _all_chunks(self) -> tuple[bytes, bytes]:
        raws, bodies = [], []
        while True:
            raw, body = await self.chunk()
            raws.append(raw)
            bodies.append(body)
            if not body:
                return b"".join(raws), b"".join(bodies)
