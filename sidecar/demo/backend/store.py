"""The backend's own database: conversations and their messages, in SQLite.

The conversation is there as soon as the question is in: abandoned, that row is the ghost. Its answer is saved when it
is whole, and makes the conversation `active`.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import aiosqlite

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_SCHEMA: Final = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
PRAGMA foreign_keys = ON;
CREATE TABLE IF NOT EXISTS conversations (
  id           TEXT PRIMARY KEY,
  temp_id      TEXT,                 -- the id it had while it was temporary
  user         TEXT NOT NULL,
  status       TEXT NOT NULL CHECK (status IN ('temp', 'active')),
  created_at   REAL NOT NULL,        -- seconds since the epoch
  confirmed_at REAL,
  title        TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS conversations_by_status ON conversations (status, created_at);
CREATE INDEX IF NOT EXISTS conversations_by_temp_id ON conversations (temp_id);
CREATE TABLE IF NOT EXISTS messages (
  id              INTEGER PRIMARY KEY,
  conversation_id TEXT NOT NULL REFERENCES conversations (id) ON UPDATE CASCADE ON DELETE CASCADE,
  role            TEXT NOT NULL,
  text            TEXT NOT NULL,
  request_id      TEXT NOT NULL,
  complete        INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS messages_by_conversation ON messages (conversation_id);
"""
_INSERT_CONVERSATION: Final = """
INSERT INTO conversations (id, temp_id, user, status, created_at, title) VALUES (?, ?, ?, 'temp', ?, ?)
ON CONFLICT (id) DO NOTHING
"""
_INSERT_MESSAGE: Final = """
INSERT INTO messages (conversation_id, role, text, request_id, complete) VALUES (?, ?, ?, ?, 1)
"""
_ACTIVATE: Final = """
UPDATE conversations SET id = ?, status = 'active', confirmed_at = coalesce(confirmed_at, ?) WHERE id = ?
"""
_CONFIRM: Final = """
UPDATE conversations SET status = 'active', confirmed_at = coalesce(confirmed_at, ?2) WHERE id = ?1 OR temp_id = ?1
"""
_DELETE_TURN: Final = """
DELETE FROM messages WHERE request_id = ?2
AND conversation_id = (SELECT id FROM conversations WHERE id = ?1 OR temp_id = ?1)
"""
_TITLE_CHARS_MAX: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A user's message. `temp_id` is set where its conversation starts under that id (M6); it then ends as `id`."""

    request_id: str
    conversation_id: str
    temp_id: str | None
    user: str
    text: str

    @property
    def first_id(self) -> str:
        """The id under which the conversation begins."""
        return self.temp_id or self.conversation_id


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptConversation:
    """A conversation as the database holds it: `words` are those of its saved answers."""

    id: str
    status: str
    request_ids: frozenset[str]
    words: int


def read_database(path: Path) -> tuple[KeptConversation, ...]:
    """Read what the database holds, past the backend: in the order of creation."""
    with closing(sqlite3.connect(path)) as database:
        messages = database.execute("SELECT conversation_id, role, text, request_id FROM messages").fetchall()
        return tuple(
            KeptConversation(
                id=id_,
                status=status,
                request_ids=frozenset(request_id for owner, _, _, request_id in messages if owner == id_),
                words=sum(
                    len(text.split()) for owner, role, text, _ in messages if (owner, role) == (id_, "assistant")
                ),
            )
            for id_, status in database.execute("SELECT id, status FROM conversations ORDER BY created_at, id")
        )


class Store:
    """The database, opened. All writes pass one lock, so that no statement falls into another's transaction."""

    def __init__(self, database: aiosqlite.Connection) -> None:
        self._database = database
        self._writing = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path) -> AsyncIterator[Self]:
        """Open the database, made anew where there is none; close it at the end."""
        async with aiosqlite.connect(path, isolation_level=None) as database:
            database.row_factory = sqlite3.Row
            await database.executescript(_SCHEMA)
            yield cls(database)

    async def take(self, question: Question) -> None:
        """Save a question, and its conversation where that is new."""
        async with self._transaction():
            await self._begin_conversation(question)
            await self._database.execute(
                _INSERT_MESSAGE, (question.first_id, "user", question.text, question.request_id)
            )

    async def save_answer(self, question: Question, text: str) -> None:
        """Save an answer and activate its conversation; one that was deleted meanwhile comes back with it."""
        async with self._transaction():
            await self._begin_conversation(question)
            await self._database.execute(_INSERT_MESSAGE, (question.first_id, "assistant", text, question.request_id))
            await self._database.execute(_ACTIVATE, (question.conversation_id, time.time(), question.first_id))

    async def confirm(self, conversation_id: str) -> bool:
        """Activate a conversation; False where there is none."""
        return await self._change(_CONFIRM, conversation_id, time.time())

    async def delete(self, conversation_id: str) -> bool:
        """Delete a conversation with its messages; False where there is none. Its temporary id does as well."""
        return await self._change("DELETE FROM conversations WHERE id = ?1 OR temp_id = ?1", conversation_id)

    async def delete_turn(self, conversation_id: str, request_id: str) -> bool:
        """Delete a turn's messages from a conversation that stays; False where there are none."""
        return await self._change(_DELETE_TURN, conversation_id, request_id)

    async def conversation(self, conversation_id: str) -> dict[str, Any] | None:
        """Give a conversation's row with its messages' rows under `messages`; None where there is none."""
        found = await self._rows("SELECT * FROM conversations WHERE id = ?1 OR temp_id = ?1", conversation_id)
        if not found:
            return None
        messages = await self._rows("SELECT * FROM messages WHERE conversation_id = ? ORDER BY id", found[0]["id"])
        return {**found[0], "messages": messages}

    async def conversations(self, user: str) -> list[dict[str, Any]]:
        """Give the rows of a user's conversations, newest first."""
        return await self._rows("SELECT * FROM conversations WHERE user = ? ORDER BY created_at DESC", user)

    async def _begin_conversation(self, question: Question) -> None:
        title = question.text[:_TITLE_CHARS_MAX]
        row = (question.first_id, question.temp_id, question.user, time.time(), title)
        await self._database.execute(_INSERT_CONVERSATION, row)

    async def _rows(self, sql: str, *values: object) -> list[dict[str, Any]]:
        async with self._database.execute(sql, values) as cursor:
            return [dict(row) for row in await cursor.fetchall()]

    async def _change(self, sql: str, *values: object) -> bool:
        async with self._writing, self._database.execute(sql, values) as cursor:
            return cursor.rowcount > 0

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[None]:
        async with self._writing:
            await self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                await self._database.rollback()
                raise
            await self._database.commit()
