"""Where a process listens: at every address of a name, at a Unix socket's path, or at what it inherited."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sidecar.config import TcpAddress, UnixAddress
from sidecar.errors import OperatorError
from sidecar.host.doors import Doors
from sidecar.host.inherited import Inherited
from sidecar.host.listeners import inherited, listen

if TYPE_CHECKING:
    from sidecar.host.listeners import Listener


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "s.sock")


def at_path(path: str, mode: int = 0o660) -> Listener:
    [listener] = listen(UnixAddress(path), setting="listen.address", mode=mode)
    return listener


def connects(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(path)
        except OSError:
            return False
        return True


@pytest.mark.parametrize("mode", [0o660, 0o666, 0o600])
def test_a_unix_socket_has_its_mode_and_goes_when_it_is_closed(path: str, mode: int) -> None:
    umask = os.umask(0o077)
    try:
        listener = at_path(path, mode)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(Path(path).stat().st_mode) == mode
    assert listener.url == f"unix:{path}"
    assert connects(path)
    listener.close()
    assert not Path(path).exists()
    listener.close()


def test_what_a_dead_process_left_is_replaced(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    assert not connects(path)
    with closing(at_path(path)):
        assert connects(path)


def test_a_living_process_is_left_alone(path: str) -> None:
    with closing(at_path(path)):
        with pytest.raises(OperatorError, match=r"listen\.address: .*another process listens there.*; choose"):
            at_path(path)
        assert connects(path)


def test_even_one_whose_queue_is_full(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(path)
        busy.listen(0)
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(4)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(path)
        with pytest.raises(OperatorError, match="another process"):
            at_path(path)
        for client in waiting:
            client.close()


def test_what_is_no_socket_is_left_alone(path: str) -> None:
    Path(path).write_text("precious", encoding="utf-8")
    with pytest.raises(OperatorError, match="no socket"):
        at_path(path)
    assert Path(path).read_text(encoding="utf-8") == "precious"


def test_a_folder_that_is_not_there_is_told() -> None:
    with pytest.raises(OperatorError, match=r"unix:/nowhere/s\.sock \(No such file or directory\); choose"):
        at_path("/nowhere/s.sock")


def test_the_file_of_a_successor_is_left(path: str) -> None:
    first = at_path(path)
    Path(path).unlink()
    with closing(at_path(path)):
        first.close()
        assert connects(path)


def test_every_address_of_a_name_at_one_port() -> None:
    listeners = listen(TcpAddress("localhost", 0), setting="listen.address", mode=0)
    assert len({listener.url for listener in listeners}) == 1
    assert listeners[0].url.startswith("http://localhost:")
    for listener in listeners:
        with socket.create_connection(listener.sock.getsockname()[:2], timeout=5):
            pass
        listener.close()


def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(OperatorError, match=rf"console\.address: cannot listen on .*:{port} \(.*; choose"):
            listen(TcpAddress("127.0.0.1", port), setting="console.address", mode=0)


def test_a_name_that_nobody_knows_is_told() -> None:
    with pytest.raises(OperatorError, match=r"cannot listen on nowhere\.invalid:1"):
        listen(TcpAddress("nowhere.invalid", 1), setting="listen.address", mode=0)


async def test_doors_close_to_newcomers_only(path: str) -> None:
    class Echo(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            transport.write(b"hello")
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(data)
            self.transport.close()

    doors = Doors([at_path(path)])
    await doors.open(Echo)
    reader, writer = await asyncio.open_unix_connection(path)
    assert await reader.readexactly(5) == b"hello"
    doors.close()
    doors.close()
    assert not connects(path)
    writer.write(b"on")
    assert await reader.read() == b"on"
    writer.close()


def test_what_was_inherited_outlives_its_user(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(path)
        held.listen()
        [listener] = inherited([held.dup()])
        assert listener.url == f"unix:{path}"
        listener.close()
        assert connects(path)


def test_what_is_meant_for_another_process_is_not_taken() -> None:
    environment = {"LISTEN_PID": "1", "LISTEN_FDS": "1"}
    assert Inherited.from_environment(environment).for_clients() == []
    assert environment == {}


def test_they_go_by_their_names() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        sockets = Inherited({"sidecar.socket": [one], "console": [two]})
        assert sockets.for_clients() == [one]
        assert sockets.for_console() == [two]
        assert sockets.for_clients() == sockets.for_console() == []
