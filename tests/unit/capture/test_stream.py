"""The scanner: what a body tells, however it is cut into pieces, framed or compressed."""

from __future__ import annotations

import gzip
import itertools
import json
import zlib
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.capture.sources import Source, SourceSyntaxError, parse_source
from sidecar.capture.stream import StreamScanner

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCES = {
    "conversation_id": tuple(
        map(parse_source, ["request.json:/conversationId", "stream.json:/temp_id", "stream.json:/chat/final_id"])
    ),
    "task_id": (parse_source("stream.json:/task_id ~ ^t-(.+)$"),),
}
TERMINAL = ("data: [DONE]", "event: message_stop", "stream.json:/done ~ ^(true)$")


def scanner(
    known: dict[str, str] | None = None,
    terminal: tuple[str, ...] = TERMINAL,
    *,
    encoding: str | None = None,
    line_bytes_max: int = 65_536,
    sources: dict[str, tuple[Source, ...]] | None = None,
) -> StreamScanner:
    return StreamScanner(
        SOURCES if sources is None else sources,
        known=known or {},
        terminal=terminal,
        encoding=encoding,
        line_bytes_max=line_bytes_max,
    )


class Told(NamedTuple):
    """What a scanner made of a body: positions count from the body's start."""

    learned: dict[str, str]
    final: dict[str, str]
    terminal: int | str | None
    skipped_lines: int


def tell(scan: StreamScanner, *pieces: bytes) -> Told:
    passed, terminal = 0, None
    found: int | str | None = None
    for piece in pieces:
        terminal = scan.feed(piece)
        if terminal is not None:
            assert found is None
            assert 0 <= terminal <= len(piece)
            found = passed + terminal
        passed += len(piece)
    if scan.end():
        assert found is None
        found = "end"
    assert scan.idle
    return Told(scan.take(), scan.final, found, scan.skipped_lines)


@pytest.mark.parametrize(
    ("body", "learned"),
    [
        (b'{"temp_id": "a"}\n', "a"),
        (b'{"temp_id": "a"}\r\n', "a"),
        (b'{"temp_id": "a"}', "a"),
        (b'  {"temp_id": "a"} \n', "a"),
        (b'\xef\xbb\xbf{"temp_id": "a"}\n', "a"),
        (b'\xef\xbb\xbfdata: {"temp_id": "a"}\n\n', "a"),
        (b'data: {"temp_id": "a"}\n\n', "a"),
        (b'data:{"temp_id": "a"}\n', "a"),
        (b'data: {"temp_id": "a"}', "a"),
        (b'id: 1\r\nevent: start\r\ndata: {"temp_id": "a"}\r\n\r\n', "a"),
        (b'data: {"x": 1}\ndata: {"temp_id": "a"}\ndata: {"y": 1}\n', "a"),
        (b'data: {\ndata:   "temp_id":\ndata:   "a"\ndata: }\n\n', "a"),
        (b'data: {\r\ndata:   "temp_id": "a"\r\n: a comment\r\ndata: }\r\n\r\n', "a"),
        (b'data: {"temp_id":\ndata: "a"}', "a"),
        (b'data: {"temp_id":\n\ndata: "a"}\n\n', None),
        (b'Hello\nthere\n{"temp_id": "a"}\nyou', "a"),
        (b'Hello there{"temp_id": "a"}\n', "a"),
        (b'{Hello} { "there" {"temp_id": "a"}', "a"),
        (b"{" * 9 + b'{"temp_id": "a"}\n', None),
        (b'{"temp_id": "a"} said the answer\n', None),
        (b'id: {"temp_id": "a"}x\n', None),
        (b'"temp_id": "a"\n', None),
        (b'{"x": {"temp_id": "a"}}\n', None),
        (b'{"temp_id": "a', None),
        (b'{"temp_id": "\xff"}\n', None),
        (b'{"temp_id": ' + b"[" * 20_000 + b"\n", None),
        (rb'{"\u0074emp_id": "\u0061"}' + b"\n", "a"),
        (b'{"temp_id": 7}\n', "7"),
        (b"", None),
        (b"\n\n\n", None),
    ],
    ids=itertools.count(),
)
def test_where_an_id_is_found(body: bytes, learned: str | None) -> None:
    expected = {} if learned is None else {"conversation_id": learned}
    assert tell(scanner(), body).learned == expected
    assert tell(scanner(), *(body[i : i + 1] for i in range(len(body)))).learned == expected


@pytest.mark.parametrize(
    ("before", "frame", "after"),
    [
        (b"data: a\n\n", b"data: [DONE]\n", b"\n"),
        (b"data: a\n\n", b"data:[DONE]  \r\n", b"\r\ndata: [DONE]\n\n"),
        (b"", b"data: [DONE]\n", b""),
        (b'data: {"x": 1}\n\n', b"event: message_stop\n", b"data: {}\n\n"),
        (b'{"done": false}\n', b'{"done": true}\n', b'{"done": true}\n'),
        (b'event: x\n: "done"\n', b'data: {\ndata: "done": true}\n\n', b"data: [DONE]\n"),
        (b'{"text": "data: [DONE]"}\ndata: [DONE] not\nxdata: [DONE]\n', b"data: [DONE]\n", b"text"),
    ],
    ids=itertools.count(),
)
def test_where_the_terminal_frame_begins(before: bytes, frame: bytes, after: bytes) -> None:
    assert scanner().feed(before + frame + after) == len(before)
    assert scanner().feed(memoryview(before + frame)) == len(before)

    cut = scanner()
    assert cut.feed(before) is None
    assert cut.feed(frame[:-1]) is None
    assert cut.feed(frame[-1:] + after) == 0
    assert not cut.end()


@pytest.mark.parametrize(
    "frame", [b"data: [DONE]", b'{"done": true}', b"data: [DONE]\r", b'data: {"done":\ndata: true}']
)
def test_a_last_line_without_its_end(frame: bytes) -> None:
    scan = scanner()
    assert scan.feed(b"text\n" + frame) is None
    assert scan.end()
    assert not scan.end()


@pytest.mark.parametrize("body", [b"", b"text", b"data: [DON", b"data: [DONE]\nmore"])
def test_an_end_that_is_no_frame(body: bytes) -> None:
    scan = scanner()
    scan.feed(body)
    assert not scan.end()


def test_what_the_terminal_frame_tells_and_what_comes_after_it_counts() -> None:
    scan = scanner()
    assert scan.feed(b'{"temp_id": "temp_1", "done": true}\n') == 0
    assert scan.feed(b'{"chat": {"final_id": "c"}}\n') is None
    assert (scan.take(), scan.final) == ({"conversation_id": "temp_1"}, {"conversation_id": "c"})


def test_take_gives_each_value_once_and_as_soon_as_its_line_has_ended() -> None:
    scan = scanner()
    scan.feed(b'{"temp_id": "a"}')
    assert scan.take() == {}
    scan.feed(b'\n{"task_id": "t-7"')
    assert scan.learned == {"conversation_id": "a"}
    assert scan.take() == {"conversation_id": "a"}
    assert scan.take() == {}
    scan.feed(b"}\n")
    assert scan.take() == {"task_id": "7"}


@pytest.mark.parametrize(
    ("known", "terminal", "idle"),
    [
        ({}, (), False),
        ({"conversation_id": "a"}, (), False),
        ({"conversation_id": "a", "task_id": "t"}, (), True),
        ({"conversation_id": "temp_a", "task_id": "t"}, (), False),
        ({"conversation_id": "a", "task_id": "temp_t"}, (), False),
        ({"conversation_id": "a", "task_id": "t"}, TERMINAL, False),
    ],
)
def test_idle_from_the_start(known: dict[str, str], terminal: tuple[str, ...], *, idle: bool) -> None:
    assert scanner(known, terminal).idle is idle


def test_a_byte_order_mark_is_only_at_the_beginning() -> None:
    assert scanner().feed(b"\xef\xbb\xbfdata: [DONE]\n") == 0
    later = scanner()
    assert later.feed(b"text\n") is None
    assert later.feed(b"\xef\xbb\xbfdata: [DONE]\n") is None


def test_an_event_whose_first_line_says_nothing_of_what_is_wanted() -> None:
    pieces = [b"data: {\n", b'data: "temp_id": "a"\n', b"data: }\n\n"]
    assert tell(scanner(), *pieces).learned == {"conversation_id": "a"}


def test_a_line_that_is_too_long_counts_even_if_it_says_nothing() -> None:
    long = b"x" * 101 + b"\n"
    assert tell(scanner(line_bytes_max=100), long).skipped_lines == 1
    assert tell(scanner(line_bytes_max=100), long[:50], long[50:]).skipped_lines == 1


def test_idle_as_soon_as_all_is_found() -> None:
    scan = scanner(terminal=())
    idle = []
    for body in (b'{"temp_id": "a"}\n', b'{"task_id": "t-1"}\n{"task_id": "t-2"}\n'):
        assert scan.feed(body) is None
        idle.append(scan.idle)
    assert idle == [False, True]
    assert scan.take() == {"conversation_id": "a", "task_id": "1"}
    assert scan.feed(b'{"task_id": "t-3"}\n') is None
    assert not scan.end()


def test_a_terminal_entry_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(SourceSyntaxError):
        scanner(terminal=("stream.json:done",))


@pytest.mark.parametrize("piece_bytes", [1, 7, 1000])
def test_a_line_that_is_too_long_is_skipped_and_takes_no_memory(piece_bytes: int) -> None:
    scan = scanner(line_bytes_max=100)
    body = b'{"x": "' + b"x" * 500 + b'", "temp_id": "no"}\n' + b'{"temp_id": "a"}\n'
    for start in range(0, len(body), piece_bytes):
        scan.feed(body[start : start + piece_bytes])
        assert len(scan._line) <= 100
    assert scan.skipped_lines == 1
    assert scan.take() == {"conversation_id": "a"}


@pytest.mark.parametrize(("extra", "learned"), [(0, {"conversation_id": "a"}), (1, {})])
def test_the_longest_line(extra: int, learned: dict[str, str]) -> None:
    line = b'{"temp_id": "a"}'
    assert tell(scanner(line_bytes_max=len(line)), line + b" " * extra + b"\n").learned == learned


def test_an_event_that_is_too_long_or_lacks_a_line_is_let_go() -> None:
    long = b"data: {\n" + b'data: "x": 1,\n' * 100 + b'data: "temp_id": "a"}\n\n'
    assert tell(scanner(line_bytes_max=200), long).learned == {}
    assert tell(scanner(), long).learned == {"conversation_id": "a"}
    lacking = b'data: {"temp_id": "a"\ndata: ' + b" " * 300 + b"\ndata: }\n\n"
    assert tell(scanner(line_bytes_max=200), lacking).learned == {}
    assert tell(scanner(line_bytes_max=200), lacking + b'data: {"temp_id":\ndata: "b"}\n\n').learned == {
        "conversation_id": "b"
    }


@pytest.mark.parametrize("encoding", [None, "", "identity", " Identity "])
def test_a_body_that_is_not_coded(encoding: str | None) -> None:
    assert tell(scanner(encoding=encoding), b'{"temp_id": "a"}\n').learned == {"conversation_id": "a"}


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, br", "compress"])
def test_a_coding_that_is_not_known_makes_blind(encoding: str) -> None:
    scan = scanner(encoding=encoding)
    assert (scan.blind, scan.idle) == (True, True)
    assert scan.feed(b'{"temp_id": "a"}\n') is None
    assert not scan.end()


@pytest.mark.parametrize(
    ("encoding", "encode"), [("gzip", gzip.compress), ("GZIP", gzip.compress), ("deflate", zlib.compress)]
)
def test_a_coded_body(encoding: str, encode: Callable[[bytes], bytes]) -> None:
    coded = encode(b'{"temp_id": "a"}\n\ndata: [DONE]\n\n{"task_id": "t-1"}')
    assert tell(scanner(encoding=encoding), coded) == Told({"conversation_id": "a", "task_id": "1"}, {}, 0, 0)
    pieces = [coded[i : i + 1] for i in range(len(coded))]
    told = tell(scanner(encoding=encoding), *pieces)
    assert told.learned == {"conversation_id": "a", "task_id": "1"}
    assert told.terminal is not None


@pytest.mark.parametrize("body", [b"plain", gzip.compress(bytes(32 * 1024 * 1024), 1)], ids=["broken", "bomb"])
def test_a_coded_body_that_cannot_be_decoded_makes_blind(body: bytes) -> None:
    scan = scanner(encoding="gzip")
    assert not scan.blind
    assert scan.feed(body) is None
    assert (scan.blind, scan.idle) == (True, True)
    assert scan.feed(b"more") is None


FRAMES = [
    b'{"temp_id": "temp_1"}\n',
    b'{"temp_id": "real"}\r\n',
    b'{"chat": {"final_id": "f1"}}\n',
    b'{"chat": {"final_id": "temp_1"}}\n',
    b'data: {"chat": {"final_id": "f2"}}\n\n',
    b'data: {"chat":\r\ndata: {"final_id": "f3"}\r\ndata: }\r\n\r\n',
    b'data: {"temp_id": "temp_2"\n',
    b"data: }\n",
    b'data: {"task_id": "t-1"}\n\n',
    b'{"task_id": "x"}\n',
    b"data: [DONE]\n\n",
    b'{"done": true}\n',
    b'data: {"done":\ndata: true}\n\n',
    b"event: message_stop\n",
    b"Hello there",
    b" [DONE] ",
    b"\n",
    b"\r\n",
    b'{"x": "' + b"y" * 90 + b'"}\n',
    b"data: " + b"z" * 90,
    b"\xef\xbb\xbf",
    b'data: {"delta": "word"}\n\n',
    b'{"delta": "word"}\n',
]
KNOWN = st.sampled_from([{}, {"conversation_id": "temp_0"}, {"conversation_id": "real", "task_id": "t"}])


@given(
    st.lists(st.sampled_from(FRAMES), max_size=12).map(b"".join),
    st.lists(st.integers(0, 400), max_size=12),
    KNOWN,
    st.sampled_from([80, 65_536]),
)
@example(b'data: {"temp_id": "temp_2"\ndata: }\n\n', [26, 27, 34], {}, 80)
def test_no_cut_changes_what_a_body_tells(body: bytes, cuts: list[int], known: dict[str, str], limit: int) -> None:
    whole = tell(scanner(known, line_bytes_max=limit), body)
    borders = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    pieces = [body[a:b] for a, b in itertools.pairwise(borders)]
    cut = tell(scanner(known, line_bytes_max=limit), *pieces)
    assert cut._replace(terminal=None) == whole._replace(terminal=None)

    bytewise = scanner(known, line_bytes_max=limit)
    seen_at = next((i for i in range(len(body)) if bytewise.feed(body[i : i + 1]) is not None), None)
    if seen_at is None or not isinstance(whole.terminal, int):
        assert seen_at is None
        assert cut.terminal == whole.terminal
    else:  # told in the piece that makes the frame whole; what has passed by then has passed
        piece_start = next(a for a, b in itertools.pairwise(borders) if a <= seen_at < b)
        assert cut.terminal == max(whole.terminal, piece_start)


WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=20)
VALUES = st.sampled_from(["temp_1", "temp_2", "c-1", "c-2"])
DOCUMENTS = st.one_of(
    st.fixed_dictionaries({"delta": WORDS}),
    st.fixed_dictionaries({"temp_id": VALUES}, optional={"delta": WORDS, "done": st.booleans()}),
    st.fixed_dictionaries({"chat": st.fixed_dictionaries({"final_id": VALUES})}),
    st.fixed_dictionaries({"done": st.booleans()}),
)


def _expected(documents: list[dict[str, object]]) -> tuple[str | None, str | None]:
    """Say by the rule's own words what is learned first, and what supersedes it."""
    learned, from_temp, final = None, False, None
    for document in documents:
        chat = document.get("chat")
        answers = (document.get("temp_id"), chat.get("final_id") if isinstance(chat, dict) else None)
        for rank, value in enumerate(answers):
            if isinstance(value, str):
                if learned is None:
                    learned, from_temp = value, rank == 0
                elif learned.startswith("temp_") and from_temp and rank == 1 and value != learned:
                    final = value
    return learned, final


@given(st.lists(DOCUMENTS, max_size=10), st.sampled_from(["sse", "ndjson", "lines"]), st.integers(1, 50), st.booleans())
def test_what_is_told_follows_from_the_documents(
    documents: list[dict[str, object]],
    form: str,
    piece_bytes: int,
    ascii_only: bool,
) -> None:
    def frame(document: dict[str, object]) -> bytes:
        indent = 1 if form == "lines" else None
        lines = json.dumps(document, ensure_ascii=ascii_only, indent=indent).encode().split(b"\n")
        return lines[0] + b"\n" if form == "ndjson" else b"".join(b"data: " + line + b"\n" for line in lines) + b"\n"

    frames = [frame(document) for document in documents]
    body = b"".join(frames)
    done = next((index for index, document in enumerate(documents) if document.get("done")), None)
    position = None if done is None else len(b"".join(frames[:done]))
    learned, final = _expected(documents)

    whole = tell(scanner(), body)
    assert whole == Told(
        {} if learned is None else {"conversation_id": learned},
        {} if final is None else {"conversation_id": final},
        position,
        0,
    )
    pieces = [body[i : i + piece_bytes] for i in range(0, len(body), piece_bytes)]
    assert tell(scanner(), *pieces)[:2] == whole[:2]
