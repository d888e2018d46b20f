"""What the admin API gets to read, byte by byte: no value leaves its place, and the token stays with its host."""

from __future__ import annotations

import asyncio
import itertools
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.capture.sources import usable
from sidecar.engine.ports import Verdict
from sidecar.turn.state import StepKind
from tests.integration.upstream.scripted import Peer, scripted
from tests.integration.upstream.test_admin import client_at, turn_with

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

CALL: Final = {
    "method": "PUT",
    "path": "/admin/{conversation_id}/x?id={conversation_id}&y=1",
    "headers": {"X-Conversation": "<{conversation_id}>"},
    "json": {"id": "{conversation_id}", "list": ["{conversation_id}", 1]},
}
DANGEROUS: Final = "./\\%?#&=+;:@ \"'<>{}[]~\r\n\0\t\x7f\x85\u2028\u00e9\ud7ff"
TOKEN: Final = {"Authorization": "Bearer s3cret"}


class Backend:
    """Writes down every byte that it gets, and answers each request with 200."""

    def __init__(self) -> None:
        self.requests: list[tuple[bytes, bytes]] = []
        self.url = ""

    @classmethod
    @asynccontextmanager
    async def listening(cls, answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") -> AsyncIterator[Backend]:
        backend = cls()

        async def script(peer: Peer) -> None:
            while True:
                try:
                    head = await peer.request()
                except (asyncio.IncompleteReadError, ConnectionError):
                    return
                length = next((line for line in head.split(b"\r\n") if line.startswith(b"Content-Length: ")), b": 0")
                backend.requests.append((head, await peer.read(int(length.partition(b": ")[2]))))
                await peer.send(answer)

        async with scripted(script) as port:
            backend.url = f"http://127.0.0.1:{port}"
            yield backend


def is_as_configured(head: bytes, body: bytes, value: str) -> None:
    line, *fields = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    quoted = quote(value, safe="")
    assert line == f"PUT /admin/{quoted}/x?id={quoted}&y=1 HTTP/1.1".encode()
    names = [field.partition(b": ")[0] for field in fields]
    assert sorted(names) == [
        *(b"Accept", b"Accept-Encoding", b"Authorization", b"Content-Length", b"Content-Type", b"Host"),
        *(b"Idempotency-Key", b"User-Agent", b"X-Conversation", b"X-Request-Id"),
    ]
    assert b"X-Conversation: <%b>" % value.encode() in fields
    assert not [field for field in fields if b"\r" in field or b"\n" in field or b"\0" in field]
    assert json.loads(body) == {"id": value, "list": [value, 1]}


async def call_with(values: Iterable[str]) -> None:
    """Make a call with each value that could be captured, and look at each byte of it."""
    asked = [value for value in values if usable(value)]
    async with Backend.listening() as backend, client_at(backend.url, rollback=CALL, headers=TOKEN) as client:
        for value in asked:
            turn = turn_with(conversation_id=value)
            assert (await client.call(StepKind.ROLLBACK, turn, idempotency_key="k")).verdict is Verdict.DONE
        assert len(backend.requests) == len(asked)
        for (head, body), value in zip(backend.requests, asked, strict=True):
            is_as_configured(head, body, value)


async def test_every_byte() -> None:
    await call_with(f"a{chr(code)}b" for code in range(256))


async def test_every_pair_of_what_is_dangerous() -> None:
    await call_with("".join(pair) for pair in itertools.product(DANGEROUS, repeat=2))


@given(
    values=st.lists(st.text(st.sampled_from(DANGEROUS + "ab2eEfF5cC"), min_size=1) | st.text(min_size=1), max_size=20)
)
@settings(max_examples=15)
def test_anything(values: list[str]) -> None:
    asyncio.run(call_with(values))


@pytest.mark.parametrize(
    "value",
    [
        *("..", ".", " .. ", "../x", "x/..", "a/../b", "a\\..\\b", "..\\", "./x", "/..", "//..//"),
        *("%2e%2e", "%2E.", "..%2fx", "..%2Fx", "x%2F..", "%252e%252e", "..%255cx", "..;", "..;/x", "a/..;b", "..%3b/"),
        *("..?x", "a/..#b", "..%3fx", ".%2523"),
    ],
)
def test_what_walks_up_is_no_id(value: str) -> None:
    """A backend may decode once more than it should, and tidy up after that."""
    assert not usable(value)


@pytest.mark.parametrize(
    "value", ["a..b", "...", "v1.2", ".hidden", "a.", "a/b", "..a", "a/..b", "50%", "a%2Fb", ";x", "%"]
)
def test_what_does_not_walk_up_is_one(value: str) -> None:
    assert usable(value)


# -- the token ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_the_token_follows_no_redirect(status: int) -> None:
    async with Backend.listening() as elsewhere:
        location = elsewhere.url.encode()
        answer = b"HTTP/1.1 %d Go\r\nLocation: %b/x\r\nContent-Length: 0\r\n\r\n" % (status, location)
        async with Backend.listening(answer) as backend, client_at(backend.url, headers=TOKEN) as client:
            outcome = await client.call(StepKind.ROLLBACK, turn_with(conversation_id="c"), idempotency_key="k")
        assert outcome.error == f"answered {status}"
        assert len(backend.requests) == 1
        assert elsewhere.requests == []


async def test_the_environment_neither_diverts_nor_adds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login a password b\n")
    netrc.chmod(0o600)
    async with Backend.listening() as elsewhere, Backend.listening() as backend:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, elsewhere.url)
        monkeypatch.setenv("NETRC", str(netrc))
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        async with client_at(backend.url) as client:
            outcome = await client.call(StepKind.ROLLBACK, turn_with(conversation_id="c"), idempotency_key="k")
        assert outcome.verdict is Verdict.DONE
        assert elsewhere.requests == []
        assert b"authorization" not in backend.requests[0][0].lower()


async def test_a_captured_value_changes_no_host() -> None:
    call: dict[str, Any] = {"method": "POST", "path": "/{conversation_id}"}
    async with Backend.listening() as elsewhere, Backend.listening() as backend:
        host = elsewhere.url.removeprefix("http://")
        async with client_at(backend.url, rollback=call, headers=TOKEN) as client:
            for value in (f"@{host}/", f"//{host}/", f"http://{host}/", f"\\\\{host}\\", f"?@{host}", f"#@{host}"):
                turn = turn_with(conversation_id=value)
                assert (await client.call(StepKind.ROLLBACK, turn, idempotency_key="k")).verdict is Verdict.DONE
        assert len(backend.requests) == 6
        assert elsewhere.requests == []
