"""https upstreams over real TLS: whom we believe, what we show, and that the relay's rules hold behind it."""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import TYPE_CHECKING

import pytest

from sidecar.config import ClientTls, Settings
from sidecar.errors import ConfigError, UpstreamProtocolError, UpstreamUnreachableError
from sidecar.upstream.tls import check_tls, client_tls
from tests.integration.upstream.scripted import ANSWER, Peer, ask, echo, pool_at, scripted, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.authority import Authority


async def test_a_request_and_the_next_one(authority: Authority) -> None:
    async with (
        scripted(echo, tls=authority.server("localhost")) as port,
        pool_at(f"https://localhost:{port}", tls={"ca": authority.file}) as pool,
    ):
        first = await pool.connect(fresh=False)
        assert await ask(first).end() is None
        again = await pool.connect(fresh=False)
        assert again is first
        recorder = ask(again)
        assert await recorder.end() is None
        assert recorder.raw == b"hello"


async def test_the_systems_authorities_are_the_default(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    async with scripted(echo, tls=authority.server("localhost")) as port:
        async with pool_at(f"https://localhost:{port}") as pool:
            with pytest.raises(UpstreamUnreachableError, match="its certificate was refused"):
                await pool.connect(fresh=False)
        monkeypatch.setenv("SSL_CERT_FILE", authority.file)
        async with pool_at(f"https://localhost:{port}") as pool:
            assert await ask(await pool.connect(fresh=False)).end() is None


@pytest.mark.parametrize(
    ("name", "certified", "tls", "refused"),
    [
        ("127.0.0.1", "127.0.0.1", {}, None),
        ("127.0.0.1", "localhost", {}, "IP address mismatch"),
        ("localhost", "other.internal", {}, "Hostname mismatch"),
        ("localhost", "other.internal", {"server_name": "other.internal"}, None),
        ("localhost", "localhost", {"server_name": "other.internal"}, "Hostname mismatch"),
        ("127.0.0.1", "other.internal", {"server_name": "other.internal"}, None),
    ],
)
async def test_the_name_has_to_fit(
    authority: Authority, name: str, certified: str, tls: dict[str, str], refused: str | None
) -> None:
    async with (
        scripted(echo, tls=authority.server(certified)) as port,
        pool_at(f"https://{name}:{port}", tls={"ca": authority.file, **tls}) as pool,
    ):
        if refused is None:
            assert await ask(await pool.connect(fresh=False)).end() is None
        else:
            with pytest.raises(UpstreamUnreachableError, match=refused):
                await pool.connect(fresh=False)


async def test_the_server_is_told_its_name_and_our_protocol(authority: Authority) -> None:
    told: list[str | None] = []
    context = authority.server("other.internal")
    context.set_alpn_protocols(["h2", "http/1.1"])
    context.sni_callback = lambda _tls, name, _context: told.append(name)
    async with scripted(echo, tls=context) as port:
        settings = {"ca": authority.file, "server_name": "other.internal"}
        async with pool_at(f"https://127.0.0.1:{port}", tls=settings) as pool:
            connection = await pool.connect(fresh=False)
            assert connection._transport.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
            assert await ask(connection).end() is None
    assert told == ["other.internal"]


async def test_nothing_is_verified_where_the_operator_says_so(authority: Authority) -> None:
    async with (
        scripted(echo, tls=authority.server("other.internal")) as port,
        pool_at(f"https://localhost:{port}", tls={"verify": False}) as pool,
    ):
        assert await ask(await pool.connect(fresh=False)).end() is None


async def test_who_asks_is_shown_a_certificate(authority: Authority) -> None:
    certificate, key = authority.client()
    shown = {"ca": authority.file, "cert": certificate, "key": key}
    async with scripted(echo, tls=authority.server("localhost", asks=True)) as port:
        async with pool_at(f"https://localhost:{port}", tls=shown) as pool:
            assert await ask(await pool.connect(fresh=False)).end() is None
        async with pool_at(f"https://localhost:{port}", tls={"ca": authority.file}) as pool:
            # With TLS 1.3 the server refuses only after we took the handshake for done.
            assert isinstance(await ask(await pool.connect(fresh=False)).end(), UpstreamProtocolError)


async def test_tls_to_a_plain_listener() -> None:
    async def script(peer: Peer) -> None:
        await peer.read(1)
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.closed()

    async with scripted(script) as port, pool_at(f"https://localhost:{port}") as pool:
        with pytest.raises(UpstreamUnreachableError, match="TLS failed"):
            await pool.connect(fresh=False)


# -- the relay's rules behind TLS --------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", [True, False], ids=["close_notify", "bare FIN"])
async def test_only_a_word_of_tls_ends_a_body_without_length(authority: Authority, *, word: bool) -> None:
    """Anyone on the way can end a TCP connection; what ends by it is incomplete (RFC 9112, 9.8)."""
    received = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
        await received.wait()
        peer.close() if word else peer.close_below()

    async with (
        scripted(script, tls=authority.server("localhost")) as port,
        pool_at(f"https://localhost:{port}", tls={"ca": authority.file}) as pool,
    ):
        recorder = ask(await pool.connect(fresh=True))
        await recorder.until(lambda: recorder.raw == b"hello")
        received.set()
        error = await recorder.end()
        assert (error is None) is word


@pytest.mark.parametrize("taken", [False, True])
@pytest.mark.parametrize("word", [True, False], ids=["close_notify", "bare FIN"])
async def test_a_request_that_a_kept_connection_did_not_take_is_known(
    authority: Authority, *, taken: bool, word: bool
) -> None:
    leave, left = asyncio.Event(), asyncio.Event()
    seen: list[bool] = []

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(ANSWER)
        await leave.wait()
        if taken:
            await peer.request()
        peer.close() if word else peer.close_below()
        left.set()

    async with (
        scripted(script, tls=authority.server("localhost")) as port,
        pool_at(f"https://localhost:{port}", tls={"ca": authority.file}) as pool,
    ):
        assert await ask(await pool.connect(fresh=True)).end() is None
        connection = await pool.connect(fresh=False)
        assert connection.reused
        leave.set()
        if not taken:
            await until(left.is_set)
        second = ask(connection)
        second.on_failed = lambda: seen.append(connection.unheard)
        assert isinstance(await second.end(), UpstreamProtocolError)
        # A bare FIN proves nothing behind uvloop's TLS, which tells of it when the socket is gone already.
        assert seen in ([not taken], [False] if taken or not word else [])


async def test_an_abort_is_seen_by_the_upstream_at_once(authority: Authority) -> None:
    gone = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello")
        await peer.closed()
        gone.set()

    async with (
        scripted(script, tls=authority.server("localhost")) as port,
        pool_at(f"https://localhost:{port}", tls={"ca": authority.file}) as pool,
    ):
        connection = await pool.connect(fresh=True)
        recorder = ask(connection)
        await recorder.until(lambda: recorder.body)
        connection.abort()
        await until(gone.is_set)
        assert recorder.ends == 0


async def test_a_close_that_the_loop_has_not_seen_is_seen_at_check_out(authority: Authority) -> None:
    closing, closed = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(ANSWER)
        await closing.wait()
        peer.close_below()
        closed.set()
        await asyncio.Event().wait()

    async with (
        scripted(script, tls=authority.server("localhost")) as port,
        pool_at(f"https://localhost:{port}", tls={"ca": authority.file}) as pool,
    ):
        stale = await pool.connect(fresh=True)
        assert await ask(stale).end() is None
        closing.set()
        await until(closed.is_set)
        assert await pool.connect(fresh=False) is not stale


# -- files -------------------------------------------------------------------------------------------------------------


def test_files_that_cannot_be_used_are_all_named(authority: Authority, tmp_path: Path) -> None:
    certificate, _ = authority.client()
    (tmp_path / "empty.pem").write_text("")
    missing = str(tmp_path / "missing.pem")
    settings = Settings.model_validate(
        {
            "upstream": {"url": "https://backend.internal", "tls": {"ca": missing}},
            "admin": {"url": "https://admin.internal", "tls": {"cert": certificate, "key": authority.file}},
        }
    )
    with pytest.raises(ConfigError) as raised:
        check_tls(settings)
    assert raised.value.problems == [
        f"upstream.tls.ca: {missing} cannot be read ({os.strerror(2)}); name a file that can",
        "admin.tls.key: is no key in PEM that fits the certificate; name one that does, without a passphrase",
    ]
    with pytest.raises(ConfigError, match=r"upstream\.tls\.ca: .* holds no certificates in PEM"):
        client_tls(ClientTls(ca=str(tmp_path / "empty.pem")), "upstream.tls")


def test_verification_is_on_by_default() -> None:
    context = client_tls(ClientTls(), "upstream.tls")
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
