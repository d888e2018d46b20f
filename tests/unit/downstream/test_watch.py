"""A client that leaves is seen in every phase, on both event loops, with real sockets."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, TypeAlias

import pytest
import uvloop

from sidecar.downstream import watch as watch_module
from sidecar.downstream.watch import DisconnectWatch
from sidecar.turn.state import Cause
from tests.fakes.sockets import RawSocket
from tests.fakes.waiting import AT_ONCE_S, eventually, loop_turns

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    Scene: TypeAlias = Callable[[DisconnectWatch], Coroutine[object, object, None]]
    NewLoop: TypeAlias = Callable[[], asyncio.AbstractEventLoop]

LOOPS = pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])


class Client:
    """A connected client, and what the watch said of it."""

    def __init__(self, watch: DisconnectWatch) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.theirs = RawSocket(socket.create_connection(server.getsockname()))
            self.ours = server.accept()[0]
        self.ours.setblocking(False)
        self.number = self.ours.fileno()
        self.watch = watch
        self.seen: list[Cause] = []

    def watched(self) -> Client:
        self.watch.watch(self.ours, self.seen.append)
        return self

    def close(self) -> None:
        self.watch.forget(self.number)
        self.ours.close()
        self.theirs.close()


def play(new_loop: NewLoop, scene: Scene) -> None:
    """Play a scene with a watch that hangs on a loop."""

    async def main() -> None:
        watch = DisconnectWatch()
        watch.start(asyncio.get_running_loop())
        try:
            await scene(watch)
        finally:
            watch.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


LEAVINGS = pytest.mark.parametrize(
    ("leave", "cause"),
    [(RawSocket.fin, Cause.CLOSED), (RawSocket.close, Cause.CLOSED), (RawSocket.reset, Cause.RESET)],
    ids=["fin", "close", "rst"],
)


@LOOPS
@LEAVINGS
def test_a_leaving_is_seen_at_once(new_loop: NewLoop, leave: Callable[[RawSocket], None], cause: Cause) -> None:
    async def scene(watch: DisconnectWatch) -> None:
        client = Client(watch).watched()
        client.theirs.send_now(b"a request that nobody reads yet")
        await loop_turns()
        assert client.seen == []
        leave(client.theirs)
        await eventually(lambda: client.seen, AT_ONCE_S)
        assert client.seen[0] is cause
        client.close()

    play(new_loop, scene)


@LOOPS
@LEAVINGS
def test_who_has_left_already_is_seen_too(new_loop: NewLoop, leave: Callable[[RawSocket], None], cause: Cause) -> None:
    async def scene(watch: DisconnectWatch) -> None:
        client = Client(watch)
        leave(client.theirs)
        client.watched()
        await eventually(lambda: client.seen, AT_ONCE_S)
        assert client.seen[0] is cause
        client.close()

    play(new_loop, scene)


@LOOPS
def test_a_half_close_is_told_once_and_a_reset_after_it_as_such(new_loop: NewLoop) -> None:
    async def scene(watch: DisconnectWatch) -> None:
        client, witness = Client(watch).watched(), Client(watch).watched()
        client.theirs.fin()
        await eventually(lambda: client.seen, AT_ONCE_S)
        witness.theirs.fin()
        await eventually(lambda: witness.seen, AT_ONCE_S)
        assert client.seen == [Cause.CLOSED]  # it still stands half closed, and is not told again
        client.theirs.reset()
        await eventually(lambda: len(client.seen) == 2, AT_ONCE_S)
        assert client.seen == [Cause.CLOSED, Cause.RESET]
        client.close()
        witness.close()

    play(new_loop, scene)


@LOOPS
def test_data_is_no_leaving(new_loop: NewLoop) -> None:
    async def scene(watch: DisconnectWatch) -> None:
        client, witness = Client(watch).watched(), Client(watch).watched()
        for _ in range(3):
            client.theirs.send_now(b"x" * 1000)
            client.ours.send(b"y" * 1000)
        witness.theirs.fin()
        await eventually(lambda: witness.seen, AT_ONCE_S)
        assert client.seen == []
        client.close()
        witness.close()

    play(new_loop, scene)


@LOOPS
def test_one_that_is_forgotten_is_not_told_any_more(new_loop: NewLoop) -> None:
    async def scene(watch: DisconnectWatch) -> None:
        client, witness = Client(watch).watched(), Client(watch).watched()
        client.theirs.fin()
        watch.forget(client.number)
        watch.forget(client.number)
        watch.forget(999_999)
        witness.theirs.fin()
        await eventually(lambda: witness.seen, AT_ONCE_S)
        assert client.seen == []
        client.close()
        witness.close()

    play(new_loop, scene)


@LOOPS
@pytest.mark.parametrize("left_before", [True, False])
@pytest.mark.parametrize("forgotten", [True, False])
def test_a_number_that_is_used_again_means_the_new_client(
    new_loop: NewLoop, *, left_before: bool, forgotten: bool
) -> None:
    """Also where the old one was closed without being forgotten: the kernel drops it by itself."""

    async def scene(watch: DisconnectWatch) -> None:
        old, new = Client(watch).watched(), Client(watch)
        if left_before:
            old.theirs.reset()
        if forgotten:
            watch.forget(old.number)
        os.dup2(new.ours.fileno(), old.number)  # closes the old one's socket and gives its number to the new one's
        new.ours.close()
        new.ours, new.number = socket.socket(fileno=old.ours.detach()), old.number
        new.watched()
        await loop_turns()
        assert (old.seen, new.seen) == ([], [])
        new.theirs.reset()
        await eventually(lambda: new.seen, AT_ONCE_S)
        assert (old.seen, new.seen[0]) == ([], Cause.RESET)
        new.close()
        old.theirs.close()

    play(new_loop, scene)


@LOOPS
def test_more_than_one_look_can_hold_are_all_seen(new_loop: NewLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "EVENTS_MAX", 3)

    async def scene(watch: DisconnectWatch) -> None:
        clients = [Client(watch).watched() for _ in range(40)]
        for client in clients:
            client.theirs.reset()
        await eventually(lambda: all(client.seen for client in clients))
        assert {tuple(client.seen) for client in clients} == {(Cause.RESET,)}
        for client in clients:
            client.close()

    play(new_loop, scene)


@LOOPS
def test_one_leaving_may_have_another_forgotten(new_loop: NewLoop) -> None:
    async def scene(watch: DisconnectWatch) -> None:
        clients = [Client(watch) for _ in range(2)]
        told: list[int] = []

        def left(number: int) -> None:
            told.append(number)
            for client in clients:
                watch.forget(client.number)

        for client in clients:
            client.watch.watch(client.ours, lambda _, number=client.number: left(number))  # type: ignore[misc]
            client.theirs.fin()
        await eventually(lambda: told, AT_ONCE_S)
        await loop_turns()
        assert len(told) == 1
        for client in clients:
            client.close()

    play(new_loop, scene)


@LOOPS
def test_closed_it_tells_nothing_more(new_loop: NewLoop) -> None:
    async def scene(watch: DisconnectWatch) -> None:
        client = Client(watch).watched()
        client.theirs.fin()
        watch.close()
        watch.close()
        await loop_turns(100)
        assert client.seen == []
        client.close()

    play(new_loop, scene)
