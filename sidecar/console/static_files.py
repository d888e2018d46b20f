"""The dashboard's files: few, small, and read once. What they are is known by their content's hash."""

from __future__ import annotations

from hashlib import sha256
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from aiohttp import web

from sidecar.errors import BugError

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE: Final = "index.html"
TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "html": "text/html",
        "css": "text/css",
        "js": "text/javascript",
        "svg": "image/svg+xml",
    }
)


class StaticFiles:
    """The files of the folder `static`, by their names."""

    def __init__(self) -> None:
        folder = files(__package__).joinpath("static")
        self._files = {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.is_file()}
        if PAGE not in self._files:
            raise BugError("the dashboard's files are not installed")
        self._tags = {name: f'"{sha256(content).hexdigest()[:20]}"' for name, content in self._files.items()}

    async def page(self, request: web.Request) -> web.Response:
        """Answer with the dashboard."""
        return self._give(request, PAGE)

    async def file(self, request: web.Request) -> web.Response:
        """Answer with one of its files."""
        return self._give(request, request.match_info["name"])

    def _give(self, request: web.Request, name: str) -> web.Response:
        kind = TYPES.get(name.rpartition(".")[2])
        if name not in self._files or kind is None:
            raise web.HTTPNotFound
        headers = {"ETag": self._tags[name], "Cache-Control": "no-cache"}
        if request.headers.get("If-None-Match") == self._tags[name]:
            return web.Response(status=304, headers=headers)
        return web.Response(body=self._files[name], content_type=kind, charset="utf-8", headers=headers)
