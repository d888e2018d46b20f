"""What the sidecar needs of a tracer, as Protocols: `otel` implements them, where it is installed and asked for.

client --traceparent--> span of the exchange --traceparent--> upstream
                                             --journalled with the turn--> span of each admin call, now or after a crash
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextvars import Context

    Attributes: TypeAlias = Mapping[str, str | int | float | bool]


class Span(Protocol):
    """Something that takes time, as a part of a trace."""

    @property
    def traceparent(self) -> str:
        """What whoever does a part of it is told (W3C Trace Context, 3.2)."""

    @property
    def joined(self) -> bool:
        """Whether it is a part of a trace that began elsewhere."""

    @property
    def context(self) -> Context:
        """Where it is the current span: calls that are made there are parts of it."""

    def end(self, name: str, attributes: Attributes, *, error: str | None = None) -> None:
        """End it, now that it is known what it was; `error` says in a word why it failed, if it did."""


class Tracer(Protocol):
    """Begins spans."""

    def serve(self, traceparent: str | None, tracestate: str | None) -> Span:
        """Begin what somebody asked for, who may have sent a context along."""

    def call(self, traceparent: str | None) -> Span:
        """Begin a call to somebody else, as a part of that span; without one, of the current one, if there is any."""

    def sample(self, ratio: float) -> None:
        """Record that part of the traces that begin here; those that began elsewhere bring their own decision."""

    async def close(self) -> None:
        """Send what has ended by now, then record nothing more."""
