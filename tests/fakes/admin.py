"""An admin API that says yes to everything, unless told otherwise, and writes down what it was asked."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping


@dataclass(frozen=True, slots=True)
class AdminCall:
    """A call as it came."""

    method: str
    path: str
    headers: Mapping[str, str]

    @property
    def line(self) -> str:
        """The call in short, such as `DELETE /admin/conversations/c1`."""
        return f"{self.method} {self.path}"


class AdminFake:
    """The admin API. `answers` maps a call's line to a status, where that is not 200, and `bodies` to a JSON body."""

    def __init__(self) -> None:
        self.url = ""
        self.calls: list[AdminCall] = []
        self.answers: dict[str, int] = {}
        self.bodies: dict[str, dict[str, str]] = {}

    @property
    def lines(self) -> list[str]:
        """The calls in short, in their order."""
        return [call.line for call in self.calls]

    @classmethod
    @asynccontextmanager
    async def listening(cls) -> AsyncIterator[AdminFake]:
        """Listen on loopback."""
        admin = cls()
        front = web.Server(admin._answer, access_log=None)
        server = await asyncio.get_running_loop().create_server(front, "127.0.0.1", 0)
        admin.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield admin
        finally:
            server.close()
            await front.shutdown(0.1)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        call = AdminCall(request.method, request.raw_path, request.headers.copy())
        self.calls.append(call)
        return web.json_response(self.bodies.get(call.line, {}), status=self.answers.get(call.line, 200))
