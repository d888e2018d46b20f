"""A real `sidecar run` in a process of its own, to be stopped, killed and started again on the same journal."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sqlite3
import sys
from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from tests.acceptance.handing_over import handing_over
from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

Tables: TypeAlias = Mapping[str, object]

START_S: Final = 60.0
SETTLED: Final = frozenset({"completed", "cancelled", "refused", "unresolved"})

CONFIG: Final = """
[listen]
address = "127.0.0.1:{port}"
shutdown_grace_s = {grace_s}
workers = {workers}

[upstream]
url = "{upstream}"

[admin]
timeout_s = {admin_timeout_s}
backoff_first_s = 0.05
backoff_max_s = 0.5
attempts_max = 1000

[[chat]]
identity = ["Authorization"]
[chat.capture]
conversation_id = [
  "request.json:/conversationId",
  "response.header:X-Conversation-Id",
  "cancel.json:/conversationId",
]

[journal]
path = "{journal}"

[console]
address = "off"

[log]
format = "json"
"""


class SidecarProcess:
    """The process, its configuration, its log (JSON lines) and its journal, all in one folder."""

    def __init__(
        self,
        folder: Path,
        upstream: str,
        *,
        grace_s: float = 5,
        workers: int = 1,
        admin_timeout_s: float = 5,
        tables: Tables | None = None,
        host: str = "127.0.0.1",
        journal: Path | None = None,
    ) -> None:
        """Write the configuration: CONFIG, or `tables` over the settings' defaults."""
        self.port = free_port()
        self.url = f"http://{host}:{self.port}"
        self.journal = journal or folder / "sidecar.db"
        self.config = folder / "sidecar.toml"
        self._log = folder / "sidecar.log"
        self._process: asyncio.subprocess.Process | None = None
        self.environment: dict[str, str] = {}
        """What is set beside this process's own environment."""
        self.sockets: dict[str, socket.socket] = {}
        """The listening sockets that it is started with, by their names."""
        if tables is None:
            text = CONFIG.format(
                port=self.port,
                upstream=upstream,
                journal=self.journal,
                grace_s=grace_s,
                workers=workers,
                admin_timeout_s=admin_timeout_s,
            )
        else:
            text = toml_text(self._over_places(tables, upstream, host))
        self.config.write_text(text)

    async def start(self) -> None:
        """Start, and wait until it listens."""
        before = len(self.log("listening"))
        await self.launch()
        await eventually(lambda: self._ended() or len(self.log("listening")) > before, START_S)
        assert not self._ended(), self._log.read_text()[-2000:]

    async def launch(self) -> None:
        """Start."""
        command = [*handing_over(self.sockets), "-m", "sidecar", "run", "-c", str(self.config)]
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *command,
                stderr=log,
                stdout=log,
                env=os.environ | self.environment,
                pass_fds=[one.fileno() for one in self.sockets.values()],
            )

    async def kill(self) -> None:
        """Kill it, as `kill -9` does."""
        await self._signal(signal.SIGKILL)

    async def terminate(self) -> int:
        """SIGTERM; give the exit code."""
        return await self._signal(signal.SIGTERM)

    async def reload(self, event: str = "reloaded") -> dict[str, Any]:
        """SIGHUP; wait for what it came to, and give that line of the log."""
        before = len(self.log(event))
        self.signal(signal.SIGHUP)
        return (await eventually(lambda: self.log(event)[before:], START_S))[0]

    def signal(self, number: int) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def wait(self) -> int:
        """Wait for its end; give the exit code."""
        assert self._process is not None
        async with asyncio.timeout(START_S):
            return await self._process.wait()

    def edit(self, old: str, new: str) -> None:
        """Change the configuration's file."""
        text = self.config.read_text()
        assert old in text, text
        self.config.write_text(text.replace(old, new))

    async def close(self) -> None:
        """End whatever still runs."""
        if self._process is not None and not self._ended():
            await self.kill()

    def log(self, event: str) -> list[dict[str, Any]]:
        """Give the log's lines about an event."""
        if not self._log.exists():
            return []
        lines = [line for line in self._log.read_text().splitlines() if line.startswith("{") and line.endswith("}")]
        return [entry for entry in map(json.loads, lines) if entry.get("event") == event]

    def log_lines(self) -> list[dict[str, Any]]:
        """Give every line of the log; each has to be one of ours."""
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def log_text(self) -> str:
        """Give the whole log."""
        return self._log.read_text()

    def turns(self) -> dict[str, str]:
        """Give the state of each turn in the journal, by request id."""
        with closing(sqlite3.connect(self.journal)) as database:
            return dict(database.execute("SELECT request_id, state FROM turns"))

    def causes(self) -> dict[str, str | None]:
        """Give the cause of each turn in the journal, by request id."""
        with closing(sqlite3.connect(self.journal)) as database:
            return dict(database.execute("SELECT request_id, cause FROM turns"))

    async def until_settled(self, timeout_s: float) -> dict[str, str]:
        """Wait until every turn is settled; give their states by request id."""
        return await eventually(lambda: turns if set((turns := self.turns()).values()) <= SETTLED else None, timeout_s)

    def forget_log(self) -> None:
        """Begin the log anew, after having looked for what should never be in it."""
        assert "Traceback" not in self.log_text(), self.log_text()[-4000:]
        self._log.unlink()

    @property
    def pid(self) -> int:
        """The running process's id."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return not self._ended()

    def _over_places(self, tables: Tables, upstream: str, host: str) -> Tables:
        places: dict[str, dict[str, object]] = {
            "listen": {"address": f"{host}:{self.port}"},
            "upstream": {"url": upstream},
            "journal": {"path": str(self.journal)},
            "console": {"address": "off"},
            "log": {"format": "json"},
        }
        given = {name: tables[name] for name in tables if name not in places}
        return {**{name: {**place, **_table(tables.get(name, {}))} for name, place in places.items()}, **given}

    def _ended(self) -> bool:
        return self._process is None or self._process.returncode is not None

    async def _signal(self, number: int) -> int:
        self.signal(number)
        return await self.wait()


def toml_text(tables: Tables) -> str:
    """Write TOML, each top-level key as one line."""
    return "".join(f"{name} = {_toml(value)}\n" for name, value in tables.items())


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(name)} = {_toml(inner)}" for name, inner in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def _table(value: object) -> Mapping[str, object]:
    assert isinstance(value, Mapping)
    return value


def free_port() -> int:
    """Give a port of 127.0.0.1 at which nobody listens."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
