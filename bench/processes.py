"""A peer as a running process: started, held still while others are measured, ended; by its process ids alone."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.native import Native
    from bench.peers import Peer

CONFIGS = Path(__file__).parent / "configs"
POLL_S = 0.05
CONSOLE_OFFSET = 500
END_S = 5.0


class StartError(Exception):
    """A peer did not come up; the message says where its log is."""


@dataclass
class Running:
    """`port` is the peer's own, the backend's for the baseline, which has no process."""

    peer: Peer
    port: int
    backend_port: int
    home: Path
    native: Native | None  # None: there is no compiler
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def folder(self) -> Path:
        return self.home / "run" / self.peer.name

    def fill(self, text: str) -> str:
        """@NAME@s filled in, see bench.peers."""
        values = {
            "PORT": self.port,
            "CONSOLE_PORT": self.port + CONSOLE_OFFSET,
            "HOST": "127.0.0.1",
            "UPSTREAM": f"127.0.0.1:{self.backend_port}",
            "UPSTREAM_PORT": self.backend_port,
            "RUN": self.folder,
            "HOME": self.home,
            "CONFIGS": CONFIGS,
            "CONFIG": self.folder / self.peer.config,
            "FLOOR": self.native.floor if self.native else "",
            "PYTHON": sys.executable,
        }
        for name, value in values.items():
            text = text.replace(f"@{name}@", str(value))
        return text

    def is_there(self) -> bool:
        """Whether the program that it needs is installed."""
        return not self.peer.needs or shutil.which(self.fill(self.peer.needs)) is not None

    def start(self) -> None:
        """Start, and return once it listens. Raises StartError."""
        if self.peer.command:
            self.prepare()
            self.launch()

    def prepare(self) -> None:
        """An empty folder, but for the configuration."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        if self.peer.config:
            template = (CONFIGS / self.peer.config).read_text(encoding="utf-8")
            (self.folder / self.peer.config).write_text(self.fill(template), encoding="utf-8")

    def launch(self) -> None:
        """Start what was prepared, and return once it listens. Raises StartError."""
        env = {name: self.fill(value) for name, value in self.peer.env.items()}
        command = shlex.split(self.fill(self.peer.command))
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                command,
                env={**os.environ, "HOME": str(self.folder), **env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.await_port()

    def await_port(self) -> None:
        give_up = time.monotonic() + self.peer.start_s
        while time.monotonic() < give_up and self.is_alive():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(POLL_S)
        self.stop()
        raise StartError(f"{self.peer.name} did not start: see {self.folder / 'log'}")

    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def freeze(self) -> None:
        """What is not being measured must not take CPU."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def signal(self, number: signal.Signals) -> None:
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def pids(self) -> list[int]:
        return family(self.process.pid) if self.process is not None and self.is_alive() else []

    def stop(self) -> None:
        """End it and its children, if need be by force."""
        if self.process is None:
            return
        everyone = self.pids()
        self.thaw()
        self.signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(END_S)
        for pid in everyone:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.process = None


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for parent in found:  # grows while we walk
        with contextlib.suppress(OSError):
            for children in Path(f"/proc/{parent}/task").glob("*/children"):
                found += [int(child) for child in children.read_text(encoding="ascii").split()]
    return found
