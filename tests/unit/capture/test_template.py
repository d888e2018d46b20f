"""Templates: the names in them, and that no value gets out of its place."""

from __future__ import annotations

import json
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.capture.sources import usable
from sidecar.capture.template import (
    Json,
    TemplateSyntaxError,
    names_in,
    names_in_json,
    render_header,
    render_json,
    render_path,
)

IDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(usable)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("/admin/{request_id}/cancel", {"request_id"}),
        ("{a}{b}{a}", {"a", "b"}),
        ("plain", set()),
        ("", set()),
        ("{{a}}", set()),
        ("{{{a}}}", {"a"}),
    ],
)
def test_names(text: str, names: set[str]) -> None:
    assert names_in(text) == names


@pytest.mark.parametrize("text", ["{", "}", "a{b", "a}b", "{}", "{1a}", "{a-b}", "{{a}", "{a}}", "{ a }"])
def test_a_lone_brace_is_refused_with_a_mend(text: str) -> None:
    with pytest.raises(TemplateSyntaxError, match="for a brace"):
        names_in(text)
    with pytest.raises(TemplateSyntaxError):
        names_in_json([{"key": text}])


def test_names_in_json_are_those_of_all_strings_but_keys() -> None:
    value: Json = {"{key}": ["{a}", {"x": "{b}"}, 1, None, True, 2.5], "y": "z"}
    assert names_in_json(value) == {"a", "b"}
    assert names_in_json(None) == set()


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("abc", "/x/abc/y"),
        ("a/b?c#d&e=f%g h", "/x/a%2Fb%3Fc%23d%26e%3Df%25g%20h/y"),
        ("..", "/x/%2E%2E/y"),
        (".", "/x/%2E/y"),
        ("a.b", "/x/a.b/y"),
        ("\u00e9", "/x/%C3%A9/y"),
        ("{name}", "/x/%7Bname%7D/y"),
    ],
)
def test_a_value_in_a_path(value: str, path: str) -> None:
    assert render_path("/x/{id}/y", {"id": value}) == path


def test_doubled_braces_are_braces() -> None:
    assert render_header("{{{id}}}", {"id": "x"}) == "{x}"
    assert render_json({"{id}": ["{{id}}", "{id}-{id}", 7, None]}, {"id": "x"}) == {"{id}": ["{id}", "x-x", 7, None]}


def test_a_missing_value_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        render_header("{id}", {})


@given(IDS)
def test_a_value_stays_in_its_segment(value: str) -> None:
    url = urlsplit(render_path("http://h/x/{id}/y?u={id}", {"id": value}))
    assert url.netloc == "h"
    assert [unquote(segment) for segment in url.path.split("/")] == ["", "x", value, "y"]
    assert unquote(url.query) == f"u={value}"
    assert url.fragment == ""


@given(IDS)
def test_a_value_stays_in_its_string_and_line(value: str) -> None:
    assert json.loads(json.dumps(render_json(["{id}"], {"id": value}))) == [value]
    assert len(render_header("Bearer {id}", {"id": value}).splitlines()) == 1
