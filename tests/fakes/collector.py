"""A collector of traces: it takes what is posted to it, OTLP over HTTP, as protobuf."""

from __future__ import annotations

import asyncio
import gzip
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from opentelemetry.proto.common.v1.common_pb2 import KeyValue


@dataclass(frozen=True, slots=True)
class Collected:
    """A span as it came; ids are in hexadecimal, `error` is the status's text where it is an error."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    attributes: Mapping[str, str | int | float]
    error: str | None
    service: str

    @property
    def traceparent(self) -> str:
        """What a part of it is told."""
        return f"00-{self.trace_id}-{self.span_id}-01"


class Collector:
    """What was collected."""

    def __init__(self) -> None:
        self.url = ""
        self.spans: list[Collected] = []
        self.headers: list[Mapping[str, str]] = []

    @classmethod
    @asynccontextmanager
    async def listening(cls) -> AsyncIterator[Collector]:
        """Listen on loopback."""
        collector = cls()
        front = web.Server(collector._take, access_log=None)
        server = await asyncio.get_running_loop().create_server(front, "127.0.0.1", 0)
        collector.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/traces"
        try:
            yield collector
        finally:
            server.close()
            await front.shutdown(0.1)

    async def span(self, name: str, *, timeout_s: float = 20) -> Collected:
        """Wait for a span of that name; there is one only."""
        found = await eventually(lambda: [span for span in self.spans if span.name == name], timeout_s)
        assert len(found) == 1, found
        return found[0]

    async def _take(self, request: web.BaseRequest) -> web.StreamResponse:
        assert (request.method, request.path) == ("POST", "/v1/traces")
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.headers.append(request.headers.copy())
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = str(_values(resource.resource.attributes)["service.name"])
            for span in (span for scope in resource.scope_spans for span in scope.spans):
                self.spans.append(
                    Collected(
                        name=span.name,
                        trace_id=span.trace_id.hex(),
                        span_id=span.span_id.hex(),
                        parent_id=span.parent_span_id.hex(),
                        kind=span.kind,
                        attributes=_values(span.attributes),
                        error=span.status.message if span.status.code == span.status.STATUS_CODE_ERROR else None,
                        service=service,
                    )
                )
        return web.Response(content_type="application/x-protobuf")


def _values(attributes: object) -> dict[str, str | int | float]:
    listed: list[KeyValue] = list(attributes)  # type: ignore[call-overload]
    return {one.key: getattr(one.value, one.value.WhichOneof("value") or "string_value") for one in listed}
