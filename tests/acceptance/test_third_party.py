"""Backends that know nothing of us are served with TOML alone: their ids lie in path, headers or stream.

Each double keeps to the shapes that the named product documents; what is shown is that the right calls arrive.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import unused_port

from sidecar.app import Sidecar
from sidecar.config import load
from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

Call = tuple[str, str, object]

DIFY: Final = """
[admin]
headers = { Authorization = "Bearer ${APP_KEY}" }
cancel   = { method = "POST",   path = "/v1/chat-messages/{task_id}/stop",   json = { user = "{user}" } }
rollback = { method = "DELETE", path = "/v1/conversations/{conversation_id}", json = { user = "{user}" } }
[[chat]]
path = "/v1/chat-messages"
cancel_path = "/v1/chat-messages/cancel"
terminal = ["stream.json:/event ~ ^(message_end|error)$"]
[chat.capture]
user            = ["request.json:/user"]
task_id         = ["stream.json:/task_id"]
conversation_id = ["request.json:/conversation_id ~ (.+)", "stream.json:/conversation_id"]
"""

FLOWISE: Final = """
[admin]
cancel   = { method = "PUT", path = "/api/v1/chatmessage/abort/{flow}/{conversation_id}" }
rollback = { method = "DELETE", path = "/api/v1/chatmessage/{flow}?chatId={conversation_id}" }
[[chat]]
path = "/api/v1/prediction/{flow}"
cancel_path = "/cancel"
begins = "always"
[chat.capture]
conversation_id = ["request.json:/chatId"]
"""

LLAMA: Final = """
[admin]
cancel   = { method = "DELETE", path = "/v1/stream?conv_id={conversation_id}" }
rollback = false
[[chat]]
path = "/v1/chat/completions"
cancel_path = "/cancel"
terminal = ["data: [DONE]"]
[chat.capture]
conversation_id = ["request.header:X-Conversation-Id"]
"""


class Double:
    """A third party's backend: streams what it is told to, then waits; records every other call."""

    def __init__(self, *chunks: bytes) -> None:
        self._chunks = chunks
        self.calls: list[Call] = []
        self.port = unused_port()

    @asynccontextmanager
    async def listening(self, chat_path: str) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_post(chat_path, self._chat)
        app.router.add_route("*", "/{rest:.*}", self._record)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        yield
        await runner.cleanup()

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for chunk in self._chunks:
            await response.write(chunk)
        await asyncio.Event().wait()
        return response

    async def _record(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.calls.append((request.method, request.raw_path, json.loads(body) if body else None))
        return web.json_response({"result": "success"})


def event(**fields: str) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


@asynccontextmanager
async def sidecar_before(double: Double, toml: str, folder: Path) -> AsyncIterator[str]:
    file = folder / "sidecar.toml"
    file.write_text(
        f"""
        {toml}
        [listen]
        address = "127.0.0.1:0"
        shutdown_grace_s = 0
        [upstream]
        url = "http://127.0.0.1:{double.port}"
        [journal]
        path = "{folder}/sidecar.db"
        [console]
        address = "off"
        """
    )
    async with Sidecar.start(load(file, {"APP_KEY": "app-secret"})) as sidecar:
        yield sidecar.url


async def abandon(url: str, body: dict[str, str], headers: dict[str, str] | None = None) -> None:
    """Chat, read the first event, and leave."""
    async with ClientSession() as person:
        response = await person.post(url, json=body, headers=headers)
        await response.content.readuntil(b"\n\n")
        response.close()


@pytest.mark.parametrize(
    ("toml", "target", "chunks", "body", "headers", "calls"),
    [
        pytest.param(
            DIFY,
            "/v1/chat-messages",
            [event(event="message", task_id="t 1", message_id="m1", conversation_id="c/1", answer="Hi")],
            {"query": "Hello", "user": "u1", "conversation_id": ""},
            {},
            [
                ("POST", "/v1/chat-messages/t%201/stop", {"user": "u1"}),
                ("DELETE", "/v1/conversations/c%2F1", {"user": "u1"}),
            ],
            id="dify, a new conversation",
        ),
        pytest.param(
            DIFY,
            "/v1/chat-messages",
            [event(event="message", task_id="t1", conversation_id="c1", answer="Hi")],
            {"query": "Hello", "user": "u1", "conversation_id": "c1"},
            {},
            [("POST", "/v1/chat-messages/t1/stop", {"user": "u1"})],
            id="dify, an existing conversation",
        ),
        pytest.param(
            FLOWISE,
            "/api/v1/prediction/flow-7",
            [event(token="Hi")],
            {"question": "Hello", "chatId": "chat-9"},
            {},
            [
                ("PUT", "/api/v1/chatmessage/abort/flow-7/chat-9", None),
                ("DELETE", "/api/v1/chatmessage/flow-7?chatId=chat-9", None),
            ],
            id="flowise, ids in path and request",
        ),
        pytest.param(
            LLAMA,
            "/v1/chat/completions",
            [event(object="chat.completion.chunk")],
            {"model": "m"},
            {"X-Conversation-Id": "a&b"},
            [("DELETE", "/v1/stream?conv_id=a%26b", None)],
            id="llama.cpp, an id in a header",
        ),
    ],
)
async def test_the_right_calls_arrive(
    tmp_path: Path,
    toml: str,
    target: str,
    chunks: list[bytes],
    body: dict[str, str],
    headers: dict[str, str],
    calls: list[Call],
) -> None:
    double = Double(*chunks)
    async with double.listening(target), sidecar_before(double, toml, tmp_path) as url:
        await abandon(url + target, body, headers)
        await eventually(lambda: len(double.calls) == len(calls))
    assert double.calls == calls, "no call more comes with the end either"


async def test_a_terminal_event_ends_the_turn(tmp_path: Path) -> None:
    double = Double(event(event="message", task_id="t1", conversation_id="c1"), event(event="message_end"))
    async with (
        double.listening("/v1/chat-messages"),
        sidecar_before(double, DIFY, tmp_path) as url,
        ClientSession() as person,
    ):
        response = await person.post(f"{url}/v1/chat-messages", json={"query": "Hello", "user": "u1"})
        await response.content.readuntil(b'"message_end"}\n\n')
        response.close()
    assert double.calls == []
