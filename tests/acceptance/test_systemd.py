"""What systemd is told by a real process, and that a restart with its sockets turns no client away."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.stage import Stage, stage
from tests.acceptance.visitors import CLIENTS, answer_all, come_again, more_are_answered
from tests.fakes.supervisor import supervisor
from tests.fakes.tls import FIRST, trusting
from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

LONG_S = 600


async def start_again(running: Stage) -> None:
    assert await running.process.terminate() == 0
    await running.process.start()


async def test_it_is_told_what_happens_as_it_happens(tmp_path: Path) -> None:
    with supervisor(str(tmp_path / "notify")) as heard:
        async with stage(tmp_path, listen={"shutdown_grace_s": LONG_S}) as running:
            running.process.environment = {"NOTIFY_SOCKET": heard.address, "WATCHDOG_USEC": "300000"}
            await start_again(running)
            ready = await heard.hears("READY")
            assert ready["STATUS"] == f"listening on {running.process.url}"
            await heard.hears("WATCHDOG")

            seen = len(heard.listen())
            await running.process.reload()
            assert int((await heard.hears("RELOADING", after=seen))["MONOTONIC_USEC"]) > 0
            await heard.hears("READY", after=seen)
            seen = len(heard.listen())
            running.process.edit("admin = {", 'admin = { "timeout" = 1,')
            await running.process.reload("reload_refused")
            await heard.hears("READY", after=seen)  # or systemctl reload would wait for ever

            chat = await running.answering()
            running.process.signal(signal.SIGTERM)
            stopping = await heard.hears("STOPPING")
            assert int(stopping["EXTEND_TIMEOUT_USEC"]) > LONG_S * 1_000_000
            seen = len(heard.listen())
            await heard.hears("WATCHDOG", after=seen)  # while answers end, too
            await chat.end()
            assert await running.process.wait() == 0


async def test_the_watchdog_hears_nothing_while_the_journal_is_stuck(tmp_path: Path) -> None:
    with supervisor(f"@sidecar-test-{os.getpid()}") as heard:
        async with stage(tmp_path) as running:
            running.process.environment = {"NOTIFY_SOCKET": heard.address, "WATCHDOG_USEC": "600000"}
            await start_again(running)
            await heard.hears("WATCHDOG")
            async with running.journal_locked():
                await eventually(lambda: running.process.log("journal_silent"), 20)
                seen = len(heard.listen())
                silent = len(running.process.log("journal_silent"))
                await eventually(lambda: len(running.process.log("journal_silent")) > silent + 1, 20)
                assert len(heard.listen()) == seen
            await heard.hears("WATCHDOG", after=seen)
            assert await running.process.terminate() == 0


async def test_sockets_that_are_none_are_refused(tmp_path: Path) -> None:
    async with stage(tmp_path) as running:
        assert await running.process.terminate() == 0
        with socket.socket() as deaf:
            running.process.sockets = {"http": deaf}
            await running.process.launch()
            assert await running.process.wait() == 2
        assert "LISTEN_FDS: http is no listening stream socket; write ListenStream=" in running.process.log_text()


@pytest.mark.timeout(180)  # many processes are started, one after the other
@pytest.mark.parametrize(
    ("restarts", "listen"),
    [
        pytest.param(2, {}, id="one"),
        pytest.param(1, {"workers": 2}, id="two workers", marks=pytest.mark.long),
        pytest.param(2, {"tls": {"cert": str(FIRST)}}, id="tls", marks=pytest.mark.long),
    ],
)
async def test_a_restart_turns_no_client_away(tmp_path: Path, restarts: int, listen: dict[str, Any]) -> None:
    """The test holds the listening socket, as systemd does; clients come all the time, and each is answered."""
    upstream = await asyncio.start_server(answer_all, "127.0.0.1", 0)
    with socket.create_server(("127.0.0.1", 0), backlog=512) as held:
        async with upstream, stage(tmp_path, listen={"shutdown_grace_s": LONG_S, **listen}) as running:
            process, where, tls = running.process, held.getsockname(), trusting() if "tls" in listen else None
            process.edit(running.upstream.url, f"http://127.0.0.1:{upstream.sockets[0].getsockname()[1]}")
            process.sockets = {"http": held}
            await start_again(running)
            assert process.log("listening")[-1]["address"].endswith(f"://127.0.0.1:{where[1]}")
            over, answered = asyncio.Event(), [0]
            async with asyncio.TaskGroup() as clients:
                for _ in range(CLIENTS):
                    clients.create_task(come_again(where, over, answered, tls))
                for _ in range(restarts):
                    await more_are_answered(answered)
                    await start_again(running)
                await more_are_answered(answered)
                over.set()
            assert await process.terminate() == 0
            assert {line["status"] for line in process.log("exchange")} == {200}
            running.no_complaints()
