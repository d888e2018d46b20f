"""What an app's own server has beside its chat: its pages, here those of the TypeScript client, and fit headers."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest
from aiohttp import web

CLIENT: Final = Path(__file__).parents[2] / "clients" / "typescript"
COMPILER: Final = CLIENT / "node_modules" / ".bin" / "tsc"
BUILD_S: Final = 60.0

needs_client: Final = pytest.mark.skipif(
    shutil.which("node") is None or not COMPILER.exists(),
    reason="needs node and the client's compiler (npm ci in clients/typescript)",
)


class AppSite:
    """Furnishes a backend. `second_half` lets the answer of `/app/halves` go on, which stops amid a character."""

    def __init__(self) -> None:
        self.second_half = asyncio.Event()

    def furnish(self, app: web.Application) -> None:
        """Add the pages (all of the client's files), the answer in halves, and what the answers owe to browsers."""
        app.on_response_prepare.append(_allow)
        app.router.add_route("OPTIONS", "/api/{path:.*}", _preflight)
        app.router.add_post("/app/halves", self._halves)
        app.router.add_static("/app", CLIENT)

    async def _halves(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        await response.prepare(request)
        plant = "🌱".encode()
        await response.write(b"grow " + plant[:2])
        await self.second_half.wait()
        await response.write(plant[2:] + b"!")
        return response


async def _preflight(_: web.Request) -> web.Response:
    return web.Response(status=204)


async def _allow(_: web.Request, response: web.StreamResponse) -> None:
    """Allow pages of any origin to ask and to see the ids; and do not let Chromium guess what plain text is.

    To guess, it would keep the first 1,024 bytes of an answer from an XMLHttpRequest.
    """
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type, X-Request-Id"
    response.headers["Access-Control-Expose-Headers"] = "X-Request-Id, X-Conversation-Id"
    response.headers["X-Content-Type-Options"] = "nosniff"


def build_client() -> None:
    """Compile the client anew, so that what is tested is what is written."""
    subprocess.run([COMPILER, "-p", "."], cwd=CLIENT, check=True, timeout=BUILD_S)
