"""Path templates: which paths are theirs, and what their names stand for."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.capture.route import compile_path
from sidecar.capture.template import TemplateSyntaxError


@pytest.mark.parametrize(
    ("template", "path", "values"),
    [
        ("/chat", "/chat", {}),
        ("/chat", "/%63hat", {}),
        ("/a%20b", "/a%20b", {}),
        ("/a b", "/a%20b", {}),
        ("/", "/", {}),
        ("/{{x}}", "/{x}", {}),
        ("/{{x}}", "/%7Bx%7D", {}),
        ("/v1/{app}/chat", "/v1/coach/chat", {"app": "coach"}),
        ("/v1/{app}/chat", "/v1/a%2Fb/chat", {"app": "a/b"}),
        ("/v1/{app}/chat", "/v1/a+b/chat", {"app": "a+b"}),
        ("/{a}/{b}", "/1/2", {"a": "1", "b": "2"}),
        ("/{a}", "/%E4%BC%9A", {"a": "\u4f1a"}),
        ("/{a}", "/%zz", {"a": "%zz"}),
        ("/{a}", "/%FF", {"a": "\udcff"}),
    ],
)
def test_paths_that_match(template: str, path: str, values: dict[str, str]) -> None:
    assert compile_path(template).match(path) == values


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("/chat", "/chat/"),
        ("/chat", "/Chat"),
        ("/chat", "//chat"),
        ("/chat", "/./chat"),
        ("/chat", "chat"),
        ("/chat", ""),
        ("/chat", "*"),
        ("/a/b", "/a%2Fb"),
        ("/v1/{app}/chat", "/v1//chat"),
        ("/v1/{app}/chat", "/v1/a/b/chat"),
        ("/v1/{app}/chat", "/v1/a/chat/"),
        ("/v1/{app}/chat", "/v1/a/chatx"),
        ("/{{x}}", "/y"),
    ],
)
def test_paths_that_do_not(template: str, path: str) -> None:
    assert compile_path(template).match(path) is None


@pytest.mark.parametrize(
    ("template", "mend"),
    [
        ("chat", "write '/chat'"),
        ("", "write '/'"),
        ("/chat?x=1", "leave out"),
        ("/chat#x", "leave out"),
        ("/{a", "for a brace"),
        ("/a}", "for a brace"),
        ("/{}", "for a brace"),
        ("/{a/b}", "for a brace"),
        ("/v-{a}", "segment of its own"),
        ("/{a}{b}", "segment of its own"),
        ("/{{{a}", "segment of its own"),
        ("/{a}/x/{a}", "a name of its own"),
    ],
)
def test_what_is_no_template_is_refused_with_a_mend(template: str, mend: str) -> None:
    with pytest.raises(TemplateSyntaxError, match=mend):
        compile_path(template)


def test_the_names_are_told_in_order() -> None:
    assert compile_path("/{b}/x/{a}").names == ("b", "a")


@given(st.text(st.characters(codec="utf-8"), min_size=1), st.text(st.characters(codec="utf-8"), min_size=1))
def test_what_was_encoded_is_found_again(app: str, chat: str) -> None:
    path = f"/{quote(app, safe='')}/chat/{quote(chat, safe='')}"
    assert compile_path("/{app}/chat/{id}").match(path) == {"app": app, "id": chat}
