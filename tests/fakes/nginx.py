"""A real nginx before a port of loopback, with the settings that a test wants to see at work."""

from __future__ import annotations

import asyncio
import shutil
import socket
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Final

import pytest

from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PROGRAM: Final = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
needs_nginx: Final = pytest.mark.skipif(PROGRAM is None, reason="no nginx is installed (Debian: nginx-light)")
_CONFIG: Final = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
events {{ worker_connections 128; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port}{listen};
    {server}
    location / {{
      proxy_pass {upstream};
      {location}
    }}
  }}
}}
"""


@asynccontextmanager
async def nginx_before(
    upstream: str, folder: Path, location: str = "", *, listen: str = "", server: str = ""
) -> AsyncIterator[int]:
    """Run nginx until the end of the block; give its port."""
    port = _free_port()
    text = _CONFIG.format(folder=folder, port=port, upstream=upstream, location=location, listen=listen, server=server)
    process = await asyncio.create_subprocess_exec(
        str(PROGRAM),
        "-c",
        str(_written(folder, text)),
        "-e",
        str(folder / "nginx-error.log"),
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        await eventually(lambda: process.returncode is not None or _listens(port), 20)
        assert process.returncode is None, (folder / "nginx-error.log").read_text()
        yield port
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


def _written(folder: Path, text: str) -> Path:
    folder.mkdir()
    config = folder / "nginx.conf"
    config.write_text(text)
    return config


def _listens(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
