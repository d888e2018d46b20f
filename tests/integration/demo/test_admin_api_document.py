"""docs/admin-api.openapi.yaml is what the sidecar calls, and what the demo's backend answers."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest
import yaml
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from sidecar.app import Sidecar
from sidecar.config import load_table
from sidecar.demo.alone import CONFIG
from sidecar.demo.backend import BackendKnobs, LegacyBackend
from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from sidecar.config import Settings
    from sidecar.demo.backend.admin import AdminCall

PAGE: Final = Path(__file__).parents[3] / "docs" / "admin-api.openapi.yaml"
DOCUMENT: Final[dict[str, Any]] = yaml.safe_load(PAGE.read_text(encoding="utf-8"))
OPERATIONS: Final = {
    (method.upper(), path): operation
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if method != "parameters"
}
DEADLINE_S: Final = 20.0
CHAT: Final = "/api/ai-coach/chat"
ASKED: Final = {"messages": [{"role": "user", "content": "How do I calm down?"}], "stream": True}


def operation_of(method: str, path: str) -> dict[str, Any]:
    """Give the operation that a request is."""
    for (known, template), operation in OPERATIONS.items():
        if known == method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
            return dict(operation)
    raise AssertionError(f"{method} {path} is not in the document")


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference within the document."""
    found: dict[str, Any] = DOCUMENT
    for part in node.get("$ref", "").lstrip("#/").split("/"):
        found = found[part] if part else node
    return found


def assert_documented(call: AdminCall) -> str:
    """Make sure that a call and its answer are as the document says; give the operation's name."""
    operation = operation_of(call.method, call.path)
    parameters = {parameter["name"]: parameter for parameter in map(resolved, operation["parameters"])}
    missing = {name for name, parameter in parameters.items() if parameter["required"] and name not in call.headers}
    assert not missing, f"{call.method} {call.path} lacks {missing}"
    assert str(call.status) in operation["responses"]
    return str(operation["operationId"])


def test_it_is_an_openapi_document() -> None:
    validate(DOCUMENT)


def test_its_operations_are_the_steps_that_can_be_configured() -> None:
    admin = load_table(tomllib.loads(CONFIG.format(url="http://127.0.0.1:9000")), {}).admin
    configured = {str(kind): (call.method, call.path) for kind, call in admin.calls.items()}
    assert configured == {operation["operationId"]: route for route, operation in OPERATIONS.items()}


@pytest.mark.parametrize("known", [True, False])
async def test_the_backend_answers_as_it_says(person: aiohttp.ClientSession, known: bool) -> None:
    async with person.post(CHAT, json=ASKED, headers={"X-Request-Id": "req_1"}) as response:
        await response.read()
        conversation_id = response.headers["X-Conversation-Id"] if known else "unknown"
    values = {"request_id": "req_1" if known else "unknown", "conversation_id": conversation_id}
    in_order = sorted(OPERATIONS.items(), key=lambda one: one[1]["operationId"] == "rollback")
    for (method, path), operation in in_order:
        async with person.request(method, path.format_map(values)) as response:
            assert response.status == 404 if not known else response.ok, (method, path)
            answer = resolved(operation["responses"][str(response.status)])
            if "content" in answer:
                OAS31Validator(answer["content"]["application/json"]["schema"]).validate(await response.json())


async def test_the_sidecar_calls_as_it_says(tmp_path: Path) -> None:
    """All five calls come from three turns: one is kept, one abandoned, and one abandoned where the first was kept."""
    async with LegacyBackend.serve(BackendKnobs(words=3, word_s=0.001), path=tmp_path / "backend.db") as backend:
        async with Sidecar.start(_settings(backend, tmp_path)) as sidecar, aiohttp.ClientSession(sidecar.url) as person:
            async with person.post(CHAT, json=ASKED) as response:
                await response.read()
                kept_id = response.headers["X-Conversation-Id"]
            backend.knobs = BackendKnobs(stall_after=1)
            for asked in (ASKED, {**ASKED, "conversationId": kept_id}):
                async with person.post(CHAT, json=asked) as response:
                    await response.content.readany()
                    response.close()
            wanted = {operation["operationId"] for operation in OPERATIONS.values()}
            await eventually(lambda: set(map(name_of, answered(backend))) == wanted, DEADLINE_S)
            await eventually(lambda: [kept.id for kept in backend.kept()] == [kept_id], DEADLINE_S)
            for call in answered(backend):
                assert_documented(call)
        (kept,) = backend.kept()
        assert len(kept.request_ids) == 1, "the second turn's messages are gone from it"


def answered(backend: LegacyBackend) -> list[AdminCall]:
    return [call for call in backend.calls if call.status is not None]


def name_of(call: AdminCall) -> str:
    return str(operation_of(call.method, call.path)["operationId"])


def _settings(backend: LegacyBackend, folder: Path) -> Settings:
    places = {
        "listen": {"address": "127.0.0.1:0"},
        "journal": {"path": str(folder / "sidecar.db")},
        "console": {"address": "off"},
    }
    return load_table({**tomllib.loads(CONFIG.format(url=backend.url)), **places}, {})
