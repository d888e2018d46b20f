"""What one client saw of one chat. Times are seconds since the epoch, by the clock of this machine."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from multidict import CIMultiDict

if TYPE_CHECKING:
    from collections.abc import Mapping

BODY_BYTES_MAX: Final = 65_536
"""So much of an answer is kept, to look for ids in it."""


class Deed(StrEnum):
    """What the client does with its chat."""

    READ = "reads to the end"
    CLOSE = "leaves mid-answer (FIN)"
    RESET = "leaves mid-answer (RST)"
    HURRY = "leaves before the first byte"
    CANCEL = "says cancel"
    WATCH = "watches the cancel call"


@dataclass(slots=True, kw_only=True)
class Visit:
    """A chat, from its client's side. What has not happened is None."""

    deed: Deed
    request_id: str
    sent_at: float
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=CIMultiDict)
    head_at: float | None = None
    first_at: float | None = None
    begun: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    """Set with the answer's first piece."""
    last_at: float | None = None
    pieces: int = 0
    body: bytearray = field(default_factory=bytearray)
    ended_at: float | None = None
    """When the answer was whole."""
    left_at: float | None = None
    reused: bool | None = None
    """Whether it used a connection that an earlier one had left open."""
    error: str | None = None
    """Why there is no answer, or not the whole of it."""
    cancel_status: int | None = None
    """How the cancel endpoint answered."""
    cancel_said: str | None = None

    @property
    def answered(self) -> bool:
        """Whether the chat was answered with success."""
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004  (RFC 9110, 15.3)

    @property
    def shown_id(self) -> str | None:
        """The request id that the answer names."""
        return self.headers.get("X-Request-Id")

    def take(self, piece: bytes, at: float) -> None:
        """Note a piece of the answer's body."""
        self.first_at = self.first_at or at
        self.begun.set()
        self.last_at = at
        self.pieces += 1
        self.body += piece[: BODY_BYTES_MAX - len(self.body)]
