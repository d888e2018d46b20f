"""An answer as it comes in: whatever the pieces, the receiver hears the same, and its end exactly once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sidecar.errors import PeerError, UpstreamProtocolError, UpstreamTimeoutError
from sidecar.upstream.answer import INFORMATIONAL_MAX, Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.wire.answer_head import Head
    from sidecar.wire.framing import Framing

INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED = b"3\r\nabc\r\n0\r\nT: v\r\n\r\n"
FIVE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"


class Listener:
    """Writes down what it hears; may do something when it hears it."""

    def __init__(self, when: str = "", then: Callable[[], None] = lambda: None) -> None:
        self.heard: list[str] = []
        self.raw = b""
        self.body = b""
        self.error: PeerError | None = None
        self._when = when
        self.then = then

    def informational_received(self, head: Head, raw: bytes) -> None:
        self.raw += raw
        self._note(f"interim {head.status}")

    def switched(self, head: Head, raw: bytes, behind: bytes) -> None:
        self.raw += raw + behind
        self._note(f"switched {head.status}")

    def head_received(self, head: Head, framing: Framing, *, alone: bool) -> None:  # noqa: ARG002  (nothing is written)
        assert framing.spans == []
        self._note(f"head {head.status}")

    def body_received(self, data: bytes, framing: Framing, *, last: bool) -> None:
        assert data or last
        self.raw += data
        self.body += b"".join(data[start:stop] for start, stop in framing.spans)
        if last:
            self._note("last")

    def answer_failed(self, error: PeerError) -> None:
        self.error = error
        self._note("failed")

    def _note(self, what: str) -> None:
        self.heard.append(what)
        if what == self._when:
            self.then()


def answered(*pieces: bytes, method: str = "GET") -> tuple[Listener, Answer]:
    listener = Listener()
    answer = Answer(listener, method)
    for piece in pieces:
        answer.feed(piece)
    return listener, answer


def test_every_split_is_heard_alike() -> None:
    whole = INTERIM + INTERIM + HEAD + CHUNKED
    for cut in range(1, len(whole)):
        listener, answer = answered(whole[:cut], whole[cut:])
        assert listener.heard == ["interim 103", "interim 103", "head 200", "last"]
        assert listener.raw == INTERIM + INTERIM + CHUNKED
        assert listener.body == b"abc"
        assert answer.over
        assert answer.keeps_alive
        assert not answer.surplus


def test_byte_by_byte() -> None:
    whole = INTERIM + HEAD + CHUNKED
    listener, answer = answered(*(whole[position : position + 1] for position in range(len(whole))))
    assert listener.heard == ["interim 103", "head 200", "last"]
    assert listener.raw == INTERIM + CHUNKED
    assert answer.over


@pytest.mark.parametrize(
    ("method", "whole"),
    [
        ("HEAD", FIVE),
        ("HEAD", HEAD),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
        ("DELETE", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ],
)
def test_an_answer_without_body_ends_with_its_head(method: str, whole: bytes) -> None:
    listener, answer = answered(whole, method=method)
    assert listener.heard[1:] == ["last"]
    assert listener.raw == b""
    assert answer.over


@pytest.mark.parametrize("pieces", [[FIVE + b"helloHTTP/1.1 200 OK"], [FIVE, b"hel", b"loX"], [FIVE + b"hello!"]])
def test_bytes_behind_the_end_are_surplus(pieces: list[bytes]) -> None:
    listener, answer = answered(*pieces)
    assert listener.heard == ["head 200", "last"]
    assert listener.raw == b"hello"
    assert answer.surplus


def test_surplus_is_known_by_the_time_of_the_end() -> None:
    seen: list[bool] = []
    listener = Listener("last")
    answer = Answer(listener, "HEAD")
    listener.then = lambda: seen.append(answer.surplus)
    answer.feed(FIVE + b"hello")
    assert seen == [True]


@pytest.mark.parametrize(
    "malformed",
    [
        b"SSH-2.0\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA b\r\n\r\n",
        HEAD + b"x\r\n",
        HEAD + b"1\r\nab\r\n",
    ],
)
def test_a_malformed_answer_fails_once(malformed: bytes) -> None:
    listener, answer = answered(malformed)
    answer.feed(b"more")
    answer.end(broken=True)
    answer.fail(UpstreamTimeoutError("late"))
    assert listener.heard[-1] == "failed"
    assert listener.heard.count("failed") == 1
    assert isinstance(listener.error, UpstreamProtocolError)
    assert answer.over
    assert not answer.keeps_alive


def test_interim_answers_are_limited() -> None:
    listener, answer = answered(INTERIM * INFORMATIONAL_MAX)
    assert not answer.over
    answer.feed(INTERIM)
    assert listener.heard.count("interim 103") == INFORMATIONAL_MAX
    assert listener.heard[-1] == "failed"


@pytest.mark.parametrize(
    ("received", "broken", "end"),
    [
        (b"", False, "failed"),
        (b"HTTP/1.1 200", False, "failed"),
        (INTERIM, False, "failed"),
        (FIVE + b"hell", False, "failed"),
        (HEAD + b"3\r\nabc\r\n", False, "failed"),
        (HEAD + b"3\r\nabc\r\n0\r\n", False, "failed"),
        (b"HTTP/1.0 200 OK\r\n\r\nhello", False, "last"),
        (b"HTTP/1.0 200 OK\r\n\r\n", False, "last"),
        (b"HTTP/1.0 200 OK\r\n\r\nhello", True, "failed"),
    ],
)
def test_what_a_close_means(received: bytes, end: str, *, broken: bool) -> None:
    listener, answer = answered(received)
    answer.end(broken=broken)
    answer.end(broken=broken)
    assert listener.heard[-1] == end
    assert listener.heard.count(end) == 1
    assert not answer.keeps_alive


def test_a_body_until_close_is_heard_whole_before_its_end() -> None:
    listener, answer = answered(b"HTTP/1.1 200 OK\r\n\r\nhel", b"lo")
    assert listener.heard == ["head 200"]
    answer.end(broken=False)
    assert listener.body == b"hello"  # no span is told twice
    assert not answer.keeps_alive


@pytest.mark.parametrize("when", ["interim 103", "head 200", "last"])
def test_who_forgets_hears_nothing_more(when: str) -> None:
    listener = Listener(when)
    answer = Answer(listener, "GET")
    listener.then = answer.forget
    answer.feed(INTERIM + HEAD + CHUNKED)
    answer.end(broken=True)
    assert listener.heard[-1] == when
    assert answer.over
