"""The parent's switch: what a worker asks of its peers is passed on to them, and their answers back.

A worker that is being replaced is waited for by who needs it in person; what is asked of all is asked of those there
are: whoever starts later reads from the journal what was durable by then.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sidecar.errors import JournalUnavailableError
from sidecar.workers.link import LinkLostError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sidecar.workers.link import Link, Message

ANSWER_S: Final = 10.0
"""How long an answer may take, the replacement of a crashed worker included."""


class Switch:
    """The links to the workers that are there, by their numbers."""

    def __init__(self) -> None:
        self._links: dict[int, Link] = {}
        self._changed = asyncio.Condition()

    async def plug_in(self, number: int, link: Link) -> None:
        """Have a worker take part."""
        self._links[number] = link
        async with self._changed:
            self._changed.notify_all()

    def unplug(self, number: int, link: Link) -> None:
        """Have a worker take part no longer."""
        if self._links.get(number) is link:
            del self._links[number]

    @property
    def numbers(self) -> Iterable[int]:
        """The workers that are there."""
        return tuple(self._links)

    async def ask_one(self, number: int, message: Message) -> Message:
        """Ask a worker, or its replacement. Raises JournalUnavailableError where neither answers in time."""
        try:
            async with asyncio.timeout(ANSWER_S):
                while True:
                    link = await self._link(number)
                    try:
                        return await link.ask(message)
                    except LinkLostError:
                        self.unplug(number, link)
        except TimeoutError:
            raise JournalUnavailableError(f"worker {number} does not answer") from None

    async def ask_all(self, message: Message, *, but: int | None = None) -> list[Message]:
        """Ask all workers that are there, but for one; give their answers. Raises JournalUnavailableError."""
        return list((await self.ask_each(message, but=but)).values())

    async def ask_each(self, message: Message, *, but: int | None = None) -> dict[int, Message]:
        """Ask all workers that are there, but for one; give the answer of each. Raises JournalUnavailableError."""
        asked = {number: link for number, link in self._links.items() if number != but}
        answers = await asyncio.gather(*(self._ask_if_there(number, link, message) for number, link in asked.items()))
        return {number: answer for number, answer in zip(asked, answers, strict=True) if answer is not None}

    def tell_all(self, message: Message, *, but: int | None = None) -> None:
        """Tell all workers that are there, but for one."""
        for number, link in self._links.items():
            if number != but:
                link.tell(message)

    async def _link(self, number: int) -> Link:
        async with self._changed:
            await self._changed.wait_for(lambda: number in self._links)
        return self._links[number]

    async def _ask_if_there(self, number: int, link: Link, message: Message) -> Message | None:
        """Ask a worker; None where it is gone, and with it whatever it might have told."""
        try:
            async with asyncio.timeout(ANSWER_S):
                return await link.ask(message)
        except LinkLostError:
            return None
        except TimeoutError:
            raise JournalUnavailableError(f"worker {number} does not answer") from None
