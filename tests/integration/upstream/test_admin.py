"""The admin API's client against a real aiohttp server, and against raw ones where the answer is no proper HTTP."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import pytest
from aiohttp import web

from sidecar.capture.sources import Source, parse_source
from sidecar.config import CAPTURE, Admin, ClientTls
from sidecar.engine.ports import AdminApi, CallOutcome, Verdict
from sidecar.errors import BugError
from sidecar.turn.state import Plan, StepKind, Turn
from sidecar.upstream.admin import ANSWER_BYTES_MAX, AdminClient
from tests.integration.upstream.scripted import ANSWER, Peer, echo, scripted, scripted_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from pytest_aiohttp.plugin import AiohttpServer

    from tests.fakes.authority import Authority

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

CERTIFICATE: Final = Path(__file__).with_name("localhost.pem")
KEY: Final = "turn-1:rollback"
SOURCES: Final[Mapping[str, tuple[Source, ...]]] = {"conversation_id": (parse_source("cancel.json:/conversationId"),)}


def turn_with(*, traceparent: str | None = None, **captured: str) -> Turn:
    return Turn(
        id="turn-1",
        route="/api/ai-coach/chat",
        principal="p-hash",
        begins=True,
        captured=MappingProxyType({"request_id": "req_1", **captured}),
        created_at=0.0,
        plan=Plan(),
        traceparent=traceparent,
    )


@asynccontextmanager
async def client_at(
    base_url: str,
    sources: Mapping[str, tuple[Source, ...]] | None = None,
    *,
    tls: ClientTls | None = None,
    **settings: object,
) -> AsyncIterator[AdminClient]:
    client = AdminClient(
        Admin.model_validate({"timeout_s": 5, **settings}), base_url, lambda _route: sources or {}, tls or ClientTls()
    )
    await client.start()
    try:
        yield client
    finally:
        await client.close()


class Api:
    """A backend's admin API that writes down what it is asked and answers as told."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.requests: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.transports: set[asyncio.BaseTransport | None] = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.bodies.append(await request.read())
        self.transports.add(request.transport)
        return await self.handler(request)


def answering(status: int, body: str = "", headers: Mapping[str, str] | None = None) -> Handler:
    async def handler(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=body, headers=headers)

    return handler


async def serve(aiohttp_server: AiohttpServer, handler: Handler) -> tuple[Api, str]:
    api = Api(handler)
    app = web.Application()
    app.router.add_route("*", "/{anything:.*}", api.handle)
    server = await aiohttp_server(app)
    return api, f"http://127.0.0.1:{server.port}"


async def roll_back(client: AdminClient, **captured: str) -> CallOutcome:
    turn = turn_with(**{"conversation_id": "c-1", **captured})
    return await client.call(StepKind.ROLLBACK, turn, idempotency_key=KEY)


def test_it_is_the_engines_admin_api() -> None:
    _api: AdminApi = AdminClient(Admin(), "http://127.0.0.1:9000", lambda _route: {}, ClientTls())


async def test_a_rollback_as_the_backend_sees_it(aiohttp_server: AiohttpServer) -> None:
    api, url = await serve(aiohttp_server, answering(204))
    async with client_at(url + "/", headers={"Authorization": "Bearer {t}"}) as client:
        turn = turn_with(conversation_id="c-1", traceparent="00-aa-bb-01")
        outcome = await client.call(StepKind.ROLLBACK, turn, idempotency_key=KEY)
    assert outcome == CallOutcome(verdict=Verdict.DONE, status=204)
    (request,) = api.requests
    assert (request.method, request.raw_path) == ("DELETE", "/admin/conversations/c-1")
    assert request.headers["Idempotency-Key"] == KEY
    assert request.headers["X-Request-Id"] == "req_1"
    assert request.headers["traceparent"] == "00-aa-bb-01"
    assert request.headers["Authorization"] == "Bearer {t}"
    assert "Cookie" not in request.headers
    assert api.bodies == [b""]


async def test_fields_and_json_of_the_call_are_filled_in(aiohttp_server: AiohttpServer) -> None:
    api, url = await serve(aiohttp_server, answering(200))
    call = {
        "method": "PUT",
        "path": "/stop?turn={turn_id}&who={principal}",
        "headers": {"x-api": "own {request_id}", "x-request-id": "mine"},
        "json": {"ids": ["{request_id}", "{conversation_id}"], "all": False},
    }
    async with client_at(url, cancel=call, headers={"X-Api": "general", "X-Other": "kept"}) as client:
        turn = turn_with(conversation_id='"}é')
        outcome = await client.call(StepKind.CANCEL, turn, idempotency_key="k")
    assert outcome.verdict is Verdict.DONE
    (request,) = api.requests
    assert (request.method, request.raw_path) == ("PUT", "/stop?turn=turn-1&who=p-hash")
    assert request.headers.getall("X-Api") == ["own req_1"]
    assert request.headers.getall("X-Request-Id") == ["mine"]
    assert request.headers["X-Other"] == "kept"
    assert request.content_type == "application/json"
    assert "traceparent" not in request.headers
    assert json.loads(api.bodies[0]) == {"ids": ["req_1", '"}é'], "all": False}


@pytest.mark.parametrize(
    ("conversation_id", "segment"),
    [
        ("../x", "..%2Fx"),
        ("a/b", "a%2Fb"),
        ("a b", "a%20b"),
        ("é", "%C3%A9"),
        ("%2e%2e", "%252e%252e"),
        ("..", "%2E%2E"),
        (".", "%2E"),
        ("a?b#c", "a%3Fb%23c"),
        ("http://evil/", "http%3A%2F%2Fevil%2F"),
        ("a+b&c=d;e", "a%2Bb%26c%3Dd%3Be"),
    ],
)
async def test_no_id_reaches_another_path(aiohttp_server: AiohttpServer, conversation_id: str, segment: str) -> None:
    api, url = await serve(aiohttp_server, answering(200))
    async with client_at(url) as client:
        assert (await roll_back(client, conversation_id=conversation_id)).verdict is Verdict.DONE
    (request,) = api.requests
    assert request.raw_path == f"/admin/conversations/{segment}"


async def test_a_path_goes_out_as_the_operator_wrote_it(aiohttp_server: AiohttpServer) -> None:
    api, url = await serve(aiohttp_server, answering(200))
    call = {"method": "POST", "path": "/a%2Fb/%c3%A9/{conversation_id}?q=%7e&e="}
    async with client_at(url, rollback=call) as client:
        await roll_back(client)
    assert api.requests[0].raw_path == "/a%2Fb/%c3%A9/c-1?q=%7e&e="


@pytest.mark.parametrize(
    ("status", "verdict", "error"),
    [
        (200, Verdict.DONE, None),
        (202, Verdict.DONE, None),
        (404, Verdict.GONE, None),
        (410, Verdict.GONE, None),
        (500, Verdict.FAILED, "answered 500"),
        (403, Verdict.FAILED, "answered 403"),
        (304, Verdict.FAILED, "answered 304"),
    ],
)
async def test_the_status_decides(
    aiohttp_server: AiohttpServer, status: int, verdict: Verdict, error: str | None
) -> None:
    _api, url = await serve(aiohttp_server, answering(status))
    async with client_at(url) as client:
        assert await roll_back(client) == CallOutcome(verdict=verdict, status=status, error=error)


async def test_the_configured_statuses_decide(aiohttp_server: AiohttpServer) -> None:
    _api, url = await serve(aiohttp_server, answering(409))
    call = {"method": "DELETE", "path": "/{conversation_id}"}
    for statuses, verdict in (({"done": [409]}, Verdict.DONE), ({"gone": [409]}, Verdict.GONE)):
        async with client_at(url, rollback={**call, **statuses}) as client:
            assert (await roll_back(client)).verdict is verdict


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        (
            {"Retry-After": "Fri, 31 Dec 1999 12:00:30 GMT", "Date": "Fri, 31 Dec 1999 12:00:00 GMT"},
            30.0,
        ),
        ({"Retry-After": "soon"}, None),
        ({}, None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_told(
    aiohttp_server: AiohttpServer, status: int, headers: dict[str, str], seconds: float | None
) -> None:
    _api, url = await serve(aiohttp_server, answering(status, headers=headers))
    async with client_at(url) as client:
        outcome = await roll_back(client)
    assert outcome.verdict is Verdict.FAILED
    assert outcome.retry_after_s == seconds


async def test_redirects_are_not_followed_and_cookies_not_kept(aiohttp_server: AiohttpServer) -> None:
    headers = {"Location": "/elsewhere", "Set-Cookie": "a=b; Path=/"}
    api, url = await serve(aiohttp_server, answering(302, headers=headers))
    named = url.replace("127.0.0.1", "localhost")  # a common jar takes no cookies from an address
    async with client_at(named) as client:
        assert (await roll_back(client)).error == "answered 302"
        await roll_back(client)
    assert [request.raw_path for request in api.requests] == ["/admin/conversations/c-1"] * 2
    assert "Cookie" not in api.requests[1].headers


async def test_the_environments_proxy_is_not_used(
    aiohttp_server: AiohttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    _api, url = await serve(aiohttp_server, answering(200))
    async with client_at(url) as client:
        assert (await roll_back(client)).verdict is Verdict.DONE


async def test_the_connection_is_used_again(aiohttp_server: AiohttpServer) -> None:
    api, url = await serve(aiohttp_server, answering(200, '{"ok": true}'))
    async with client_at(url) as client:
        for _ in range(5):
            assert (await roll_back(client)).verdict is Verdict.DONE
    assert len(api.transports) == 1


async def test_calls_at_once_are_limited(aiohttp_server: AiohttpServer) -> None:
    at_once, most = 0, 0
    both = asyncio.Event()

    async def handler(_request: web.Request) -> web.StreamResponse:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        if at_once == 2:
            both.set()
        await both.wait()
        at_once -= 1
        return web.Response()

    _api, url = await serve(aiohttp_server, handler)
    async with client_at(url, concurrency_max=2) as client:
        outcomes = await asyncio.gather(*(roll_back(client) for _ in range(8)))
    assert {outcome.verdict for outcome in outcomes} == {Verdict.DONE}
    assert most == 2


# -- what the cancel call's answer tells -------------------------------------------------------------------------------


async def test_the_cancel_calls_answer_tells_ids(aiohttp_server: AiohttpServer) -> None:
    _api, url = await serve(aiohttp_server, answering(200, '{"conversationId": "c-9"}'))
    async with client_at(url, SOURCES) as client:
        outcome = await client.call(StepKind.CANCEL, turn_with(), idempotency_key="k")
        assert outcome.captured == {"conversation_id": "c-9"}
        known = await client.call(StepKind.CANCEL, turn_with(conversation_id="c-1"), idempotency_key="k")
        assert known.captured == {}
        assert (await roll_back(client)).captured == {}


@pytest.mark.parametrize("body", ["", "not JSON", "[]", '{"conversationId": null}'])
async def test_an_answer_that_tells_nothing_is_still_done(aiohttp_server: AiohttpServer, body: str) -> None:
    _api, url = await serve(aiohttp_server, answering(200, body))
    async with client_at(url, SOURCES) as client:
        outcome = await client.call(StepKind.CANCEL, turn_with(), idempotency_key="k")
    assert outcome == CallOutcome(verdict=Verdict.DONE, status=200)


async def test_an_answer_that_breaks_off_counts_unless_ids_are_awaited() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(ANSWER[:-1])
        peer.close()

    async with scripted(script) as port:
        url = f"http://127.0.0.1:{port}"
        async with client_at(url, SOURCES) as client:
            awaited = await client.call(StepKind.CANCEL, turn_with(), idempotency_key="k")
            assert awaited == CallOutcome(verdict=Verdict.FAILED, error="broke off mid-answer")
            known = await client.call(StepKind.CANCEL, turn_with(conversation_id="c-1"), idempotency_key="k")
            assert known.verdict is Verdict.DONE
            assert (await roll_back(client)).verdict is Verdict.DONE
        async with client_at(url, CAPTURE) as client:  # nothing in it looks into the cancel call's answer
            outcome = await client.call(StepKind.CANCEL, turn_with(), idempotency_key="k")
            assert outcome.verdict is Verdict.DONE


# -- faults ------------------------------------------------------------------------------------------------------------


async def test_a_huge_answer_is_not_read() -> None:
    received = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", bytes(ANSWER_BYTES_MAX + 1))
        await peer.closed()
        received.set()

    async with scripted(script) as port, client_at(f"http://127.0.0.1:{port}") as client:
        assert (await roll_back(client)).verdict is Verdict.DONE
        async with asyncio.timeout(5):
            await received.wait()


async def test_a_compressed_answer_is_not_inflated() -> None:
    async def script(peer: Peer) -> None:
        head = await peer.request()
        assert b"Accept-Encoding: identity\r\n" in head
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello")
        await peer.closed()

    async with scripted(script) as port, client_at(f"http://127.0.0.1:{port}", SOURCES) as client:
        outcome = await client.call(StepKind.CANCEL, turn_with(), idempotency_key="k")
        assert outcome == CallOutcome(verdict=Verdict.DONE, status=200)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"\x00\xff garbage \r\n\r\n", "answered no proper HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "answered no proper HTTP"),
        (b"", "closed before answering"),
        (b"HTTP/1.1 200 OK\r\nConte", "closed before answering"),
    ],
)
async def test_no_proper_answer(answer: bytes, error: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)
        peer.close()

    async with scripted(script) as port, client_at(f"http://127.0.0.1:{port}") as client:
        assert await roll_back(client) == CallOutcome(verdict=Verdict.FAILED, error=error)


async def test_a_kept_connection_that_is_closed_does_not_repeat_the_call() -> None:
    heads: list[bytes] = []

    async def script(peer: Peer) -> None:
        heads.append(await peer.request())
        await peer.send(ANSWER)
        heads.append(await peer.request())
        peer.reset() if peer.number else peer.close()

    async with scripted(script) as port, client_at(f"http://127.0.0.1:{port}") as client:
        for _ in range(2):
            assert (await roll_back(client)).verdict is Verdict.DONE
            outcome = await roll_back(client)
            assert outcome == CallOutcome(verdict=Verdict.FAILED, error="closed before answering")
    assert len(heads) == 4


async def test_a_kept_connection_that_the_backend_has_left_costs_no_attempt() -> None:
    heads: list[bytes] = []

    async def script(peer: Peer) -> None:
        heads.append(await peer.request())
        await peer.send(ANSWER)
        peer.close()

    async with scripted(script) as port, client_at(f"http://127.0.0.1:{port}") as client:
        for _ in range(20):
            assert (await roll_back(client)).verdict is Verdict.DONE
    assert len(heads) == 20


async def test_an_answer_in_chunks_after_an_interim_one() -> None:
    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(
                b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                b'11\r\n{"conversationId"\r\n',
                b'7\r\n: "c-9"\r\n1\r\n}\r\n0\r\nTrailer: x\r\n\r\n',
            )

    async with scripted(script) as port, client_at(f"http://127.0.0.1:{port}", SOURCES) as client:
        for _ in range(2):
            outcome = await client.call(StepKind.CANCEL, turn_with(), idempotency_key="k")
            assert outcome.captured == {"conversation_id": "c-9"}


async def test_an_answer_that_does_not_end_counts_unless_ids_are_awaited() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(ANSWER[:-1])
        await peer.closed()

    async with scripted(script) as port, client_at(f"http://127.0.0.1:{port}", SOURCES, timeout_s=0.1) as client:
        assert (await roll_back(client)).verdict is Verdict.DONE
        outcome = await client.call(StepKind.CANCEL, turn_with(), idempotency_key="k")
        assert outcome == CallOutcome(verdict=Verdict.FAILED, error="no answer within 0.1 s")


async def test_a_call_that_is_given_up_takes_its_connection_along() -> None:
    asked, closed = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        asked.set()
        await peer.closed()
        closed.set()

    async with scripted(script) as port, client_at(f"http://127.0.0.1:{port}") as client:
        call = asyncio.create_task(roll_back(client))
        async with asyncio.timeout(10):
            await asked.wait()
            call.cancel()
            await closed.wait()
        assert client._pool is not None
        assert client._pool.idle_count == 0


@pytest.mark.parametrize(
    ("call", "line", "length"),
    [
        ({"method": "POST", "path": "/x"}, b"POST /api/v1/x HTTP/1.1", [b"Content-Length: 0"]),
        ({"method": "DELETE", "path": "/x?y={conversation_id}"}, b"DELETE /api/v1/x?y=c-1 HTTP/1.1", []),
        ({"method": "DELETE", "path": "/x", "json": {}}, b"DELETE /api/v1/x HTTP/1.1", [b"Content-Length: 2"]),
    ],
)
async def test_a_path_in_the_url_stands_before_the_calls(
    call: dict[str, object], line: bytes, length: list[bytes]
) -> None:
    heads: list[bytes] = []

    async def script(peer: Peer) -> None:
        heads.append(await peer.request())
        await peer.send(ANSWER)

    async with scripted(script) as port:
        framed = {"Content-Length": "7", "Transfer-Encoding": "chunked"}
        async with client_at(f"http://127.0.0.1:{port}/api/v1/", rollback=call, headers=framed) as client:
            assert (await roll_back(client)).verdict is Verdict.DONE
    first, *fields = heads[0].split(b"\r\n")
    assert (first, fields[0]) == (line, f"Host: 127.0.0.1:{port}".encode())
    assert [field for field in fields if field.startswith((b"Content-Length", b"Transfer"))] == length


async def test_a_value_that_would_end_its_line_is_not_sent() -> None:
    async with client_at("http://127.0.0.1:9") as client:
        turn = turn_with(conversation_id="c-1", traceparent="00\r\nX-Evil: 1")
        outcome = await client.call(StepKind.ROLLBACK, turn, idempotency_key=KEY)
    assert outcome == CallOutcome(verdict=Verdict.FAILED, error="cannot be made: ValueError")


async def test_silence_times_out() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.closed()

    async with scripted(script) as port, client_at(f"http://127.0.0.1:{port}", timeout_s=0.1) as client:
        outcome = await roll_back(client)
    assert outcome == CallOutcome(verdict=Verdict.FAILED, error="no answer within 0.1 s")


async def test_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with client_at(f"http://127.0.0.1:{port}", headers={"Authorization": "secret"}) as client:
        outcome = await roll_back(client)
    assert outcome == CallOutcome(verdict=Verdict.FAILED, error="cannot connect: Connection refused")


async def test_a_certificate_that_nobody_trusts() -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(CERTIFICATE)

    async def script(peer: Peer) -> None:
        await peer.closed()

    async with scripted(script, tls=tls) as port, client_at(f"https://localhost:{port}") as client:
        outcome = await roll_back(client)
    assert outcome.verdict is Verdict.FAILED
    assert outcome.error is not None
    assert outcome.error.startswith("cannot connect: its certificate was refused")


async def test_an_authority_a_name_and_a_certificate_of_its_own(authority: Authority) -> None:
    certificate, key = authority.client()
    tls = ClientTls(ca=authority.file, server_name="admin.internal", cert=certificate, key=key)
    async with scripted(echo, tls=authority.server("admin.internal", asks=True)) as port:
        async with client_at(f"https://127.0.0.1:{port}", tls=tls) as client:
            assert (await roll_back(client)).verdict is Verdict.DONE
        async with client_at(f"https://127.0.0.1:{port}", tls=ClientTls(ca=authority.file)) as client:
            error = (await roll_back(client)).error
            assert error is not None
            assert "IP address mismatch" in error


async def test_a_unix_socket(tmp_path: Path) -> None:
    heads: list[bytes] = []

    async def script(peer: Peer) -> None:
        heads.append(await peer.request())
        await peer.send(ANSWER)

    async with scripted_at(script, tmp_path / "admin") as url, client_at(url) as client:
        assert (await roll_back(client)).verdict is Verdict.DONE
    assert heads[0].startswith(b"DELETE /admin/conversations/c-1 HTTP/1.1\r\nHost: localhost\r\n")
    async with client_at(f"unix:{tmp_path}/missing") as client:
        assert (await roll_back(client)).error == "cannot connect: No such file or directory"


async def test_what_cannot_be_called_is_an_outcome_too() -> None:
    async with client_at("http://127.0.0.1:9", rollback=False) as client:
        assert (await roll_back(client)).error == "admin.rollback is not configured any more"
    unnamed = {"method": "POST", "path": "/{other}/{conversation_id}"}
    async with client_at("http://127.0.0.1:9", cancel=unnamed) as client:
        outcome = await client.call(StepKind.CANCEL, turn_with(), idempotency_key="k")
        assert outcome == CallOutcome(verdict=Verdict.FAILED, error="unknown: conversation_id, other")


async def test_start_and_close_may_be_done_twice() -> None:
    client = AdminClient(Admin(), "http://127.0.0.1:9", lambda _route: {}, ClientTls())
    await client.close()
    with pytest.raises(BugError):
        await roll_back(client)
    await client.start()
    await client.start()
    await client.close()
    await client.close()


# -- verify ------------------------------------------------------------------------------------------------------------

VERIFY: Final = {"method": "GET", "path": "/admin/conversations/{conversation_id}", "done": [200]}


@pytest.mark.parametrize(("status", "shown"), [(200, True), (404, False), (410, False), (500, None), (204, None)])
async def test_verify(aiohttp_server: AiohttpServer, status: int, *, shown: bool | None) -> None:
    api, url = await serve(aiohttp_server, answering(status))
    async with client_at(url, verify=VERIFY) as client:
        assert await client.shows({"conversation_id": "a/b", "request_id": "req_1"}) is shown
    (request,) = api.requests
    assert (request.method, request.raw_path) == ("GET", "/admin/conversations/a%2Fb")
    assert request.headers["X-Request-Id"] == "req_1"
    assert "Idempotency-Key" not in request.headers


async def test_verify_where_it_cannot_be_told() -> None:
    async with client_at("http://127.0.0.1:9", verify=VERIFY) as client:
        assert await client.shows({"request_id": "req_1"}) is None
        assert await client.shows({"conversation_id": "c-1"}) is None
    async with client_at("http://127.0.0.1:9") as client:
        assert await client.shows({"conversation_id": "c-1"}) is None
