"""Out of file descriptors: what has none is told so, nothing spins or dies, and with the next free one all is well."""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tests.acceptance.stage import CANCEL, ROLLBACK, stage
from tests.fakes.downstream import Downstream
from tests.fakes.waiting import eventually

LIMIT = 64


def soft_and_hard(pid: int) -> tuple[int, int]:
    return resource.prlimit(pid, resource.RLIMIT_NOFILE)


def open_descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def test_the_soft_limit_is_raised_to_the_hard_one(tmp_path: Path) -> None:
    async with stage(tmp_path) as running:
        soft, hard = soft_and_hard(running.process.pid)
        assert soft == hard


async def test_it_degrades_and_recovers(tmp_path: Path) -> None:
    async with stage(tmp_path) as running:
        pid = running.process.pid
        chat = await running.ask()
        await chat.answer("X-Conversation-Id: c1")
        await chat.say(b"Once upon ")
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (LIMIT, LIMIT))
        crowd: list[Downstream] = []
        for _ in range(2 * LIMIT):
            with suppress(OSError):
                crowd.append(await Downstream.connect(running.process.url))
        await eventually(lambda: open_descriptors(pid) >= LIMIT - 1)
        await chat.say(b"a time")  # those under way go on
        with suppress(ConnectionError):  # it may be one of those that were not taken
            await crowd[0].get()
            assert (await crowd[0].answer()).status == 503
        for one in crowd:
            one.close()
        await eventually(lambda: open_descriptors(pid) < LIMIT // 2)
        client = await running.client()
        await client.get("/next")
        peer, _ = await running.upstream.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        assert (await client.answer()).body == b"hi"
        chat.client.close()
        async with asyncio.timeout(30):
            await running.process.until_settled(30)
        assert sorted(running.admin.lines) == sorted([CANCEL, ROLLBACK])


def test_too_few_are_warned_of(tmp_path: Path) -> None:
    script = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))\n"
        "from sidecar.config import load_table, Log\n"
        "from sidecar.host.descriptors import raise_limit\n"
        "from sidecar.telemetry import set_up_logging\n"
        "set_up_logging(Log(format='json'))\n"
        "raise_limit(load_table({'upstream': {'url': 'http://127.0.0.1:9'}}, {}))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True, cwd=tmp_path)
    line = json.loads(done.stderr)
    assert (line["event"], line["limit"]) == ("few_descriptors", 100)
    assert "listen.connections_max" in line["mend"]
