"""Each preset before a double of the API that it is for: who leaves mid-answer has it stopped, by the documented calls.

The doubles stream the frames that the sources named in the presets' own files show. An answer that was read to its
terminal frame causes no call, though its connection stays open.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pytest
from aiohttp import ClientSession

from sidecar.config import preset_names
from tests.fakes.third_party import Double, abandon, event, sidecar_before
from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.fakes.third_party import Call

DEADLINE_S: Final = 20.0
KEYS: Final = {
    f"{name}_{kind}": f"{name.lower()}-secret"
    for name, kind in (
        ("DIFY", "API_KEY"),
        ("FLOWISE", "API_KEY"),
        ("FASTGPT", "API_KEY"),
        ("COZE", "API_TOKEN"),
        ("LETTA", "API_KEY"),
    )
}
UUID: Final = "5c0b1f0e-54d1-4fb1-9a0c-7a0e2f6f9d11"
OTHER_UUID: Final = "b9a39de3-4803-4f3e-9f1e-4841a80f8e5e"


@dataclass(frozen=True)
class Talk:
    """A chat as the API documents it, and what is owed when its person leaves after the first piece."""

    preset: str
    path: str
    body: Mapping[str, Any]
    first: bytes
    last: bytes
    calls: tuple[Call, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None
    note: str = ""

    @property
    def id(self) -> str:
        return f"{self.preset}{', ' if self.note else ''}{self.note}"

    @property
    def endpoint(self) -> str:
        return self.path.partition("?")[0]


def named(name: str, data: object) -> bytes:
    """Give an SSE event with a name."""
    return f"event: {name}\ndata: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()


def line(**fields: object) -> bytes:
    """Give a line of NDJSON."""
    return json.dumps(fields).encode() + b"\n"


def flowise(kind: str, data: object) -> bytes:
    return b"message:\ndata:" + json.dumps({"event": kind, "data": data}).encode() + b"\n\n"


def openai(text: str, chunk_id: str = "chatcmpl-1") -> bytes:
    return event(id=chunk_id, object="chat.completion.chunk", choices=[{"index": 0, "delta": {"content": text}}])


def dify(kind: str, **fields: object) -> bytes:
    return event(event=kind, task_id=UUID, message_id="m1", conversation_id=OTHER_UUID, created_at=1705407629, **fields)


DONE: Final = b"data: [DONE]\n\n"
MESSAGES: Final = [{"role": "user", "content": "Hello"}]
DIFY: Final = {"inputs": {}, "query": "Hello", "response_mode": "streaming", "user": "abc-123"}
DIFY_STOP: Final = ("POST", f"/v1/chat-messages/{UUID}/stop", {"user": "abc-123"})
DIFY_DELETE: Final = ("DELETE", f"/v1/conversations/{OTHER_UUID}", {"user": "abc-123"})
COZE_CANCEL: Final = ("POST", "/v3/chat/cancel", {"conversation_id": "7374752", "chat_id": "7374755"})
COZE_FIRST: Final = named("conversation.chat.created", {"id": "7374755", "conversation_id": "7374752"}) + named(
    "conversation.message.delta",
    {"id": "7374760", "conversation_id": "7374752", "chat_id": "7374755", "role": "assistant", "content": "Hi"},
)

TALKS: Final = (
    Talk(
        "dify",
        "/v1/chat-messages",
        {**DIFY, "conversation_id": ""},
        dify("message", answer="Hi"),
        dify("message_end", metadata={}),
        (DIFY_STOP, DIFY_DELETE),
        key="Bearer dify-secret",
        note="a new conversation",
    ),
    Talk(
        "dify",
        "/v1/chat-messages",
        {**DIFY, "conversation_id": OTHER_UUID},
        dify("agent_message", answer="Hi"),
        event(event="error", message_id="m1", conversation_id=OTHER_UUID, status=400, code="x", message="y"),
        (DIFY_STOP,),
        key="Bearer dify-secret",
        note="an existing conversation that fails",
    ),
    Talk(
        "flowise",
        "/api/v1/prediction/flow-7",
        {"question": "Hello", "streaming": True, "chatId": "chat 9"},
        flowise("start", "Hi") + flowise("token", "Hi"),
        flowise("metadata", {"chatId": "chat 9"}) + flowise("end", "[DONE]"),
        (("PUT", "/api/v1/chatmessage/abort/flow-7/chat%209", None),),
        key="Bearer flowise-secret",
    ),
    Talk(
        "fastgpt",
        "/api/v2/chat/completions",
        {"appId": "app1", "chatId": "chat1", "stream": True, "messages": MESSAGES},
        openai("Hi", ""),
        DONE,
        (("POST", "/api/v2/chat/stop", {"appId": "app1", "chatId": "chat1"}),),
        key="Bearer fastgpt-secret",
    ),
    Talk(
        "coze",
        "/v3/chat",
        {"bot_id": "b", "user_id": "u", "stream": True, "additional_messages": []},
        COZE_FIRST,
        named("conversation.chat.completed", {"id": "7374755", "conversation_id": "7374752"}) + named("done", "[DONE]"),
        (COZE_CANCEL, ("DELETE", "/v1/conversations/7374752", None)),
        key="Bearer coze-secret",
        note="a new conversation",
    ),
    Talk(
        "coze",
        "/v3/chat?conversation_id=7374752",
        {"bot_id": "b", "user_id": "u", "stream": True, "additional_messages": []},
        COZE_FIRST,
        named("done", "[DONE]"),
        (COZE_CANCEL,),
        key="Bearer coze-secret",
        note="an existing conversation",
    ),
    Talk(
        "letta",
        "/v1/conversations/conv-1/messages",
        {"messages": MESSAGES, "streaming": True},
        event(message_type="assistant_message", id="message-1", content="Hi"),
        event(message_type="stop_reason", stop_reason="end_turn") + DONE,
        (("POST", "/v1/conversations/conv-1/cancel", None),),
        key="Bearer letta-secret",
    ),
    Talk(
        "sglang",
        "/v1/chat/completions",
        {"model": "m", "messages": MESSAGES, "stream": True, "rid": UUID},
        openai("Hi", UUID),
        DONE,
        (("POST", "/abort_request", {"rid": UUID, "abort_all": False}),),
        note="a request that names its id",
    ),
    Talk(
        "sglang",
        "/v1/completions",
        {"model": "m", "prompt": "Hello", "stream": True},
        openai("Hi", "0f3a"),
        DONE,
        (("POST", "/abort_request", {"rid": "0f3a", "abort_all": False}),),
        note="an id from the stream",
    ),
    Talk(
        "llama-cpp",
        "/v1/chat/completions",
        {"messages": MESSAGES, "stream": True},
        openai("Hi"),
        DONE,
        (("DELETE", "/v1/stream?conv_id=a%26b", None),),
        headers={"X-Conversation-Id": "a&b"},
    ),
    Talk("openai", "/v1/chat/completions", {"model": "m", "messages": MESSAGES, "stream": True}, openai("Hi"), DONE),
    Talk(
        "openai-responses",
        "/v1/responses",
        {"model": "m", "input": "Hello", "stream": True},
        named("response.created", {"type": "response.created", "response": {"id": "resp_1"}, "sequence_number": 0}),
        named("response.completed", {"type": "response.completed", "response": {"id": "resp_1"}}),
    ),
    Talk(
        "anthropic",
        "/v1/messages",
        {"model": "m", "max_tokens": 9, "messages": MESSAGES, "stream": True},
        named("message_start", {"type": "message_start", "message": {"id": "msg_1", "role": "assistant"}}),
        named("message_stop", {"type": "message_stop"}),
        headers={"X-Api-Key": "k"},
    ),
    Talk(
        "ollama",
        "/api/chat",
        {"model": "m", "messages": MESSAGES},
        line(model="m", message={"role": "assistant", "content": "Hi"}, done=False),
        line(model="m", message={"role": "assistant", "content": ""}, done=True, done_reason="stop"),
    ),
    Talk(
        "ollama",
        "/api/generate",
        {"model": "m", "prompt": "Hello"},
        line(model="m", response="Hi", done=False),
        line(error="out of memory"),
        note="an answer that fails",
    ),
    Talk(
        "vercel-ai",
        "/api/chat",
        {"id": "chat1", "messages": [], "trigger": "submit-message"},
        event(type="start", messageId="m1") + event(type="text-delta", id="0", delta="Hi"),
        event(type="finish") + DONE,
    ),
)


def toml(preset: str) -> str:
    return f'preset = "{preset}"\n'


def states(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / "sidecar.db")) as journal:
        return [state for (state,) in journal.execute("SELECT state FROM turns")]


def test_every_preset_is_talked_to() -> None:
    assert {talk.preset for talk in TALKS} == set(preset_names())


@pytest.mark.parametrize("talk", TALKS, ids=lambda talk: talk.id)
async def test_who_leaves_mid_answer_has_it_stopped(talk: Talk, tmp_path: Path) -> None:
    double = Double(talk.first)
    async with double.listening(talk.endpoint), sidecar_before(double, toml(talk.preset), tmp_path, KEYS) as url:
        await abandon(url + talk.path, talk.body, talk.headers, seen=talk.first)
        await eventually(lambda: len(double.calls) == len(talk.calls) and double.closed == 1, DEADLINE_S)
    assert double.calls == list(talk.calls), "no call more comes with the end either"
    assert double.keys == ({talk.key} if talk.calls else set())
    assert states(tmp_path) == ["cancelled"]


@pytest.mark.parametrize("talk", TALKS, ids=lambda talk: talk.id)
async def test_who_read_all_causes_no_call(talk: Talk, tmp_path: Path) -> None:
    double = Double(talk.first, talk.last)
    async with double.listening(talk.endpoint), sidecar_before(double, toml(talk.preset), tmp_path, KEYS) as url:
        await abandon(url + talk.path, talk.body, talk.headers, seen=talk.last)
    assert double.calls == []
    assert states(tmp_path) == ["completed"]


@pytest.mark.parametrize("talk", [TALKS[0], TALKS[8]], ids=lambda talk: talk.id)
async def test_an_id_that_is_told_only_after_the_person_left_still_counts(talk: Talk, tmp_path: Path) -> None:
    double = Double(talk.first)
    double.speaking.clear()
    async with double.listening(talk.endpoint), sidecar_before(double, toml(talk.preset), tmp_path, KEYS) as url:
        async with ClientSession() as person:
            response = await person.post(url + talk.path, json=talk.body)
            await double.asked.wait()
            response.close()
        assert double.calls == [], "nothing to stop it by is known yet"
        double.speaking.set()
        async with asyncio.timeout(DEADLINE_S):
            await eventually(lambda: len(double.calls) == len(talk.calls) and double.closed == 1, DEADLINE_S)
    assert double.calls == list(talk.calls)


async def test_without_the_header_a_llama_cpp_stream_is_closed_at_once_and_its_turn_is_unresolved(
    tmp_path: Path,
) -> None:
    double = Double(openai("Hi"))
    async with double.listening("/v1/chat/completions"), sidecar_before(double, toml("llama-cpp"), tmp_path, {}) as url:
        await abandon(f"{url}/v1/chat/completions", {"messages": MESSAGES}, {}, seen=openai("Hi"))
        await eventually(lambda: double.closed == 1, DEADLINE_S)
    assert double.calls == []
    assert states(tmp_path) == ["unresolved"]


async def test_the_file_comes_first_key_by_key(tmp_path: Path) -> None:
    mine = """
    [admin]
    rollback = false
    [admin.headers]
    Authorization = "Bearer mine"
    [[chat]]
    path = "/proxy/chat"
    [chat.capture]
    user = ["request.header:X-User"]
    """
    talk = TALKS[0]
    double = Double(talk.first)
    async with double.listening("/proxy/chat"), sidecar_before(double, toml("dify") + mine, tmp_path, {}) as url:
        await abandon(f"{url}/proxy/chat", talk.body, {"X-User": "u9"}, seen=talk.first)
        await eventually(lambda: double.calls and double.closed == 1, DEADLINE_S)
    assert double.calls == [("POST", f"/v1/chat-messages/{UUID}/stop", {"user": "u9"})]
    assert double.keys == {"Bearer mine"}
