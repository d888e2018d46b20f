"""A sidecar as `sidecar run` runs it, between a scripted upstream, an admin API, and raw clients."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from structlog.testing import capture_logs

from sidecar.app import Sidecar
from sidecar.config import load_table
from tests.fakes.admin import AdminFake
from tests.fakes.downstream import Downstream
from tests.fakes.upstream import Upstream
from tests.fakes.waiting import AT_ONCE_S, DEADLINE_S, eventually, loop_turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, MutableMapping
    from pathlib import Path

    from structlog.typing import EventDict

Section = dict[str, Any]


@dataclass
class Scene:
    """A running sidecar and its surroundings."""

    sidecar: Sidecar
    upstream: Upstream
    admin: AdminFake
    journal_path: Path
    logs: list[MutableMapping[str, Any]]
    clients: list[Downstream] = field(default_factory=list)
    expected_errors: set[str] = field(default_factory=set)
    """What may be logged as an error, since the test brings it about."""

    async def client(self, *, small_buffer: bool = False) -> Downstream:
        """Connect a client."""
        client = await Downstream.connect(self.sidecar.url, small_buffer=small_buffer)
        self.clients.append(client)
        return client

    def turns(self) -> list[dict[str, Any]]:
        """Read the turns from the journal's file, past the sidecar, oldest first."""
        return self._rows("SELECT * FROM turns ORDER BY id")

    def steps(self) -> list[dict[str, Any]]:
        """Read the outbox from the journal's file."""
        return self._rows("SELECT * FROM outbox ORDER BY id")

    async def turn_in(self, state: str, timeout_s: float = DEADLINE_S) -> dict[str, Any]:
        """Wait until there is one turn and it is durably in that state; give its row."""

        def look() -> dict[str, Any] | None:
            turns = self.turns()
            return turns[0] if [turn["state"] for turn in turns] == [state] else None

        try:
            return await eventually(look, timeout_s)
        except TimeoutError:
            raise AssertionError(f"not {state}: {self.turns()}, logged: {self.logs}") from None

    async def exchange_line(self, number: int = 0) -> EventDict:
        """Wait for the canonical line of an exchange."""
        return (await eventually(lambda: self.exchange_lines()[number:]))[0]

    def exchange_lines(self) -> list[EventDict]:
        """Give the canonical lines so far."""
        return [line for line in self.logs if line["event"] == "exchange"]

    async def upstream_is_left_alone(self) -> None:
        """Make sure that the upstream hears of nothing: what goes there goes at once."""
        await loop_turns()
        assert self.upstream.nobody_came()

    @asynccontextmanager
    async def journal_locked(self) -> AsyncIterator[None]:
        """Lock the journal's file against writing by anyone else."""
        with closing(sqlite3.connect(self.journal_path, isolation_level=None, timeout=0)) as other:

            def lock() -> bool:
                with suppress(sqlite3.OperationalError):  # the sidecar is writing
                    other.execute("BEGIN IMMEDIATE")
                return other.in_transaction

            await eventually(lock)
            yield

    def _rows(self, query: str) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(f"file:{self.journal_path}?mode=ro", uri=True)) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(query)]


@contextmanager
def no_complaints() -> Iterator[None]:
    """Make sure that the libraries log nothing from warnings up: no traceback, no task that nobody asked after."""
    records: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(self.format(record))

    handler = Handler(logging.WARNING)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
    assert not records, "\n".join(records)


@asynccontextmanager
async def scene(
    path: Path,
    *,
    chat: Section | Iterable[Section] = (),
    guard: Iterable[Section] = (),
    upstream_small_buffer: bool = False,
    **sections: Section,
) -> AsyncIterator[Scene]:
    """Run a sidecar with its journal under `path`. `chat` is one `[[chat]]` or several, `sections` the other tables."""
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(Upstream.listening(small_buffer=upstream_small_buffer))
        admin = await stack.enter_async_context(AdminFake.listening())
        stack.enter_context(no_complaints())
        logs: list[Any] = stack.enter_context(capture_logs())
        journal_path = path / "sidecar.db"
        chats = [chat] if isinstance(chat, dict) else list(chat)
        base: Mapping[str, Section] = {
            "listen": {"address": "127.0.0.1:0", "shutdown_grace_s": 0},
            "upstream": {"url": upstream.url},
            "admin": {"url": admin.url, "backoff_first_s": 0.01},
            "journal": {"path": str(journal_path)},
            "console": {"address": "off"},
        }
        table = {name: {**values, **sections.pop(name, {})} for name, values in base.items()}
        arrays = {"guard": list(guard), **({"chat": chats} if chats else {})}
        settings = load_table({**table, **sections, **arrays}, {})
        sidecar = await stack.enter_async_context(Sidecar.start(settings))
        running = Scene(sidecar, upstream, admin, journal_path, logs)
        try:
            yield running
        finally:
            for end in (*running.clients, *upstream.taken):
                end.close()
            await asyncio.sleep(0)
            complaints = [line for line in logs if line["log_level"] in {"error", "critical"}]
            assert {line["event"] for line in complaints} <= running.expected_errors, logs


__all__ = ["AT_ONCE_S", "Scene", "scene"]
