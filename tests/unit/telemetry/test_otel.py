"""The tracer by OpenTelemetry: whose part a span is, who decides that it is recorded, and what is sent on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.testing import capture_logs

from sidecar.telemetry.otel import OtelTracer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{PARENT}-01"
SAMPLED_FLAG = 1
NOT_SAMPLED = f"00-{TRACE}-{PARENT}-00"


class Recorder:
    """A tracer, and what it has recorded once it is closed."""

    def __init__(self, sample_ratio: float = 1.0) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracer = OtelTracer(self.exporter, service_name="test", sample_ratio=sample_ratio)

    async def spans(self) -> dict[str, ReadableSpan]:
        await self.tracer.close()
        return {span.name: span for span in self.exporter.get_finished_spans()}


def ids(span: ReadableSpan) -> tuple[str, str | None]:
    """Give a span's trace, and its parent."""
    own, parent = span.get_span_context(), span.parent
    assert own is not None
    return f"{own.trace_id:032x}", f"{parent.span_id:016x}" if parent else None


async def test_what_is_done_for_a_client_is_a_part_of_its_trace() -> None:
    recorder = Recorder()
    served = recorder.tracer.serve(SAMPLED, "vendor=1")
    assert served.joined
    version, trace_id, span_id, flags = served.traceparent.split("-")
    assert (version, trace_id, flags) == ("00", TRACE, "01")
    assert span_id != PARENT
    call = recorder.tracer.call(served.traceparent)
    call.end("call", {"a": 1}, error="answered 500")
    served.end("served", {"b": "two"})
    spans = await recorder.spans()
    assert ids(spans["served"]) == (TRACE, PARENT)
    assert ids(spans["call"]) == (TRACE, span_id)
    assert (spans["served"].kind.name, spans["call"].kind.name) == ("SERVER", "CLIENT")
    assert (spans["call"].status.description, spans["served"].status.is_ok) == ("answered 500", True)
    assert dict(spans["served"].attributes or {}) == {"b": "two"}
    assert spans["served"].resource.attributes["service.name"] == "test"


@pytest.mark.parametrize(
    "traceparent",
    [None, "", "junk", f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{'0' * 16}-01", f"ff-{TRACE}-{PARENT}-01"],
)
async def test_without_a_context_that_can_be_read_a_trace_begins_here(traceparent: str | None) -> None:
    recorder = Recorder()
    span = recorder.tracer.serve(traceparent, "vendor=1")
    assert not span.joined
    span.end("root", {})
    trace_id, parent = ids((await recorder.spans())["root"])
    assert (trace_id != TRACE, parent) == (True, None)
    assert span.traceparent.startswith(f"00-{trace_id}-")


async def test_who_began_a_trace_decides_whether_it_is_recorded() -> None:
    """Whatever the ratio for those that begin here is; what is not recorded is passed on as such."""
    recorder = Recorder(sample_ratio=0)
    recorder.tracer.serve(SAMPLED, None).end("sampled", {})
    silent = recorder.tracer.serve(NOT_SAMPLED, None)
    assert (silent.traceparent[:36], silent.traceparent[-3:]) == (f"00-{TRACE}-", "-00")
    silent.end("not sampled", {})
    own = recorder.tracer.serve(None, None)
    assert not int(own.traceparent[-2:], 16) & SAMPLED_FLAG
    recorder.tracer.call(own.traceparent).end("its call", {})
    own.end("own", {})
    recorder.tracer.sample(1)
    recorder.tracer.serve(None, None).end("own, later", {})
    assert set(await recorder.spans()) == {"sampled", "own, later"}


async def test_a_call_without_a_parent_is_a_part_of_what_it_is_made_in() -> None:
    recorder = Recorder()
    served = recorder.tracer.serve(SAMPLED, None)

    async def call() -> None:
        await asyncio.sleep(0)
        recorder.tracer.call(None).end("within", {})

    await asyncio.create_task(call(), context=served.context)
    recorder.tracer.call(None).end("outside", {})
    served.end("served", {})
    spans = await recorder.spans()
    assert ids(spans["within"]) == (TRACE, served.traceparent.split("-")[2])
    assert ids(spans["outside"])[1] is None


class Broken(SpanExporter):
    """One that cannot send."""

    def __init__(self, *, raises: bool) -> None:
        self._raises = raises

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        del spans
        if self._raises:
            raise RuntimeError("a secret")
        return SpanExportResult.FAILURE


@pytest.mark.parametrize(("raises", "error"), [(True, "RuntimeError"), (False, None)])
async def test_what_cannot_be_sent_is_told_in_a_line(
    raises: bool, error: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    with capture_logs() as logs:
        tracer = OtelTracer(Broken(raises=raises), service_name="test", sample_ratio=1)
        tracer.serve(None, None).end("lost", {})
        await tracer.close()
    assert [(line["event"], line["spans"], line["error"]) for line in logs] == [("spans_lost", 1, error)]
    assert "Traceback" not in capsys.readouterr().err
