"""Where a connection goes: a name's addresses, looked up anew each time, or a Unix socket."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.errors import UpstreamBusyError, UpstreamTimeoutError, UpstreamUnreachableError
from tests.integration.upstream.scripted import ANSWER, Peer, ask, echo, pool_at, scripted, scripted_at, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.authority import Authority

NAME = "backend.internal"
ANYWHERE = "0.0.0.0"  # noqa: S104  (all of loopback, for a moment)


class Names:
    """A name service: what it is asked, and what it answers."""

    def __init__(self, *hosts: str) -> None:
        self.hosts = hosts
        self.asked: list[tuple[str, int]] = []

    async def look_up(self, name: str, port: int) -> list[tuple[Any, ...]]:
        self.asked.append((name, port))
        return [self._info(host, port) for host in self.hosts]

    @staticmethod
    def _info(host: str, port: int) -> tuple[Any, ...]:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return family, socket.SOCK_STREAM, 6, "", (host, port)


@contextmanager
def nobody_answers_at(host: str, port: int) -> Iterator[None]:
    """Have the kernel drop whoever wants to connect there: its backlog is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(4):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex((host, port))
        yield


async def test_a_dead_first_address_does_not_cost_the_connect_timeout() -> None:
    names = Names("127.0.0.2", "127.0.0.1")
    async with scripted(echo) as port, pool_at(f"http://{NAME}:{port}", look_up=names.look_up) as pool:
        with nobody_answers_at("127.0.0.2", port):
            assert await ask(await pool.connect(fresh=True)).end() is None
        assert names.asked == [(NAME, port)]


async def test_an_address_that_refuses_is_passed_over_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.upstream.dial.STAGGER_S", 3600)
    names = Names("127.0.0.2", "127.0.0.3", "127.0.0.1")
    async with scripted(echo) as port, pool_at(f"http://{NAME}:{port}", look_up=names.look_up) as pool:
        assert await ask(await pool.connect(fresh=True)).end() is None


async def test_who_loses_the_race_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.upstream.dial.STAGGER_S", 0)
    ended: list[int] = []

    async def script(peer: Peer) -> None:
        await peer.closed()
        ended.append(peer.number)

    names = Names("127.0.0.1", "127.0.0.2", "127.0.0.3")
    async with scripted(script, host=ANYWHERE) as port:
        async with pool_at(f"http://{NAME}:{port}", look_up=names.look_up) as pool:
            for _ in range(5):
                (await pool.connect(fresh=True)).abort()
        await until(lambda: not [task for task in asyncio.all_tasks() if "Dialer" in repr(task)])


async def test_all_of_a_names_addresses_refuse() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with pool_at(f"http://{NAME}:{port}", look_up=Names("127.0.0.1", "127.0.0.2").look_up) as pool:
        with pytest.raises(UpstreamUnreachableError) as raised:
            await pool.connect(fresh=True)
        assert str(raised.value) == f"cannot connect to {NAME}:{port}: Connection refused"


async def test_a_name_without_address() -> None:
    async with pool_at(f"http://{NAME}", look_up=Names().look_up) as pool:
        with pytest.raises(UpstreamUnreachableError, match="does not resolve"):
            await pool.connect(fresh=True)


async def test_no_address_answers() -> None:
    async with scripted(echo) as port:
        names = Names("127.0.0.2", "127.0.0.3")
        async with pool_at(f"http://{NAME}:{port}", look_up=names.look_up, connect_timeout_s=0.4) as pool:
            with (
                nobody_answers_at("127.0.0.2", port),
                nobody_answers_at("127.0.0.3", port),
                pytest.raises(UpstreamTimeoutError),
            ):
                await pool.connect(fresh=True)


async def test_a_name_is_looked_up_for_each_new_connection() -> None:
    seen: list[str] = []

    async def first(peer: Peer) -> None:
        seen.append("first")
        await echo(peer)

    async def second(peer: Peer) -> None:
        seen.append("second")
        await echo(peer)

    names = Names("127.0.0.1")
    async with scripted(first) as port, pool_at(f"http://{NAME}:{port}", look_up=names.look_up) as pool:
        assert await ask(await pool.connect(fresh=True)).end() is None
        names.hosts = ("127.0.0.2",)
        async with scripted(second, host="127.0.0.2", port=port):
            assert await ask(await pool.connect(fresh=False)).end() is None  # a kept one needs no look
            assert await ask(await pool.connect(fresh=True)).end() is None
        assert seen == ["first", "second"]
        assert len(names.asked) == 2


async def test_each_address_has_to_have_the_names_certificate(authority: Authority) -> None:
    names = Names("127.0.0.1", "127.0.0.2")
    async with (
        scripted(echo, tls=authority.server("other.internal")) as port,
        scripted(echo, tls=authority.server(NAME), host="127.0.0.2", port=port),
        pool_at(f"https://{NAME}:{port}", look_up=names.look_up, tls={"ca": authority.file}) as pool,
    ):
        assert await ask(await pool.connect(fresh=True)).end() is None
        names.hosts = ("127.0.0.1",)
        with pytest.raises(UpstreamUnreachableError, match="its certificate was refused"):
            await pool.connect(fresh=True)


# -- Unix sockets ------------------------------------------------------------------------------------------------------


async def test_a_unix_socket(tmp_path: Path) -> None:
    async with scripted_at(echo, tmp_path / "s") as url, pool_at(url) as pool:
        first = await pool.connect(fresh=False)
        recorder = ask(first)
        assert await recorder.end() is None
        assert recorder.raw == b"hello"
        assert pool.check_out_as_new() is None  # nothing tells what is heard through it
        assert await pool.connect(fresh=False) is first
        assert await ask(first).end() is None


async def test_a_unix_socket_that_is_closed_is_seen_at_check_out(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(ANSWER)
        peer.close_below()

    async with scripted_at(script, tmp_path / "s") as url, pool_at(url) as pool:
        for _ in range(5):
            connection = await pool.connect(fresh=False)
            assert not connection.reused
            assert await ask(connection).end() is None


@pytest.mark.parametrize(("stale", "reason"), [(True, "Connection refused"), (False, "No such file or directory")])
async def test_a_unix_socket_without_a_listener(tmp_path: Path, reason: str, *, stale: bool) -> None:
    path = tmp_path / "s"
    if stale:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    async with pool_at(f"unix:{path}") as pool:
        with pytest.raises(UpstreamUnreachableError) as raised:
            await pool.connect(fresh=False)
        assert str(raised.value) == f"cannot connect to unix:{path}: {reason}"


# -- file descriptors --------------------------------------------------------------------------------------------------


def use_up_descriptors(stack: ExitStack) -> None:
    """Leave the process without any, until the stack is unwound."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
    highest = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
    with suppress(OSError):
        while True:
            stack.callback(os.close, os.dup(0))


async def test_a_process_without_descriptors_left_is_busy_and_recovers() -> None:
    async with scripted(echo) as port, pool_at(f"http://127.0.0.1:{port}") as pool:
        assert await ask(await pool.connect(fresh=True)).end() is None
        assert pool.idle_count == 1
        with ExitStack() as stack:
            use_up_descriptors(stack)
            with pytest.raises(UpstreamBusyError, match="Too many open files"):
                await pool.connect(fresh=True)
            assert pool.idle_count == 0  # whose descriptors others may need more
        assert await ask(await pool.connect(fresh=True)).end() is None
