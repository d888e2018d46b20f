"""Entries are cut out of a JSON text; whatever is not cut stays as it was, to the byte."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.downstream.json_list import JsonList

ID: Final = ("id",)
SPACE: Final = st.text(" \t\n\r", max_size=2)
NUMBERS: Final = st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?", fullmatch=True)
ESCAPES: Final = {
    "\n": "\\n",
    '"': '\\"',
    "\\": "\\\\",
    "/": "\\/",
    "é": "\\u00E9",
    "😀": "\\ud83d\\uDE00",
    "\x00": "\\u0000",
}
MUST_ESCAPE: Final = frozenset('\n"\\\x00')


def read_all(text: bytes) -> Any:  # noqa: ANN401  (JSON)
    """Read a JSON text so that nothing is lost: objects as pairs in their order, numbers as they are written."""
    return json.loads(text, object_pairs_hook=tuple, parse_int=lambda digits: ("n", digits), parse_float=str)


@st.composite
def strings(draw: st.DrawFn, value: str | None = None) -> str:
    """Write a string, with escapes here and there."""
    plain = draw(st.text('aé😀\n"\\/,:[]{} \x00', max_size=6)) if value is None else value
    chars = [ESCAPES[c] if c in MUST_ESCAPE or (c in ESCAPES and draw(st.booleans())) else c for c in plain]
    return '"' + "".join(chars) + '"'


@st.composite
def containers(draw: st.DrawFn, brackets: str, members: list[str]) -> str:
    """Write a container, with space wherever it may be."""
    spaced = [draw(SPACE) + member + draw(SPACE) for member in members]
    return brackets[0] + (",".join(spaced) or draw(SPACE)) + brackets[1]


@st.composite
def members(draw: st.DrawFn, key: str, value: str) -> str:
    return draw(strings(key)) + draw(SPACE) + ":" + draw(SPACE) + value


LEAVES: Final = st.one_of(st.sampled_from(["null", "true", "false", '""', "[]", "{}"]), NUMBERS, strings())


def _nested(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.tuples(st.sampled_from(["a", "id", "items", "é"]), values).flatmap(lambda pair: members(*pair))
    arrays = st.lists(values, max_size=3).flatmap(lambda listed: containers("[]", listed))
    return arrays | st.lists(pairs, max_size=3).flatmap(lambda listed: containers("{}", listed))


VALUES: Final = st.recursive(LEAVES, _nested, max_leaves=5)


@dataclass
class Case:
    """A document with a list in it: the text up to the list's `[` and from its `]` on, and the entries as written."""

    tokens: tuple[str, ...]
    before: str
    entries: list[str]
    inside: str
    after: str
    ids: list[str | None]

    @property
    def text(self) -> bytes:
        return (self.before + self.inside + self.after).encode()

    def expected(self, gone: set[str]) -> bytes:
        """Write the document anew without these entries: what comes of the cut has to be read like that."""
        kept = [entry for entry, name in zip(self.entries, self.ids, strict=True) if name not in gone]
        return (self.before + "[" + ",".join(kept) + "]" + self.after).encode()


@st.composite
def entries(draw: st.DrawFn, name: str | None) -> str:
    """Write an entry with that id among other things; without one, whatever has none."""
    if name is None:
        return draw(
            st.sampled_from(['"text"', "5", "null", "[]", '[{"id": "no"}]', "{}", '{"id": null}', '{"id": {}}'])
        )
    others = draw(st.lists(st.tuples(st.sampled_from(["a", "b", "items"]), VALUES), max_size=2))
    written = [draw(members(key, value)) for key, value in others]
    written.insert(draw(st.integers(0, len(written))), draw(members("id", draw(strings(name)))))
    return draw(containers("{}", written))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    names = draw(st.lists(st.sampled_from(["a", "é", "c/1", "d", "😀"]), unique=True, max_size=5))
    ids: list[str | None] = [*names, *([None] * draw(st.integers(0, 2)))]
    ids = draw(st.permutations(ids))
    written = [draw(entries(name)) for name in ids]
    tokens: list[str] = []
    before = after = ""
    for _ in range(draw(st.integers(0, 3))):  # from the inside to the outside
        beside = [draw(st.lists(VALUES, max_size=2)) for _ in range(2)]
        if draw(st.booleans()):
            key = draw(st.sampled_from(["items", "data", ""]))
            left, right = [[draw(members("beside", value)) for value in values] for values in beside]
            opening, own, closing = "{", draw(members(key, "")), "}"
        else:
            (left, right), opening, own, closing = beside, "[", "", "]"
            key = str(len(left))
        before = opening + "".join(one + draw(SPACE) + "," for one in left) + draw(SPACE) + own + before
        after = after + draw(SPACE) + "".join("," + draw(SPACE) + one for one in right) + closing
        tokens.insert(0, key)
    outside = draw(SPACE), draw(SPACE)
    inside = draw(containers("[]", written))
    return Case(tuple(tokens), outside[0] + before, written, inside, after + outside[1], ids)


@given(cases(), st.data())
def test_what_is_cut_is_gone_and_nothing_else(case: Case, data: st.DataObject) -> None:
    found = JsonList.read(case.text, case.tokens, ID)
    names = {name for name in case.ids if name is not None}
    assert found.ids == names
    gone = data.draw(st.sets(st.sampled_from(sorted(names))) if names else st.just(set[str]()))
    result = found.without(gone)
    assert read_all(result) == read_all(case.expected(gone))
    assert result.startswith((case.before + "[").encode())
    assert result.endswith(("]" + case.after).encode())


@given(cases(), st.data())
def test_entries_that_stay_are_the_same_to_the_byte(case: Case, data: st.DataObject) -> None:
    found = JsonList.read(case.text, case.tokens, ID)
    gone = data.draw(st.sets(st.sampled_from(sorted(found.ids))) if found.ids else st.just(set[str]()))
    again = JsonList.read(found.without(gone), case.tokens, ID)

    def written(listed: JsonList) -> list[str]:
        return [listed._text[entry.start : entry.end] for entry in listed._lists[0] if entry.id not in gone]

    assert written(again) == written(found)
    assert len(again._lists[0]) == len(written(found))


@given(cases())
def test_to_cut_nothing_changes_nothing(case: Case) -> None:
    found = JsonList.read(case.text, case.tokens, ID)
    assert found.without(set()) == found.without({"unknown"}) == case.text


@given(cases())
def test_to_cut_all_leaves_the_list(case: Case) -> None:
    found = JsonList.read(case.text, case.tokens, ID)
    result = JsonList.read(found.without(found.ids), case.tokens, ID)
    assert result.ids == frozenset()


@given(VALUES)
def test_other_text_is_a_list_at_its_top_or_none(text: str) -> None:
    if text.startswith("["):
        JsonList.read(text.encode(), (), ID)
    else:
        with pytest.raises(ValueError, match="no list"):
            JsonList.read(text.encode(), (), ID)


LISTED = b'{"items": [{"id": 1, "n": 1.50E+2}, {"id": 2},\n  {"id": 3}]}'


@pytest.mark.parametrize(
    ("gone", "result"),
    [
        ("1", b'{"items": [{"id": 2},\n  {"id": 3}]}'),
        ("2", b'{"items": [{"id": 1, "n": 1.50E+2},\n  {"id": 3}]}'),
        ("3", b'{"items": [{"id": 1, "n": 1.50E+2}, {"id": 2}]}'),
        ("12", b'{"items": [{"id": 3}]}'),
        ("13", b'{"items": [{"id": 2}]}'),
        ("23", b'{"items": [{"id": 1, "n": 1.50E+2}]}'),
        ("123", b'{"items": []}'),
    ],
)
def test_one_comma_and_its_space_go_with_an_entry(gone: str, result: bytes) -> None:
    assert JsonList.read(LISTED, ("items",), ID).without(set(gone)) == result


def test_an_id_is_the_text_in_which_it_was_sent() -> None:
    listed = JsonList.read(b'[{"id": 12345678901234567890}, {"id": 1.0}, {"id": "1"}, {"id": true}]', (), ID)
    assert listed.ids == {"12345678901234567890", "1.0", "1", "true"}


def test_an_id_may_be_the_entry_itself_or_deep_in_it() -> None:
    assert JsonList.read(b'["a", "b"]', (), ()).without({"a"}) == b'["b"]'
    deep = b'[{"x": [0, {"y": "a"}]}, {"x": [0, {"y": "b"}]}]'
    assert JsonList.read(deep, (), ("x", "1", "y")).without({"b"}) == b'[{"x": [0, {"y": "a"}]}]'


def test_what_cannot_be_an_id_is_none() -> None:
    assert JsonList.read(b'[{"id": ""}, {"id": "\\ud800"}, {"id": "a\\nb"}]', (), ID).ids == frozenset()


def test_a_list_that_comes_twice_is_cut_twice() -> None:
    """Clients differ in which of two equal keys they believe."""
    text = b'{"items": ["a", "b"], "items": ["b", "a"], "items": 5}'
    assert JsonList.read(text, ("items",), ()).without({"a"}) == b'{"items": ["b"], "items": ["b"], "items": 5}'


def test_a_key_is_what_its_escapes_mean() -> None:
    assert JsonList.read(b'{"\\u0069tems": ["a"]}', ("items",), ()).without({"a"}) == b'{"\\u0069tems": []}'


def test_flaws_that_some_client_reads_over_are_read_over() -> None:
    text = b'\xef\xbb\xbf{"x": NaN, "y": "a\tb", "items": ["a"]}'
    assert JsonList.read(text, ("items",), ()).without({"a"}) == text.replace(b'"a"]', b"]")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"nul",
        b'["a"',
        b'["a",]',
        b'["a" "b"]',
        b'[,"a"]',
        b'["a"]]',
        b'["a"] x',
        b'["a"}',
        b"[01]",
        b'["\xff"]',
        b'[\x0b"a"]',
        b"['a']",
        b'["a\\x"]',
        b"[" * 100_000,
        b'[["' + b"[" * 100_000,
        b'{"items": ["a"],}',
        b'{"items" ["a"]}',
        b'{"items": ["a"]',
        b'{items: ["a"]}',
        b'{1: ["a"]}',
        b'{["items"]: ["a"]}',
        '["a"]'.encode("utf-16"),
    ],
)
@pytest.mark.parametrize("tokens", [(), ("items",), ("0",)])
def test_what_is_no_json_is_refused(text: bytes, tokens: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"."):
        JsonList.read(text, tokens, ID)


@pytest.mark.parametrize(
    "text",
    [b"[]", b'{"items": {}}', b'{"items": "[]"}', b'{"other": []}', b'[{"items": []}]', b"5", b'{"a": {"items": []}}'],
)
def test_without_a_list_where_the_pointer_leads_there_is_none(text: bytes) -> None:
    with pytest.raises(ValueError, match="no list"):
        JsonList.read(text, ("items",), ID)


@pytest.mark.parametrize(("token", "entries"), [("0", {"a"}), ("1", {"b"}), ("01", None), ("-", None), ("2", None)])
def test_a_list_within_a_list(token: str, entries: set[str] | None) -> None:
    text = b'[["a"], ["b"]]'
    if entries is None:
        with pytest.raises(ValueError, match="no list"):
            JsonList.read(text, (token,), ())
    else:
        assert JsonList.read(text, (token,), ()).ids == entries
