"""One answer in the making: it goes on to its end whether or not anyone reads it; only `stop` ends it sooner.

It hands its pieces to a queue that may be read or not. Where the backend saves late, not even `stop` stops the work.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, TypeAlias

from sidecar.demo.backend import frames

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.demo.backend.knobs import BackendKnobs
    from sidecar.demo.backend.store import Question, Store


@dataclass(slots=True, kw_only=True)
class GenerationRecord:
    """What became of a request's generation. `connection_closed_at` is on the monotonic clock, in seconds."""

    request_id: str
    conversation_id: str
    words: int
    heard: bool = False
    """The question is saved: from here on there is a ghost to be had."""
    words_made: int = 0
    finished: bool = False
    """The whole answer was made and saved."""
    cancelled: bool = False
    """The admin API asked for it to be stopped."""
    connection_closed_at: float | None = None
    """When the reader's connection closed, where that was before the answer's end."""


class Mark(Enum):
    """A piece of an answer that is no bytes."""

    HEAD = auto()
    """The head may be sent; always the first, unless the connection is cut or left before."""
    END = auto()
    """The body ends."""
    CUT = auto()
    """The connection breaks off on our side."""
    LEFT = auto()
    """The reader's connection is closed."""


Piece: TypeAlias = bytes | Mark


class Generation:
    """A generation and the queue of its pieces."""

    def __init__(self, question: Question, knobs: BackendKnobs, store: Store, changed: Callable[[], None]) -> None:
        self.question = question
        self.knobs = knobs
        self.pieces: asyncio.Queue[Piece] = asyncio.Queue()
        self.record = GenerationRecord(
            request_id=question.request_id, conversation_id=question.first_id, words=knobs.words
        )
        self._store = store
        self._changed = changed
        self._stopped = asyncio.Event()
        self._over = asyncio.Event()

    async def run(self) -> None:
        """Take the question, make the words, save the answer."""
        try:
            await self._store.take(self.question)
            self.record.heard = True
            self._changed()
            if not await self._rest(self.knobs.think_s):
                self._open()
                await self._make_words()
            if not self._stopped.is_set():
                await self._finish()
            self._close()
        finally:
            self._over.set()
            self._changed()

    def stop(self) -> bool:
        """Stop for good at the next opportunity; False where it was stopped before, or is over."""
        if self.record.cancelled or self._over.is_set():
            return False
        self.record.cancelled = True
        if not self.knobs.saves_late:
            self._stopped.set()
        return True

    def shut(self) -> None:
        """Break off: the backend itself goes down."""
        self.pieces.put_nowait(Mark.CUT)
        self._stopped.set()

    async def settled(self) -> None:
        """Wait until a stop has taken effect, so that nothing more is saved; at once where it never will."""
        if self._stopped.is_set():
            await self._over.wait()

    def reader_left(self) -> None:
        """Take note that the reader's connection is closed, and go on."""
        if self.record.connection_closed_at is None:
            self.record.connection_closed_at = time.monotonic()
        self.pieces.put_nowait(Mark.LEFT)
        self._changed()

    def _open(self) -> None:
        self.pieces.put_nowait(Mark.HEAD)
        if self.question.temp_id is not None:
            self._note({"temp_conversation_id": self.question.temp_id})
        elif self.knobs.id_in == "stream":
            self._note({"conversation_id": self.question.conversation_id})

    def _note(self, note: dict[str, str]) -> None:
        self.pieces.put_nowait(frames.opening_note(self.knobs, note))

    async def _make_words(self) -> None:
        """Make all words, unless stopped."""
        await self._mishap(after=0)
        for made, word in enumerate(frames.words_of_answer(self.knobs.words)):
            if self._stopped.is_set() or (made and await self._rest(self.knobs.word_s)):
                return
            self.pieces.put_nowait(frames.word_frame(self.knobs, word))
            self.record.words_made += 1
            self._changed()
            await self._mishap(after=self.record.words_made)

    async def _mishap(self, *, after: int) -> None:
        """Have the accident that the knobs ask for after so many words."""
        if self.knobs.die_after == after:
            self.pieces.put_nowait(Mark.CUT)
        if self.knobs.stall_after == after:
            await self._stopped.wait()

    async def _finish(self) -> None:
        text = "".join(frames.words_of_answer(self.knobs.words))
        await self._store.save_answer(self.question, text)
        self.record.conversation_id = self.question.conversation_id
        self.record.finished = True

    def _close(self) -> None:
        if self._stopped.is_set():
            self.pieces.put_nowait(Mark.HEAD)
        else:
            self._say_whole()
        self.pieces.put_nowait(Mark.END)

    def _say_whole(self) -> None:
        if self.question.temp_id is not None:
            note = {"final_conversation_id": self.question.conversation_id}
            self.pieces.put_nowait(frames.closing_note(self.knobs, note))
        self.pieces.put_nowait(frames.terminal_frame(self.knobs))

    async def _rest(self, seconds: float) -> bool:
        """Let time pass; True as soon as stopped."""
        try:
            async with asyncio.timeout(seconds):
                return await self._stopped.wait()
        except TimeoutError:
            return False
