"""The admin API with a span for each call: a part of its turn's trace, also when it is made much later."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sidecar.engine.ports import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.engine.ports import AdminApi, CallOutcome
    from sidecar.telemetry.spans import Tracer
    from sidecar.turn.state import StepKind, Turn


class TracedAdmin:
    """The engine's AdminApi, before another one. The upstream is told of the call's own span."""

    def __init__(self, admin: AdminApi, tracer: Tracer) -> None:
        self._admin = admin
        self._tracer = tracer

    async def call(self, kind: StepKind, turn: Turn, *, idempotency_key: str) -> CallOutcome:
        """Make a step's call once. Never raises for what the peer does: a failure is an outcome."""
        span = self._tracer.call(turn.traceparent)
        told = {"sidecar.turn": turn.id, "sidecar.request_id": turn.request_id, "sidecar.step": kind.value}
        name, outcome = f"admin.{kind}", None
        try:
            outcome = await self._admin.call(
                kind, replace(turn, traceparent=span.traceparent), idempotency_key=idempotency_key
            )
        finally:
            if outcome is None:
                span.end(name, told, error="given up")
            else:
                status = {} if outcome.status is None else {"http.response.status_code": outcome.status}
                failed = outcome.error if outcome.verdict is Verdict.FAILED else None
                span.end(name, {**told, **status, "sidecar.verdict": outcome.verdict.value}, error=failed)
        return outcome

    async def shows(self, captured: Mapping[str, str], *, traceparent: str | None = None) -> bool | None:
        """Ask (`admin.verify`) whether the upstream shows the conversation; None where it cannot be told."""
        span, shown = self._tracer.call(traceparent), None
        try:
            shown = await self._admin.shows(captured, traceparent=span.traceparent)
        finally:
            answer = "unknown" if shown is None else "shown" if shown else "not shown"
            span.end("admin.verify", {"sidecar.verdict": answer})
        return shown
