"""The lines of a stream: where JSON stands in them, and which of them make up an SSE event's data."""

from __future__ import annotations

from typing import Final

from sidecar.capture.pointer import read_json

DATA: Final = b"data:"
_SSE_FIELDS: Final = (b"event:", b"id:", b"retry:", b":")
_JSON_ENDS: Final = frozenset({(b"{", b"}"), (b"[", b"]")})
_BRACES_TRIED_MAX: Final = 8


def read_line(line: bytes) -> object:
    """Read the JSON in a line: an SSE data field, a line of NDJSON, or an object that ends a line of plain text.

    The last is what a backend writes that sends its closing frame right after the answer's last word.
    Raises ValueError.
    """
    if line.startswith(DATA):
        return read_json(line[len(DATA) :])
    if line.lstrip().startswith(b"["):
        return read_json(line)
    return _read_object_at_end(line.rstrip())


def is_frame(line: bytes) -> bool:
    """Say whether a line, without its end, is framing or JSON, and no text: what only looks like JSON passes for it."""
    if line.startswith(_SSE_FIELDS):
        return True
    data = line.removeprefix(DATA).strip()
    return not data or (data[:1], data[-1:]) in _JSON_ENDS


def _read_object_at_end(line: bytes) -> object:
    start = line.find(b"{") if line.endswith(b"}") else -1
    for _ in range(_BRACES_TRIED_MAX):
        if start < 0:
            break
        try:
            return read_json(line[start:])
        except ValueError:
            start = line.find(b"{", start + 1)
    raise ValueError("no JSON object ends the line")


class OpenEvent:
    """The data lines of an SSE event that has not ended: together they may be a JSON text that none of them is alone.

    `open` says whether there are any; `starts_at` is the position of the first. An event that grows beyond `bytes_max`,
    or of which a line is missing, is let go.
    """

    __slots__ = ("_bytes_left", "_bytes_max", "_data", "_wanted", "open", "starts_at")

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self.clear()

    def clear(self) -> None:
        """Be ready for the next event."""
        self.open = False
        self.starts_at = 0
        self._wanted = False
        self._bytes_left = self._bytes_max
        self._data: list[bytes] = []

    def spoil(self) -> None:
        """Let the event go, up to its end."""
        self.open = True
        self._bytes_left = -1
        self._data = []

    def add(self, data: bytes, at: int, *, wanted: bool) -> None:
        """Add a line's data; `wanted` where it may hold an answer that it did not give alone."""
        if not self.open:
            self.open = True
            self.starts_at = at
        self._wanted |= wanted
        self._bytes_left -= len(data) + 1
        if self._bytes_left < 0:
            self._data = []
        else:
            self._data.append(data)

    def joined(self) -> bytes | None:
        """Give the event's data if looking at it is worth while, else None."""
        worth = self._wanted and len(self._data) > 1
        return b"\n".join(self._data) if worth else None
