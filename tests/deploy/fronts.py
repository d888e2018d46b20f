"""The fronts of deploy/, run as they are shipped: only addresses and certificates are those of the test.

What is replaced has to be there, so that a test cannot run something other than what it names.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
from abc import ABC, abstractmethod
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

import pytest
from aiohttp.test_utils import unused_port

from tests.deploy.visitor import CERTIFICATE
from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
START_S: Final = 20.0
SHIPPED_BACKEND: Final = "127.0.0.1:8080"


def replaced(text: str, changes: Mapping[str, str]) -> str:
    """Replace every key by its value. Each key has to be there."""
    for old, new in changes.items():
        assert old in text, f"{old!r} is not in what is shipped"
        text = text.replace(old, new)
    return text


class Front(ABC):
    """A front before a sidecar at `127.0.0.1:sidecar_port`, in a folder of its own, with `changes` made to its file."""

    program: ClassVar[str]
    shipped: ClassVar[Path]

    def __init__(self, folder: Path, sidecar_port: int, changes: Mapping[str, str] | None = None) -> None:
        if tool(self.program) is None:
            pytest.skip(f"{self.program} is not installed")
        self.folder = folder
        self.port = unused_port()
        self._backend = f"127.0.0.1:{sidecar_port}"
        self.file = self._write(replaced(self.shipped.read_text(encoding="utf-8"), changes or {}))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run it, and wait until it listens."""
        log = self.folder / f"{self.program}.log"
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                *self._command(), stdout=out, stderr=out, env={**os.environ, **self._environment()}
            )
        try:
            await eventually(lambda: process.returncode is not None or _listens(self.port), START_S)
            assert process.returncode is None, log.read_text(encoding="utf-8")[-2000:]
            yield
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()

    async def complaints(self) -> str:
        """Have the program check its file; give what it complains of, or nothing."""
        process = await asyncio.create_subprocess_exec(
            *self._check_command(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **self._environment()},
        )
        out, _ = await process.communicate()
        return out.decode() if process.returncode else ""

    @abstractmethod
    def _write(self, shipped: str) -> Path:
        """Write the file to run."""

    @abstractmethod
    def _command(self) -> list[str]:
        """Give the command that runs it in the foreground."""

    @abstractmethod
    def _check_command(self) -> list[str]:
        """Give the command that checks its file."""

    def _environment(self) -> Mapping[str, str]:
        return {}


class Nginx(Front):
    """nginx; the shipped file is a server to be included."""

    program = "nginx"
    shipped = DEPLOY / "nginx" / "cancel-sidecar.conf"

    def _write(self, shipped: str) -> Path:
        site = self.folder / "cancel-sidecar.conf"
        places = {
            "listen 443 ": f"listen 127.0.0.1:{self.port} ",
            SHIPPED_BACKEND: self._backend,
            "/etc/ssl/chat.example.com/fullchain.pem": str(CERTIFICATE),
            "/etc/ssl/chat.example.com/privkey.pem": str(CERTIFICATE),
        }
        site.write_text(replaced(shipped, places), encoding="utf-8")
        temporary = "".join(
            f"{kind}_temp_path {self.folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        main = self.folder / "nginx.conf"
        main.write_text(
            f"daemon off;\nworker_processes 1;\nerror_log stderr;\npid {self.folder}/nginx.pid;\n"
            f"events {{}}\nhttp {{\naccess_log off;\n{temporary}include {site};\n}}\n",
            encoding="utf-8",
        )
        return main

    def _command(self) -> list[str]:
        return [str(tool(self.program)), "-e", "stderr", "-p", str(self.folder), "-c", str(self.file)]

    def _check_command(self) -> list[str]:
        return [*self._command(), "-t"]


class HAProxy(Front):
    """HAProxy."""

    program = "haproxy"
    shipped = DEPLOY / "haproxy" / "haproxy.cfg"

    def _write(self, shipped: str) -> Path:
        places = {
            "bind :443 ": f"bind 127.0.0.1:{self.port} ",
            SHIPPED_BACKEND: self._backend,
            "/etc/haproxy/certs/chat.example.com.pem": str(CERTIFICATE),
            "maxconn 20000": "maxconn 100",  # as many as a test's limits of open files allow
        }
        file = self.folder / "haproxy.cfg"
        file.write_text(replaced(shipped, places), encoding="utf-8")
        return file

    def _command(self) -> list[str]:
        return [str(tool(self.program)), "-db", "-f", str(self.file)]

    def _check_command(self) -> list[str]:
        return [*self._command(), "-c"]


class Caddy(Front):
    """Caddy; its certificates would come from outside."""

    program = "caddy"
    shipped = DEPLOY / "caddy" / "Caddyfile"

    def _write(self, shipped: str) -> Path:
        places = {
            "chat.example.com {": f"https://localhost:{self.port} {{\n\ttls {CERTIFICATE} {CERTIFICATE}",
            SHIPPED_BACKEND: self._backend,
        }
        file = self.folder / "Caddyfile"
        options = "{\n\tadmin off\n\tauto_https disable_redirects\n}\n"
        file.write_text(options + replaced(shipped, places), encoding="utf-8")
        return file

    def _command(self) -> list[str]:
        return [str(tool(self.program)), "run", "--adapter", "caddyfile", "--config", str(self.file)]

    def _check_command(self) -> list[str]:
        return [str(tool(self.program)), "validate", "--adapter", "caddyfile", "--config", str(self.file)]

    def _environment(self) -> Mapping[str, str]:
        return {"XDG_DATA_HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder)}


def tool(program: str) -> str | None:
    """Find a program: servers are where only root's PATH looks, and some come with the development tools."""
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"]
    return shutil.which(program, path=os.pathsep.join(places))


def _listens(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
