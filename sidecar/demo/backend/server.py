"""The backend as a whole: its parts joined, listening on loopback; and what a demo or a test sees of it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Self

from aiohttp import web

from sidecar.demo.backend.admin import AdminApi, AdminCall, AdminFault
from sidecar.demo.backend.chat import ChatApi
from sidecar.demo.backend.knobs import BackendKnobs
from sidecar.demo.backend.plain import PlainApi
from sidecar.demo.backend.store import KeptConversation, Store, read_database
from sidecar.demo.backend.watch import Watched
from sidecar.demo.backend.workshop import WAIT_S, Workshop

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from sidecar.demo.backend.generation import GenerationRecord

_HOST: Final = "127.0.0.1"
_KNOBS: Final = BackendKnobs()
_BODY_BYTES_MAX: Final = 256 * 1024 * 1024
_BACKLOG: Final = 4096
_SHUTDOWN_S: Final = 0.05


class LegacyBackend:
    """A legacy backend that is listening at `url`, with its database at `path`."""

    def __init__(self, workshop: Workshop, path: Path) -> None:
        self.path = path
        self.url = ""
        self._workshop = workshop
        self._admin = AdminApi(workshop)

    @classmethod
    @asynccontextmanager
    async def serve(
        cls,
        knobs: BackendKnobs = _KNOBS,
        *,
        path: Path,
        port: int = 0,
        furnish: Callable[[web.Application], None] = lambda _: None,
    ) -> AsyncIterator[Self]:
        """Listen on loopback; port 0 finds a free one. At the end everything under way breaks off.

        `furnish` adds what else its site has, such as pages. Raises OSError where the port is in use.
        """
        async with Store.open(path) as store:
            workshop = Workshop(knobs, store)
            backend = cls(workshop, path)
            app = backend._app(store)
            furnish(app)
            try:
                async with backend._listening(app, port):
                    yield backend
            finally:
                await workshop.close()

    @property
    def knobs(self) -> BackendKnobs:
        """How requests from now on are served."""
        return self._workshop.knobs

    @knobs.setter
    def knobs(self, knobs: BackendKnobs) -> None:
        self._workshop.knobs = knobs

    @property
    def port(self) -> int:
        """The port at which it listens."""
        return int(self.url.rpartition(":")[2])

    @property
    def quiet(self) -> bool:
        """Nothing is being generated."""
        return self._workshop.quiet

    @property
    def questions(self) -> list[str]:
        """The request ids of all questions, in the order in which they came; one that came twice is there twice."""
        return self._workshop.questions

    @property
    def generations(self) -> Mapping[str, GenerationRecord]:
        """What became of each request's generation, by request id."""
        return self._workshop.records

    @property
    def calls(self) -> list[AdminCall]:
        """The calls of the admin API, in the order in which they came."""
        return self._admin.calls

    @property
    def effects(self) -> Counter[str]:
        """How often something was really done: `stopped <request id>`, `deleted <id>`, `confirmed <id>`."""
        return self._admin.effects

    @property
    def admin_fault(self) -> AdminFault | None:
        """Is asked before each call of the admin API: its answer, if any, stands in place of the effect."""
        return self._admin.fault

    @admin_fault.setter
    def admin_fault(self, fault: AdminFault | None) -> None:
        self._admin.fault = fault

    @property
    def admin_fault_after(self) -> AdminFault | None:
        """Is asked after each call of the admin API: the effect is had, but its answer, if any, is another."""
        return self._admin.fault_after

    @admin_fault_after.setter
    def admin_fault_after(self, fault: AdminFault | None) -> None:
        self._admin.fault_after = fault

    async def until(self, predicate: Callable[[], object], timeout_s: float = WAIT_S) -> None:
        """Wait until something about this backend is true. Raises TimeoutError."""
        await self._workshop.until(predicate, timeout_s)

    async def heard(self, request_id: str, timeout_s: float = WAIT_S) -> GenerationRecord:
        """Wait until a request's question is saved. Raises TimeoutError."""
        await self.until(lambda: request_id in self.generations and self.generations[request_id].heard, timeout_s)
        return self.generations[request_id]

    def kept(self) -> tuple[KeptConversation, ...]:
        """Read from the database file what is kept."""
        return read_database(self.path)

    def _app(self, store: Store) -> web.Application:
        app = web.Application(client_max_size=_BODY_BYTES_MAX)
        app.add_routes([*ChatApi(self._workshop).routes(), *self._admin.routes(), *PlainApi(store).routes()])
        return app

    @asynccontextmanager
    async def _listening(self, app: web.Application, port: int) -> AsyncIterator[None]:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_S)
        await runner.setup()
        try:
            server = await self._bind(runner, port)
            yield
            server.close()
        finally:
            await runner.cleanup()

    async def _bind(self, runner: web.AppRunner, port: int) -> asyncio.Server:
        make = runner.server
        if make is None:
            raise RuntimeError("the runner is not set up")
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Watched(make()), _HOST, port, backlog=_BACKLOG)
        self.url = f"http://{_HOST}:{server.sockets[0].getsockname()[1]}"
        return server
