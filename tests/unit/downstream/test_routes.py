"""Which requests are turns, which are cancels; by every form that a request target has (RFC 9112, 3.2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.capture.sources import Place
from sidecar.config import Chat
from sidecar.downstream.routes import CancelMatch, ChatMatch, Routes, path_of, query_of

COACH = Chat.model_validate({"path": "/api/ai-coach/chat", "cancel_path": "/api/ai-coach/cancel"})
APPS = Chat.model_validate(
    {
        "path": "/v1/{app}/chat",
        "methods": ["POST", "PUT"],
        "cancel_path": "/v1/{app}/stop",
        "begins": "request.json:/isNew",
        "capture": {"conversation_id": ["request.query:c"]},
    }
)
ROUTES = Routes((COACH, APPS))
SEGMENT = st.text("abz09-._~%:@!$&'()*+,;=", max_size=8)
PATH = st.lists(SEGMENT, max_size=4).map(lambda segments: "/" + "/".join(segments))
QUERY = st.one_of(st.just(""), st.text("ab=&?/:%", max_size=12).map("?".__add__))
AUTHORITY = st.sampled_from(["host", "host:80", "[::1]:8080", "user@host", ""])


@given(PATH, QUERY)
def test_origin_form(path: str, query: str) -> None:
    assert path_of(path + query) == path
    assert query_of(path + query) == query[1:]


@given(st.sampled_from(["http", "https", "HTTP", "h2", "a+b-c.d"]), AUTHORITY, PATH, QUERY)
def test_absolute_form_is_the_path_behind_the_authority(scheme: str, authority: str, path: str, query: str) -> None:
    assert path_of(f"{scheme}://{authority}{path}{query}") == path
    assert query_of(f"{scheme}://{authority}{path}{query}") == query[1:]


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("*", "*"),
        ("http://host", "/"),
        ("http://host?q=/x", "/"),
        ("/to/http://host/x", "/to/http://host/x"),
        ("/?u=http://host/x", "/"),
        ("//host/x", "//host/x"),
        ("://host/x", "://host/x"),
        ("host:443", "host:443"),
        ("1a://host/x", "1a://host/x"),
        ("", ""),
    ],
)
def test_odd_targets(target: str, path: str) -> None:
    assert path_of(target) == path


@pytest.mark.parametrize(
    "target", ["/api/ai-coach/chat", "/api/ai-coach/chat?x=1", "/api/ai-coach/ch%61t", "http://h/api/ai-coach/chat?"]
)
def test_a_chat_request_is_a_turn(target: str) -> None:
    match = ROUTES.find("POST", target)
    assert isinstance(match, ChatMatch)
    assert match.route.chat is COACH
    assert match.path_values == {}


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/api/ai-coach/chat"),
        ("post", "/api/ai-coach/chat"),
        ("POST", "/api/ai-coach/chat/"),
        ("POST", "/api/ai-coach/Chat"),
        ("POST", "/api//ai-coach/chat"),
        ("POST", "/api/ai-coach%2Fchat"),
        ("POST", "/other/../api/ai-coach/chat"),
        ("POST", "/v1//chat"),
        ("GET", "/api/ai-coach/cancel"),
        ("PUT", "/api/ai-coach/cancel"),
        ("OPTIONS", "*"),
        ("CONNECT", "host:443"),
        ("POST", ""),
    ],
)
def test_all_else_is_only_relayed(method: str, target: str) -> None:
    assert ROUTES.find(method, target) is None


@pytest.mark.parametrize(("method", "app"), [("POST", "shop"), ("PUT", "a b"), ("POST", "ä")])
def test_names_in_a_path_are_captured(method: str, app: str) -> None:
    match = ROUTES.find(method, f"/v1/{app.replace(' ', '%20')}/chat?x=1")
    assert isinstance(match, ChatMatch)
    assert match.route.chat is APPS
    assert match.path_values == {"app": app}


def test_a_cancel_finds_the_chat_it_belongs_to() -> None:
    for target, chat in (("/api/ai-coach/cancel", COACH), ("/v1/shop/stop?x", APPS)):
        match = ROUTES.find("POST", target)
        assert isinstance(match, CancelMatch)
        assert match.chat is chat


def test_a_chat_that_shares_its_path_with_a_cancel_wins() -> None:
    routes = Routes((Chat.model_validate({"path": "/x", "cancel_path": "/y"}), Chat(path="/y", cancel_path="/z")))
    assert isinstance(routes.find("POST", "/y"), ChatMatch)


def test_the_first_of_two_that_fit_wins() -> None:
    routes = Routes((APPS, Chat(path="/v1/shop/chat")))
    match = routes.find("POST", "/v1/shop/chat")
    assert isinstance(match, ChatMatch)
    assert match.route.chat is APPS


def test_without_routes_all_is_relayed() -> None:
    assert Routes(()).find("POST", "/api/ai-coach/chat") is None


def test_what_a_route_asks_of_the_body() -> None:
    coach, apps = (ROUTES.find("POST", target) for target in ("/api/ai-coach/chat", "/v1/a/chat"))
    assert isinstance(coach, ChatMatch)
    assert isinstance(apps, ChatMatch)
    assert coach.route.names_conversation_in_json
    assert not apps.route.names_conversation_in_json
    assert coach.route.begins is None
    assert apps.route.begins is not None
    assert (apps.route.begins.place, apps.route.begins.name) == (Place.REQUEST_JSON, "/isNew")
