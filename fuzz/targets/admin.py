"""What is sent to the admin API: no captured value leaves its place; and what it answers about waiting."""

from __future__ import annotations

import json
import math
import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from yarl import URL

from fuzz.cut import knob
from sidecar.capture.sources import usable
from sidecar.capture.template import names_in, render_header, render_json, render_path
from sidecar.upstream.retry_after import retry_after_s

if TYPE_CHECKING:
    from collections.abc import Mapping

PATHS: Final = ("/admin/{id}", "/a/{id}/b?c={id}&d=1", "/{id}", "/x-{id}.json", "/{{{id}}}")
JSON: Final[Mapping[str, Any]] = MappingProxyType({"id": "{id}", "in": ["x{id}y", 1, None], "{id}": "{{id}}"})
NOW: Final = 1_700_000_000.0


def admin(data: bytes) -> None:
    """Fill a captured value into a call."""
    which, data = knob(data)
    value = data.decode("utf-8", "replace")
    if not usable(value):
        return
    template = PATHS[which % len(PATHS)]
    assert names_in(template) == {"id"}
    path = render_path(template, {"id": value})
    assert path.isascii()
    assert path.isprintable()
    assert not {" ", "#", "\\"} & set(path)
    empty = render_path(template, {"id": "x"})
    assert path.count("/") == empty.count("/")
    assert path.count("?") == empty.count("?")
    assert path.count("&") == empty.count("&")
    assert not {".", "..", "%2E", "%2E%2E"} & {segment.upper() for segment in path.partition("?")[0].split("/")}
    for decoded in (unquote(path), unquote(unquote(path))):  # a backend may do so, and tidy up after that
        segments = re.split(r"[/\\]", re.split(r"[?#]", decoded)[0])
        assert not {".", ".."} & {segment.partition(";")[0] for segment in segments}, decoded
    url = URL("http://backend.internal:9000" + path, encoded=True)
    assert (url.scheme, url.host, url.port) == ("http", "backend.internal", 9000)
    assert url.raw_path_qs == path
    assert unquote(render_path("{id}", {"id": value})) == value
    assert json.loads(json.dumps(render_json(dict(JSON), {"id": value}))) == {
        "id": value,
        "in": [f"x{value}y", 1, None],
        "{id}": "{id}",
    }
    assert not {"\r", "\n", "\0"} & set(render_header("Bearer {id}", {"id": value}))


def retry_after(data: bytes) -> None:
    """Read a Retry-After and a Date."""
    value, _, date = data.decode("latin-1").partition("\n")
    seconds = retry_after_s(value, date=date or None, now=NOW)
    assert seconds is None or (seconds >= 0 and math.isfinite(seconds))
