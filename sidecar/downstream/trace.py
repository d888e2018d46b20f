"""The span of an exchange: a part of whatever trace its client is in, and the parent of what is done for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.downstream.routes import path_of
from sidecar.downstream.tally import DOWNSTREAM_LEFT
from sidecar.wire.fields import with_fields, without

if TYPE_CHECKING:
    from contextvars import Context

    from sidecar.downstream.request import Request
    from sidecar.downstream.tally import Tally
    from sidecar.telemetry.spans import Tracer
    from sidecar.turn.state import Turn
    from sidecar.wire.fields import Field

TRACEPARENT: Final = b"traceparent"
TRACESTATE: Final = b"tracestate"
SERVER_ERROR: Final = 500


class ExchangeTrace:
    """An exchange's span, from when its request was read until it is over."""

    def __init__(self, tracer: Tracer, request: Request, *, scheme: str) -> None:
        came = request.fields.values(TRACEPARENT)
        parent = came[0].decode("latin-1") if len(came) == 1 else None
        state = b",".join(request.fields.values(TRACESTATE)).decode("latin-1")
        self._span = tracer.serve(parent, state or None)
        self._request = request
        self._scheme = scheme
        self.traceparent = self._span.traceparent

    @property
    def context(self) -> Context:
        """Where admin calls are parts of the exchange."""
        return self._span.context

    def onward(self, fields: list[Field]) -> list[Field]:
        """Give a request's fields as the upstream is sent them: as a part of the exchange."""
        kept = fields if self._span.joined else without(fields, TRACESTATE)  # which belongs to another trace
        return with_fields(kept, [(TRACEPARENT, self.traceparent.encode())])

    def end(self, tally: Tally, route: str | None, turn: Turn | None, *, now: float) -> None:
        """End the span: the attributes are OpenTelemetry's for HTTP, and those of the canonical line."""
        method = self._request.method
        attributes: dict[str, str | int | float | bool] = {
            "http.request.method": method,
            "url.scheme": self._scheme,
            "url.path": path_of(self._request.target),
            "sidecar.duration_ms": round((now - tally.began_at) * 1000, 1),
        }
        known = {
            "http.route": route,
            "http.response.status_code": tally.status if tally.status not in {0, DOWNSTREAM_LEFT} else None,
            "sidecar.head_ms": round((tally.head_at - tally.began_at) * 1000, 1) if tally.head_at else None,
            "sidecar.request_id": tally.request_id,
            "sidecar.cause": (turn.cause if turn is not None else None) or tally.cause,
            "sidecar.turn": turn.id if turn is not None else None,
            "sidecar.state": turn.state if turn is not None else None,
            "sidecar.conversation_id": turn.conversation_id if turn is not None else None,
        }
        attributes |= {name: value for name, value in known.items() if value is not None}
        error = tally.failure or (str(tally.status) if tally.status >= SERVER_ERROR else None)
        self._span.end(f"{method} {route}" if route else method, attributes, error=error)


def trace_of(tracer: Tracer | None, request: Request, *, scheme: str) -> ExchangeTrace | None:
    """Begin an exchange's span, where traces are wanted."""
    return None if tracer is None else ExchangeTrace(tracer, request, scheme=scheme)
