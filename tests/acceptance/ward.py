"""A sidecar before a backend, each a real one, and a real `sidecar doctor` who examines them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sidecar.demo.backend import BackendKnobs, LegacyBackend
from tests.acceptance.process import SidecarProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

QUICK: Final = BackendKnobs(words=8, word_s=0.03, think_s=0.1)
LEAVABLE: Final = BackendKnobs(words=20, word_s=0.05, think_s=0.2)
"""Slow enough to be left."""
SLOW: Final = BackendKnobs(words=24, word_s=0.08, think_s=0.2)
"""Slow enough to see whether an answer is held back."""
VERIFY: Final = {"method": "GET", "path": "/admin/conversations/{conversation_id}"}
LEAVING: Final = ("close_mid_answer", "reset_mid_answer", "close_before_first_byte")


@dataclass
class Told:
    """What the doctor told."""

    code: int
    text: str
    complaints: str

    @property
    def findings(self) -> dict[str, dict[str, Any]]:
        """Give the findings by their checks."""
        told = json.loads(self.text)
        assert told["ok"] == (self.code == 0), self.text
        return {finding["check"]: finding for finding in told["findings"]}

    def graded(self, grade: str) -> set[str]:
        """Name the checks with that grade."""
        return {check for check, finding in self.findings.items() if finding["grade"] == grade}

    def mends(self, check: str) -> str:
        """Give what is said to change, in one text."""
        return "\n".join(self.findings[check]["mends"])


@dataclass
class Ward:
    """A sidecar before a backend, and whoever examines them."""

    sidecar: SidecarProcess
    backend: LegacyBackend

    async def doctor(self, url: str | None = None, *arguments: str, timeout_s: float = 20, **env: str) -> Told:
        """Run the doctor, who is not asked back and answers in JSON."""
        where = () if url is None else ("--url", url)
        return await self.run(*where, "--yes", "--json", "--timeout-s", str(timeout_s), *arguments, **env)

    async def run(self, *arguments: str, **env: str) -> Told:
        """Run the doctor."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sidecar", "doctor", "-c", str(self.sidecar.config), *arguments,
            env={**os.environ, **env}, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        assert process.returncode is not None
        return Told(process.returncode, out.decode(), err.decode())


@asynccontextmanager
async def ward(folder: Path, knobs: BackendKnobs = QUICK, **tables: object) -> AsyncIterator[Ward]:
    """Run both; `tables` are the sidecar's settings."""
    async with LegacyBackend.serve(knobs, path=folder / "backend.db") as backend:
        given = {"admin": {"verify": VERIFY, "backoff_first_s": 0.05}, **tables}
        sidecar = SidecarProcess(folder, backend.url, tables=given)
        await sidecar.start()
        try:
            yield Ward(sidecar, backend)
        finally:
            await sidecar.close()
