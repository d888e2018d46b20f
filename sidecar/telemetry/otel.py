"""The tracer, by OpenTelemetry's SDK: spans are recorded here, and sent in batches by a thread of the SDK's.

It is the only file that imports the SDK, which is an extra. What cannot be sent is lost, and told in a line.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from typing import TYPE_CHECKING, Final

import structlog
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.sampling import SamplingResult
    from opentelemetry.util.types import AttributeValue

    from sidecar.telemetry.spans import Attributes

EXPORT_TIMEOUT_S: Final = 5.0
_W3C: Final = TraceContextTextMapPropagator()

log = structlog.get_logger()


class OtelTracer:
    """A Tracer that gives its spans to an exporter."""

    def __init__(self, exporter: SpanExporter, *, service_name: str, sample_ratio: float) -> None:
        self._sampler = _Adjustable(sample_ratio)
        self._provider = TracerProvider(
            sampler=ParentBased(self._sampler),  # who began a trace has decided
            resource=Resource.create({SERVICE_NAME: service_name}),
            shutdown_on_exit=False,  # `close` does it, in its time
        )
        self._provider.add_span_processor(BatchSpanProcessor(_Plain(exporter)))
        self._tracer = self._provider.get_tracer("cancel-sidecar")

    @classmethod
    def to(cls, endpoint: str, headers: Mapping[str, str], *, service_name: str, sample_ratio: float) -> OtelTracer:
        """Make one that sends to a collector (OTLP over HTTP)."""
        logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)  # we tell it, once for each batch
        exporter = OTLPSpanExporter(endpoint, headers=dict(headers), timeout=EXPORT_TIMEOUT_S)
        return cls(exporter, service_name=service_name, sample_ratio=sample_ratio)

    def serve(self, traceparent: str | None, tracestate: str | None) -> OtelSpan:
        """Begin what somebody asked for, who may have sent a context along."""
        parent = _context_of(traceparent, tracestate)
        return self._begin(trace.SpanKind.SERVER, parent)

    def call(self, traceparent: str | None) -> OtelSpan:
        """Begin a call to somebody else, as a part of that span; without one, of the current one, if there is any."""
        parent = _context_of(traceparent, None) if traceparent is not None else otel_context.get_current()
        return self._begin(trace.SpanKind.CLIENT, parent)

    def sample(self, ratio: float) -> None:
        """Record that part of the traces that begin here."""
        self._sampler.use(ratio)

    async def close(self) -> None:
        """Send what has ended by now, then record nothing more."""
        await asyncio.to_thread(self._provider.shutdown)

    def _begin(self, kind: trace.SpanKind, parent: Context) -> OtelSpan:
        joined = trace.get_current_span(parent).get_span_context().is_valid
        return OtelSpan(self._tracer.start_span("unnamed", context=parent, kind=kind), parent, joined=joined)


class OtelSpan:
    """A Span. It is named when it ends: only then is it known what it was."""

    def __init__(self, span: trace.Span, parent: Context, *, joined: bool) -> None:
        self.joined = joined
        self._span = span
        self._inside = trace.set_span_in_context(span, parent)

    @property
    def traceparent(self) -> str:
        """What whoever does a part of it is told."""
        carrier: dict[str, str] = {}
        _W3C.inject(carrier, self._inside)
        return carrier["traceparent"]

    @property
    def context(self) -> contextvars.Context:
        """Where it is the current span."""
        context = contextvars.copy_context()
        context.run(otel_context.attach, self._inside)
        return context

    def end(self, name: str, attributes: Attributes, *, error: str | None = None) -> None:
        """End it."""
        if self._span.is_recording():
            self._span.update_name(name)
            self._span.set_attributes(attributes)
            if error is not None:
                self._span.set_status(trace.Status(trace.StatusCode.ERROR, error))
        self._span.end()


class _Adjustable(Sampler):
    """Takes a part of the traces that begin here; which part may be changed."""

    def __init__(self, ratio: float) -> None:
        self.use(ratio)

    def use(self, ratio: float) -> None:
        self._sampler = TraceIdRatioBased(ratio)

    def should_sample(  # noqa: PLR0917  (the SDK's signature)
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: trace.SpanKind | None = None,
        attributes: Mapping[str, AttributeValue] | None = None,
        links: Sequence[trace.Link] | None = None,
        trace_state: trace.TraceState | None = None,
    ) -> SamplingResult:
        return self._sampler.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        return "a part of those that begin here"


class _Plain(SpanExporter):
    """Tells of what could not be sent in a line, where the SDK would show a traceback."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        error = None
        try:
            result = self._exporter.export(spans)
        except Exception as raised:  # noqa: BLE001  (whatever the library raises, it concerns nobody else)
            result, error = SpanExportResult.FAILURE, type(raised).__name__
        if result is not SpanExportResult.SUCCESS:
            log.warning("spans_lost", spans=len(spans), error=error)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


def _context_of(traceparent: str | None, tracestate: str | None) -> Context:
    """Give the context that was sent along; an empty one where none was, or one that is malformed."""
    sent = {"traceparent": traceparent, "tracestate": tracestate}
    carrier = {name: value for name, value in sent.items() if value is not None}
    return _W3C.extract(carrier, otel_context.Context())
