"""The admin API as it is configured now: a reload brings another client, and calls under way end on the old one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.engine.ports import CallOutcome
    from sidecar.turn.state import StepKind, Turn
    from sidecar.upstream.admin import AdminClient


@dataclass(eq=False, slots=True)
class _Counted:
    """A client, and how many calls are under way on it."""

    client: AdminClient
    calls: int = 0


class AdminNow:
    """The engine's AdminApi. It owns the clients that it is given, each from its start on."""

    def __init__(self, client: AdminClient) -> None:
        """Begin with a client that was started."""
        self._now = _Counted(client)

    async def use(self, client: AdminClient) -> None:
        """Make calls from now on with another client, which was started; the old one closes after its last call."""
        before, self._now = self._now, _Counted(client)
        if not before.calls:
            await before.client.close()

    async def close(self) -> None:
        """Close the client. Harmless when done twice."""
        await self._now.client.close()

    async def call(self, kind: StepKind, turn: Turn, *, idempotency_key: str) -> CallOutcome:
        """Make a step's call once. Never raises for what the peer does: a failure is an outcome."""
        counted = self._begin()
        try:
            return await counted.client.call(kind, turn, idempotency_key=idempotency_key)
        finally:
            await self._end(counted)

    async def shows(self, captured: Mapping[str, str], *, traceparent: str | None = None) -> bool | None:
        """Ask (`admin.verify`) whether the upstream shows the conversation; None where it cannot be told."""
        counted = self._begin()
        try:
            return await counted.client.shows(captured, traceparent=traceparent)
        finally:
            await self._end(counted)

    def _begin(self) -> _Counted:
        self._now.calls += 1
        return self._now

    async def _end(self, counted: _Counted) -> None:
        counted.calls -= 1
        if counted is not self._now and not counted.calls:
            await counted.client.close()
