"""Backends that know nothing of us are served with TOML alone: their ids lie in path, headers or stream.

Each double keeps to the shapes that the named product documents; what is shown is that the right calls arrive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest
from aiohttp import ClientSession

from tests.fakes.third_party import Double, abandon, event, sidecar_before
from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.third_party import Call

ENV: Final = {"APP_KEY": "app-secret"}

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
    async with double.listening(target), sidecar_before(double, toml, tmp_path, ENV) as url:
        await abandon(url + target, body, headers, seen=b"\n\n")
        await eventually(lambda: len(double.calls) == len(calls))
    assert double.calls == calls, "no call more comes with the end either"


async def test_a_terminal_event_ends_the_turn(tmp_path: Path) -> None:
    double = Double(event(event="message", task_id="t1", conversation_id="c1"), event(event="message_end"))
    async with (
        double.listening("/v1/chat-messages"),
        sidecar_before(double, DIFY, tmp_path, ENV) as url,
        ClientSession() as person,
    ):
        response = await person.post(f"{url}/v1/chat-messages", json={"query": "Hello", "user": "u1"})
        await response.content.readuntil(b'"message_end"}\n\n')
        response.close()
    assert double.calls == []
