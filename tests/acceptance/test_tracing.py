"""Traces of a real process at a real collector: joined to the client's, passed on, and kept over a crash."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.stage import PLAIN, Stage, stage
from tests.fakes.collector import Collector
from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
SENT = f"traceparent: 00-{TRACE}-{PARENT}-01"
CHAT = "POST /api/ai-coach/chat"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SERVER, CLIENT = 2, 3
WITHOUT = "import sys; sys.modules['opentelemetry'] = None; from sidecar.cli import main; sys.exit(main(sys.argv[1:]))"


@asynccontextmanager
async def traced(
    folder: Path, *, chat: dict[str, Any] | None = None, admin: dict[str, Any] | None = None
) -> AsyncIterator[tuple[Stage, Collector]]:
    async with Collector.listening() as collector:
        tracing = {"endpoint": collector.url, "headers": {"X-Key": "k"}}
        async with stage(folder, chat=chat, admin=admin or {}, tracing=tracing) as running:
            running.process.environment = {"OTEL_BSP_SCHEDULE_DELAY": "50"}
            yield running, collector


async def test_an_exchange_and_its_calls_are_parts_of_the_clients_trace(tmp_path: Path) -> None:
    async with traced(tmp_path) as (running, collector):
        client = await running.client()
        await client.chat("X-Request-Id: r1", SENT, "tracestate: vendor=1")
        peer, request = await running.upstream.request()
        [forwarded] = request.values("traceparent")
        assert request.get("tracestate") == b"vendor=1"
        await peer.send(b"HTTP/1.1 200 OK\r\n%b\r\nX-Conversation-Id: c1\r\n\r\n" % PLAIN.encode())
        await client.head()
        client.close()
        turn = await running.turn_in("cancelled")
        await running.end()  # and so whatever was recorded is sent

        exchange = await collector.span(CHAT)
        assert (exchange.trace_id, exchange.parent_id, exchange.kind) == (TRACE, PARENT, SERVER)
        assert forwarded.decode() == turn["traceparent"] == exchange.traceparent
        assert exchange.attributes["http.route"] == "/api/ai-coach/chat"
        assert exchange.attributes["sidecar.cause"] == "closed"
        assert exchange.attributes["sidecar.turn"] == turn["id"]
        assert exchange.service == "cancel-sidecar"
        for call in running.admin.calls:
            span = await collector.span("admin.cancel" if call.method == "POST" else "admin.rollback")
            assert (span.trace_id, span.parent_id, span.kind) == (TRACE, exchange.span_id, CLIENT)
            assert call.headers["traceparent"] == span.traceparent
            assert span.attributes["sidecar.verdict"] == "done"
        assert len(running.admin.calls) == 2
        assert {headers["X-Key"] for headers in collector.headers} == {"k"}


async def test_what_is_asked_before_there_is_a_turn_is_a_part_of_it_too(tmp_path: Path) -> None:
    verify = {"method": "GET", "path": "/admin/conversations/{conversation_id}"}
    async with traced(tmp_path, chat={"begins": "probe"}, admin={"verify": verify}) as (running, collector):
        client = await running.client()
        await client.chat("X-Request-Id: r1", SENT, names="c9")
        peer, _ = await running.upstream.request()
        await peer.send(OK)
        await client.answer()
        await running.turn_in("completed")
        await running.end()
        asked, exchange = await collector.span("admin.verify"), await collector.span(CHAT)
        assert (asked.trace_id, asked.parent_id) == (TRACE, exchange.span_id)
        assert asked.attributes["sidecar.verdict"] == "shown"
        assert [call.headers["traceparent"] for call in running.admin.calls] == [asked.traceparent]


async def test_calls_that_a_crash_left_owed_are_parts_of_it_too(tmp_path: Path) -> None:
    async with traced(tmp_path) as (running, collector):
        await running.process.terminate()
        await running.process.start()  # with the environment that is set by now
        await running.ask(SENT)
        await running.process.kill()
        turn = running.turns()[0]
        assert turn["traceparent"].startswith(f"00-{TRACE}-")
        await running.process.start()
        call = await collector.span("admin.cancel")
        assert (call.trace_id, call.parent_id) == (TRACE, turn["traceparent"].split("-")[2])
        await running.turn_in("unresolved")  # nobody has ever told the conversation's id
        assert await running.process.terminate() == 0


async def test_what_is_only_relayed_is_traced_as_well_and_a_failure_shows(tmp_path: Path) -> None:
    async with traced(tmp_path) as (running, collector):
        client = await running.client()
        await client.get("/other?secret=1", "traceparent: junk", "tracestate: vendor=1")
        peer, request = await running.upstream.request()
        assert request.get("tracestate") is None  # it belongs to no trace that could be read
        await peer.send(OK)
        await client.answer()
        running.upstream.refuse()
        await client.get("/gone")
        peer.close()
        await client.answer()
        await running.end()
        await eventually(lambda: len(collector.spans) == 2, 20)
        first, second = collector.spans
        assert (first.name, first.parent_id, first.error) == ("GET", "", None)
        forwarded = request.get("traceparent") or b""
        assert forwarded.startswith(f"00-{first.trace_id}-{first.span_id}-".encode())
        assert first.attributes["http.response.status_code"] == 200
        assert first.attributes["url.path"] == "/other"
        assert (second.attributes["http.response.status_code"], bool(second.error)) == (502, True)


async def test_what_the_client_does_not_want_recorded_is_not(tmp_path: Path) -> None:
    async with traced(tmp_path) as (running, collector):
        chat = await running.ask(f"traceparent: 00-{TRACE}-{PARENT}-00")
        chat.client.close()
        await eventually(lambda: running.admin.calls)
        assert {call.headers["traceparent"][-3:] for call in running.admin.calls} == {"-00"}
        await running.end()
        assert collector.spans == []


async def test_a_collector_that_is_away_harms_nobody(tmp_path: Path) -> None:
    async with stage(tmp_path, tracing={"endpoint": "http://127.0.0.1:1/v1/traces"}) as running:
        chat = await running.answering()
        await chat.end()
        await running.turn_in("completed")
        assert await running.process.terminate() == 0
        [lost] = running.process.log("spans_lost")
        assert lost["level"] == "warning"
        assert "Traceback" not in running.process.log_text()


async def test_without_tracing_the_clients_context_passes_as_it_came(tmp_path: Path) -> None:
    async with stage(tmp_path) as running:
        client = await running.client()
        await client.chat("X-Request-Id: r1", SENT)
        _, request = await running.upstream.request()
        assert request.get("traceparent") == SENT.partition(": ")[2].encode()
        client.close()
        await eventually(lambda: running.admin.calls)
        assert running.admin.calls[0].headers["traceparent"] == SENT.partition(": ")[2]


@pytest.mark.parametrize("command", ["check", "run"])
async def test_without_the_extra_it_is_told_how_to_get_it(tmp_path: Path, command: str) -> None:
    file = tmp_path / "sidecar.toml"
    places = f"journal = {{ path = '{tmp_path}/sidecar.db' }}\nlisten = {{ address = '127.0.0.1:0' }}\n"
    file.write_text(
        f"{places}[upstream]\nurl = 'http://127.0.0.1:9'\n[tracing]\nendpoint = 'http://127.0.0.1:9/v1/traces'\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WITHOUT, command, "-c", str(file), stderr=asyncio.subprocess.PIPE
    )
    _, told = await process.communicate()
    assert process.returncode == 2
    assert told.decode() == (
        "sidecar: tracing.endpoint: OpenTelemetry is not installed; "
        "pip install 'cancel-sidecar[otel]', or leave this setting out\n"
    )
