"""Which requests read what may be gone."""

from __future__ import annotations

import pytest

from sidecar.config import Chat, Guard
from sidecar.downstream.routes import CancelMatch, ChatMatch, GuardMatch, Routes

ONE = Guard.model_validate({"path": "/chats/{conversation_id}", "methods": ["GET", "DELETE"]})
ALL = Guard.model_validate({"path": "/chats", "list": ""})
SEARCH = Guard.model_validate({"path": "/chats", "list": "/hits", "methods": ["POST"]})
ROUTES = Routes((Chat(path="/chat", cancel_path="/cancel"),), (ONE, ALL, SEARCH))


@pytest.mark.parametrize(
    ("method", "target", "guard", "values"),
    [
        ("GET", "/chats/c%201?x=/y", ONE, {"conversation_id": "c 1"}),
        ("DELETE", "http://host/chats/c1", ONE, {"conversation_id": "c1"}),
        ("GET", "/chats?page=1", ALL, {}),
        ("POST", "/chats", SEARCH, {}),
    ],
)
def test_a_guarded_read(method: str, target: str, guard: Guard, values: dict[str, str]) -> None:
    assert ROUTES.find(method, target) == GuardMatch(guard, values)


@pytest.mark.parametrize(
    ("method", "target"), [("HEAD", "/chats/c1"), ("PUT", "/chats"), ("GET", "/chats/"), ("GET", "/chats/c1/x")]
)
def test_any_other_is_only_relayed(method: str, target: str) -> None:
    assert ROUTES.find(method, target) is None


def test_turns_and_cancels_come_first() -> None:
    anything = Guard.model_validate({"path": "/{conversation_id}", "methods": ["POST"]})
    routes = Routes((Chat(path="/chat", cancel_path="/cancel"),), (anything,))
    assert isinstance(routes.find("POST", "/chat"), ChatMatch)
    assert isinstance(routes.find("POST", "/cancel"), CancelMatch)
    assert isinstance(routes.find("POST", "/other"), GuardMatch)


def test_the_first_guard_that_fits_is_taken() -> None:
    wide = Guard.model_validate({"path": "/{conversation_id}"})
    narrow = Guard.model_validate({"path": "/all", "list": ""})
    assert Routes((), (narrow, wide)).find("GET", "/all") == GuardMatch(narrow, {})
    assert Routes((), (wide, narrow)).find("GET", "/all") == GuardMatch(wide, {"conversation_id": "all"})
