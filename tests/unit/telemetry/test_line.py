"""A log line's time and JSON: the same as the standard library would write, whatever is in it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.telemetry.line import Stamp, to_json

TEXT = st.text(st.characters(codec=None))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
TO_2200_NS = 7_258_118_400 * 10**9


@given(st.dictionaries(TEXT, VALUES, max_size=6))
@example({"lone": "\ud800"})
@example({"large": 2**64})
@example({"controls": "\x00\x1b\x7f\x9b\u2028"})
def test_a_line_is_the_same_as_the_standard_librarys(event: dict[str, Any]) -> None:
    line = to_json(event, repr)
    assert json.loads(line) == json.loads(json.dumps(event))
    assert line.isascii()
    assert line.isprintable()


@dataclass
class Secretive:
    token: str


def test_what_json_has_not_is_shown_by_the_default_alone() -> None:
    assert json.loads(to_json({"value": Secretive("s")}, lambda _: "shown")) == {"value": "shown"}


@given(st.lists(st.integers(min_value=0, max_value=TO_2200_NS), max_size=4))
def test_the_time_is_that_of_the_clock(times_ns: list[int]) -> None:
    clock = iter(times_ns)
    stamp = Stamp(lambda: next(clock))
    for time_ns in times_ns:
        seconds, rest_ns = divmod(time_ns, 10**9)
        moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest_ns // 1000)
        expected = moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
        assert stamp(None, "info", {})["timestamp"] == expected
