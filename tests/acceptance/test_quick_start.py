"""docs/QUICK-START.md, followed literally: its commands are run in its order, at ports that are free."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.acceptance.process import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "QUICK-START.md").read_text(encoding="utf-8")
DEADLINE_S: Final = 30.0

pytestmark = [
    pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl"),
    pytest.mark.timeout(120),
    pytest.mark.long,
]


class Reader:
    """Who reads the page: types its commands in a folder, at other ports than those of the page."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = {port: str(free_port()) for port in ("9000", "8080", "9901")}

    def text(self, marker: str) -> str:
        """Give what is fenced under a marker, with the ports of this run."""
        found = re.search(rf"<!-- {marker} -->\n```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
        assert found is not None, f"QUICK-START.md has nothing under <!-- {marker} -->"
        return re.sub(r"\b(9000|8080|9901)\b", lambda port: self._ports[port[0]], found[1])

    def write_config(self) -> None:
        """Write the page's configuration, with the addresses that differ."""
        places = '[listen]\naddress = "127.0.0.1:8080"\n[console]\naddress = "127.0.0.1:9901"\n'
        for port, other in self._ports.items():
            places = places.replace(port, other)
        (self._folder / "sidecar.toml").write_text(self.text("config") + places, encoding="utf-8")

    async def types(self, marker: str) -> str:
        """Run a command; give what it prints."""
        process = await self._start(self.text(marker))
        printed, _ = await asyncio.wait_for(process.communicate(), DEADLINE_S)
        return printed.decode()

    @asynccontextmanager
    async def leaves_running(self, marker: str, until: str) -> AsyncIterator[None]:
        """Run a command in a terminal of its own, from when it prints something; Ctrl-C ends it."""
        process = await self._start(f"exec {self.text(marker)}")
        assert process.stdout is not None
        try:
            async with asyncio.timeout(DEADLINE_S):
                while until not in (line := (await process.stdout.readline()).decode()):
                    assert line, f"{marker} ended"
            reading = asyncio.ensure_future(process.stdout.read())
            yield
            process.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(process.wait(), DEADLINE_S) == 0
            await reading
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def _start(self, command: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            "bash",
            "-c",
            command,
            cwd=self._folder,
            env={**os.environ, "TMPDIR": str(self._folder), "COLUMNS": "200"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    return Reader(tmp_path)


def documents(text: str) -> list[Any]:
    """Read JSON documents that stand one after the other."""
    decoder, found, rest = json.JSONDecoder(), [], text.strip()
    while rest:
        document, end = decoder.raw_decode(rest)
        found.append(document)
        rest = rest[end:].lstrip()
    return found


async def until_kept(reader: Reader, marker: str, states: list[str]) -> None:
    """Wait until the conversations that a command of the page shows are in these states."""
    async with asyncio.timeout(DEADLINE_S):
        while [kept["status"] for kept in json.loads(await reader.types(marker))] != states:
            pass


async def test_everything_happens_as_it_is_told(reader: Reader) -> None:
    async with reader.leaves_running("backend", until="stall_after=3"):
        assert "Breathe" in await reader.types("straight")
        await until_kept(reader, "ghost", ["active"])
        reader.write_config()
        assert "OK" in await reader.types("check")
        async with reader.leaves_running("run", until="listening"):
            assert "Breathe" in await reader.types("leave")
            await until_kept(reader, "rolled back", ["active"])
            cancelled, refused = documents(await reader.types("cancel"))
            assert (cancelled["status"], refused["error"]) == ("cancelled", "cancelled")
            shown = await reader.types("look")
    assert re.search(r"cancelled .* req_2_leaves|req_2_leaves .* cancelled", shown)
    assert re.search(r"rollback .* delivered|delivered .* rollback", shown)
    assert "upstream: ok" in shown
