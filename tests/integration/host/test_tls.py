"""TLS towards clients: which certificate they see, before and after it is read again, and what cannot be used."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from sidecar.config import Listen, Tls
from sidecar.errors import ConfigError
from sidecar.host.doors import Doors
from sidecar.host.inherited import Inherited
from sidecar.host.tls import ServerTls
from tests.fakes.tls import FIRST, LOCKED_KEY, SECOND, certificate_of, trusting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class Echo(asyncio.Protocol):
    """Says back what it hears."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


def settings(**tls: object) -> Listen:
    return Listen.model_validate({"address": "127.0.0.1:0", "tls": {"cert": str(FIRST), **tls}})


@asynccontextmanager
async def opened(listen: Listen) -> AsyncIterator[Doors]:
    doors = Doors.at(listen, Inherited())
    try:
        await doors.open(Echo)
        yield doors
    finally:
        doors.close()


class Client:
    """A connection that has shaken hands."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.ssl: ssl.SSLObject = writer.get_extra_info("ssl_object")

    @classmethod
    async def at(cls, url: str, **options: Any) -> Client:  # noqa: ANN401  (trusting's)
        port = int(url.rpartition(":")[2])
        return cls(
            *await asyncio.open_connection("127.0.0.1", port, ssl=trusting(**options), server_hostname="localhost")
        )

    async def echoes(self) -> bool:
        self.writer.write(b"hello")
        async with asyncio.timeout(10):
            return await self.reader.readexactly(5) == b"hello"

    @property
    def sees(self) -> bytes | None:
        return self.ssl.getpeercert(binary_form=True)


async def test_another_certificate_is_shown_to_newcomers_alone() -> None:
    """One of another kind of key, too: nothing of the old one is left to be chosen."""
    async with opened(settings()) as doors:
        assert doors.urls[0].startswith("https://127.0.0.1:")
        early = await Client.at(doors.urls[0])
        assert early.sees == certificate_of(FIRST)
        doors.show(doors.read_certificate(settings(cert=str(SECOND))))
        late = await Client.at(doors.urls[0])
        assert late.sees == certificate_of(SECOND)
        assert await early.echoes()
        assert await late.echoes()
        doors.show(doors.read_certificate(settings()))
        last = await Client.at(doors.urls[0])
        assert last.sees == certificate_of(FIRST)
        for client in (early, late, last):
            client.writer.close()


@pytest.mark.parametrize(
    ("offers", "chosen"), [(("h2", "http/1.1"), "http/1.1"), (("http/1.1",), "http/1.1"), ((), None)]
)
async def test_http_1_1_is_what_is_spoken(offers: tuple[str, ...], chosen: str | None) -> None:
    async with opened(settings()) as doors:
        client = await Client.at(doors.urls[0], alpn=offers)
        assert client.ssl.selected_alpn_protocol() == chosen
        client.writer.close()


async def test_the_oldest_version_may_be_changed_too() -> None:
    old = {"maximum": ssl.TLSVersion.TLSv1_2}
    async with opened(settings()) as doors:
        client = await Client.at(doors.urls[0], **old)
        assert client.ssl.version() == "TLSv1.2"
        doors.show(doors.read_certificate(settings(minimum_version="1.3")))
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await Client.at(doors.urls[0], **old)
        new = await Client.at(doors.urls[0])
        assert new.ssl.version() == "TLSv1.3"
        assert await client.echoes()
        client.writer.close()
        new.writer.close()


def test_what_cannot_be_used_is_told_with_its_mend(tmp_path: Path) -> None:
    text = FIRST.read_text()
    cut = text.index("-----BEGIN PRIVATE")
    files = {"alone.pem": text[:cut], "key.pem": text[cut:], "junk.pem": "junk"}
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    alone, key, junk = (str(tmp_path / name) for name in files)
    cases = [
        ({"cert": "/nowhere.pem"}, "listen.tls.cert: /nowhere.pem cannot be read (No such file or directory); name"),
        ({"cert": str(FIRST), "key": str(tmp_path)}, "listen.tls.key: "),
        ({"cert": junk}, f"listen.tls.cert: {junk} holds no certificate; give"),
        ({"cert": key}, f"listen.tls.cert: {key} holds no certificate; give"),
        ({"cert": alone}, f"listen.tls.key: {alone} holds no private key; give"),
        ({"cert": alone, "key": junk}, f"listen.tls.key: {junk} holds no private key; give"),
        ({"cert": alone, "key": str(SECOND)}, f"listen.tls.key: {SECOND} is not the key of the certificate; give"),
        ({"cert": alone, "key": str(LOCKED_KEY)}, f"listen.tls.key: {LOCKED_KEY} holds a key that is locked"),
    ]
    for tls, told in cases:
        with pytest.raises(ConfigError) as caught:
            ServerTls(Tls.model_validate(tls))
        assert str(caught.value).startswith(told), tls
    ServerTls(Tls.model_validate({"cert": alone, "key": key}))
