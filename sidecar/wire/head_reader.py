"""Gathers the bytes of a head until its end is there, and no longer than its limits allow."""

from __future__ import annotations

from typing import Final

from sidecar.errors import HeadTooLargeError, MalformedError, TargetTooLongError

END: Final = b"\r\n\r\n"
_CRLF: Final = b"\r\n"
EMPTY_LINES_MAX: Final = 4


class HeadReader:
    """Reads one head after the other.

    `opening` is what a head's first bytes have to be (empty: any token). An answer's reader bounds the whole head only;
    a request's start line has a limit of its own (`line_bytes_max`), and empty lines may precede it (RFC 9112, 2.2).
    """

    __slots__ = ("_bytes_max", "_empty_lines", "_held", "_line_bytes_max", "_opening")

    def __init__(self, *, bytes_max: int, line_bytes_max: int | None = None, opening: bytes = b"") -> None:
        self._held = b""
        self._empty_lines = 0  # in front of the head
        self._bytes_max = bytes_max
        self._line_bytes_max = line_bytes_max
        self._opening = opening

    @property
    def begun(self) -> bool:
        """Whether part of a head is held."""
        return bool(self._held)

    def feed(self, data: bytes) -> tuple[bytes, bytes] | None:
        """Give the whole head and the bytes behind it, or None while its end is still to come.

        Raises MalformedError as soon as the bytes cannot become a head any more, HeadTooLargeError and
        TargetTooLongError as soon as they are too many.
        """
        checked = max(0, len(self._held) - len(END) + 1)
        held = self._held + data if self._held else data
        if self._line_bytes_max is not None and held[:1] in {b"\r", b"\n"}:
            held = self._without_empty_lines(held)
            checked = 0
        end = held.find(END, checked)
        if end < 0:
            self._refuse_hopeless(held, checked)
            self._held = held
            return None
        self._refuse_long(held, end + len(END))
        self._held, self._empty_lines = b"", 0
        return held[: end + len(END)], held[end + len(END) :]

    def _without_empty_lines(self, held: bytes) -> bytes:
        """Drop the empty lines before a request line; only complete ones, and only a few."""
        while held.startswith(_CRLF):
            held = held[len(_CRLF) :]
            self._empty_lines += 1
        odd = held.startswith((b"\n", b"\r\r")) or (held[:1] == b"\r" and len(held) > 1)
        if odd or self._empty_lines > EMPTY_LINES_MAX:
            raise MalformedError("no request line")
        return held

    def _refuse_hopeless(self, held: bytes, checked: int) -> None:
        """Refuse now what would be refused once its end is there, which may never come."""
        if held[: len(self._opening)] != self._opening[: len(held)]:
            raise MalformedError("this is not HTTP/1")
        if held.count(b"\n", checked) != held.count(_CRLF, max(0, checked - 1)) or _has_control(held[:1]):
            raise MalformedError("a line ends without CR, or this is not HTTP/1")
        self._refuse_long(held, len(held))

    def _refuse_long(self, held: bytes, size: int) -> None:
        limit = self._line_bytes_max
        if limit is not None and size > limit and not 0 <= held.find(_CRLF, 0, limit + len(_CRLF)) <= limit:
            raise TargetTooLongError(f"the request line is longer than {limit} bytes")
        if size > self._bytes_max:
            raise HeadTooLargeError(f"the head is longer than {self._bytes_max} bytes")


def _has_control(first: bytes) -> bool:
    return first < b"\x20" and first not in {b"", b"\r"}
