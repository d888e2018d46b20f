"""The backend as a process of its own."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING

import aiohttp

from sidecar.demo.backend import read_database

if TYPE_CHECKING:
    from pathlib import Path

ASKED = {"messages": ["Hello"], "stream": True}


async def test_it_prints_its_url_serves_and_ends_on_sigterm(tmp_path: Path) -> None:
    path = tmp_path / "backend.db"
    arguments = ["-m", "sidecar.demo.backend", "--db", str(path), "--admin-token", "t", "words=2", "word_ms=0"]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        url = (await process.stdout.readline()).decode().strip()
        async with aiohttp.ClientSession(url) as person:
            async with person.post("/api/ai-coach/chat", json=ASKED) as response:
                assert len((await response.text()).split()) == 2
            async with person.get("/admin/conversations/x") as response:
                assert response.status == 401
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert [kept.words for kept in read_database(path)] == [2]
