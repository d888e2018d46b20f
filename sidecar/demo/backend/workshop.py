"""Where all generations live, apart from the requests that asked for them; and the means to wait for what they do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sidecar.demo.backend.generation import Generation

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.demo.backend.generation import GenerationRecord
    from sidecar.demo.backend.knobs import BackendKnobs
    from sidecar.demo.backend.store import Question, Store

WAIT_S: Final = 5.0


class Workshop:
    """Begins and stops generations. `records` is by request id; a request id that comes twice keeps its last one."""

    def __init__(self, knobs: BackendKnobs, store: Store) -> None:
        self.knobs = knobs
        self.store = store
        self.records: dict[str, GenerationRecord] = {}
        self.questions: list[str] = []
        """The request ids of all questions, in the order in which they came."""
        self._running: dict[asyncio.Task[None], Generation] = {}
        self._generations: dict[str, Generation] = {}
        self._change = asyncio.Event()

    @property
    def quiet(self) -> bool:
        """Nothing is being generated."""
        return not self._running

    def begin(self, question: Question, knobs: BackendKnobs) -> Generation:
        """Begin a generation that needs nobody any more."""
        generation = Generation(question, knobs, self.store, self.changed)
        self.questions.append(question.request_id)
        self.records[question.request_id] = generation.record
        self._generations[question.request_id] = generation
        task = asyncio.create_task(generation.run(), name=f"generation {question.request_id}")
        self._running[task] = generation
        task.add_done_callback(self._ended)
        return generation

    def generation(self, request_id: str) -> Generation | None:
        """Give the generation of a request."""
        return self._generations.get(request_id)

    def generations_in(self, conversation_id: str) -> tuple[Generation, ...]:
        """Give what is being generated in a conversation, by its temporary id too."""
        return tuple(
            generation
            for generation in self._running.values()
            if conversation_id in {generation.question.conversation_id, generation.question.temp_id}
        )

    def changed(self) -> None:
        """Wake those who wait for something to be true."""
        self._change.set()
        self._change = asyncio.Event()

    async def until(self, predicate: Callable[[], object], timeout_s: float = WAIT_S) -> None:
        """Wait until something is true, looked at again after each change. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while not predicate():
                await self._change.wait()

    async def close(self) -> None:
        """Break off everything."""
        for generation in self._running.values():
            generation.shut()
        await asyncio.gather(*self._running)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self.changed()
