"""A request's head reaches the upstream as it came, but for what concerns one connection only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.scene import scene

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.http import Message
    from tests.fakes.scene import Scene

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
FORWARDED = [
    (b"X-Forwarded-For", b"127.0.0.1"),
    (b"X-Forwarded-Proto", b"http"),
    (b"X-Forwarded-Host", b"app.example"),
]


async def pass_on(running: Scene, request: bytes) -> Message:
    """Send a request; give it as the upstream got it."""
    client = await running.client()
    await client.send(request)
    peer, came = await running.upstream.request()
    await peer.send(ANSWER)
    assert (await client.answer()).status == 200
    return came


async def test_order_case_duplicates_and_bytes_stay(running: Scene) -> None:
    fields = [
        (b"host", b"app.example"),
        (b"Cookie", b"a=1"),
        (b"X-ODD-case", b"\xe9t\xe9 \xff"),
        (b"cookie", b"b=2"),
        (b"Accept", b"*/*"),
        (b"X-Empty", b""),
        (b"COOKIE", b"c=3"),
        (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ]
    lines = b"".join(b"%b: %b\r\n" % field for field in fields)
    came = await pass_on(running, b"GET / HTTP/1.1\r\n" + lines + b"\r\n")
    assert came.start == b"GET / HTTP/1.1"
    assert came.fields == [*fields, *FORWARDED]


@pytest.mark.parametrize(
    "line",
    [
        b"GET //a%2e?",
        b"GET /a%2Fb/../c/./d;x=1?q=%20&&=",
        b"GET /?",
        b"GET /??a?",
        b"GET /%C3%A9%ff?%",
        b"OPTIONS *",
        b"GET http://app.example/x?y",
        b"PROPFIND /dav",
        b"DELETE /thing",
        b"GET /a|b^{c}",
    ],
)
async def test_the_target_is_not_touched(running: Scene, line: bytes) -> None:
    came = await pass_on(running, line + b" HTTP/1.1\r\nHost: app.example\r\n\r\n")
    assert came.start == line + b" HTTP/1.1"
    assert came.fields == [(b"Host", b"app.example"), *FORWARDED]


async def test_hop_by_hop_fields_go(running: Scene) -> None:
    came = await pass_on(
        running,
        b"GET / HTTP/1.1\r\nHost: app.example\r\nConnection: keep-alive, X-Mine\r\nKeep-Alive: timeout=5\r\n"
        b"x-mine: 1\r\nX-Other: 2\r\nConnection: x-SECOND\r\nX-Second: 3\r\nX-MINE: 4\r\nTE: trailers\r\n"
        b"Proxy-Connection: keep-alive\r\n\r\n",
    )
    assert came.fields == [(b"Host", b"app.example"), (b"X-Other", b"2"), (b"TE", b"trailers"), *FORWARDED]


@pytest.mark.parametrize("upgrade", [b"h2c", b"websocket, h2c", b"HTTP/2.0"])
async def test_an_offer_to_upgrade_to_http_2_goes_no_further(running: Scene, upgrade: bytes) -> None:
    """A tunnel of it would carry requests past everything here."""
    came = await pass_on(
        running,
        b"GET /ws HTTP/1.1\r\nHost: app.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: %b\r\n"
        b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" % upgrade,
    )
    assert came.fields == [
        (b"Host", b"app.example"),
        (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
        *FORWARDED,
    ]


async def test_connection_cannot_strip_what_carries_routing_or_framing(running: Scene) -> None:
    came = await pass_on(
        running,
        b"POST / HTTP/1.1\r\nHost: app.example\r\nContent-Length: 2\r\n"
        b"Connection: Host, Content-Length, X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host\r\n\r\nhi",
    )
    assert came.fields == [(b"Host", b"app.example"), (b"Content-Length", b"2"), *FORWARDED]
    assert came.body == b"hi"


async def test_forwarded_fields_of_a_stranger_are_replaced(running: Scene) -> None:
    came = await pass_on(
        running,
        b"GET / HTTP/1.1\r\nHost: app.example\r\nX-Forwarded-For: 6.6.6.6\r\nx-forwarded-for: 7.7.7.7\r\n"
        b"X-Forwarded-Proto: https\r\nX-FORWARDED-HOST: evil.example\r\nForwarded: for=1.1.1.1\r\n\r\n",
    )
    assert came.fields == [(b"Host", b"app.example"), *FORWARDED]


async def test_forwarded_fields_of_a_trusted_proxy_are_extended(tmp_path: Path) -> None:
    async with scene(tmp_path, listen={"trusted_proxies": ["127.0.0.0/8"]}) as running:
        came = await pass_on(
            running,
            b"GET / HTTP/1.1\r\nHost: app.example\r\nX-Forwarded-For: 203.0.113.9, 10.0.0.1\r\n"
            b"X-Forwarded-Proto: https\r\nx-forwarded-for: 10.0.0.2\r\nX-Forwarded-Host: public.example\r\n\r\n",
        )
        assert came.fields == [
            (b"Host", b"app.example"),
            (b"X-Forwarded-For", b"203.0.113.9, 10.0.0.1, 10.0.0.2, 127.0.0.1"),
            (b"X-Forwarded-Proto", b"https"),
            (b"X-Forwarded-Host", b"public.example"),
        ]


async def test_a_trusted_proxy_that_says_nothing_is_told_about_itself(tmp_path: Path) -> None:
    async with scene(tmp_path, listen={"trusted_proxies": ["127.0.0.1/32"]}) as running:
        came = await pass_on(running, b"GET / HTTP/1.1\r\nHost: app.example\r\n\r\n")
        assert came.fields == [(b"Host", b"app.example"), *FORWARDED]


async def test_a_network_that_the_peer_is_not_in_is_not_trusted(tmp_path: Path) -> None:
    async with scene(tmp_path, listen={"trusted_proxies": ["10.0.0.0/8", "::1/128"]}) as running:
        came = await pass_on(running, b"GET / HTTP/1.1\r\nHost: app.example\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")
        assert came.values("X-Forwarded-For") == [b"127.0.0.1"]


async def test_a_request_without_host_gets_the_upstreams(running: Scene) -> None:
    client = await running.client()
    await client.send(b"GET / HTTP/1.0\r\n\r\n")
    peer, came = await running.upstream.request()
    host = running.upstream.url.removeprefix("http://").encode()
    assert came.start == b"GET / HTTP/1.1"
    assert came.get("Host") == host
    assert came.values("X-Forwarded-Host") == []
    await peer.send(ANSWER)
    assert (await client.answer()).status == 200


async def test_a_request_without_host_gets_its_targets(running: Scene) -> None:
    """What we pass on must be nothing that we would refuse: the target and Host name one authority."""
    came = await pass_on(running, b"GET http://App.example:81/x HTTP/1.0\r\n\r\n")
    assert (came.start, came.values("Host")) == (b"GET http://App.example:81/x HTTP/1.1", [b"App.example:81"])


@pytest.mark.parametrize("trusted", [[], ["127.0.0.0/8"]])
async def test_no_twin_of_a_forwarded_field_passes(tmp_path: Path, trusted: list[str]) -> None:
    """Behind CGI or WSGI, both are HTTP_X_FORWARDED_FOR."""
    async with scene(tmp_path, listen={"trusted_proxies": trusted}) as running:
        came = await pass_on(
            running,
            b"GET / HTTP/1.1\r\nHost: app.example\r\nX_Forwarded_For: 6.6.6.6\r\nx-forwarded_PROTO: https\r\n"
            b"X_Own_Field: 1\r\nX-Forwarded-For: 7.7.7.7\r\n\r\n",
        )
        assert [name for name, _ in came.fields if b"_" in name] == [b"X_Own_Field"]
        chain = b"7.7.7.7, 127.0.0.1" if trusted else b"127.0.0.1"
        assert came.values("X-Forwarded-For") == [chain]
