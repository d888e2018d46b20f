"""The console's application, and its life on sockets that somebody else has bound."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from sidecar.console.api import Api
from sidecar.console.events import Events
from sidecar.console.exposition import METRICS, metrics
from sidecar.console.guard import GUARD, Guard, add_headers, guarded
from sidecar.console.health import READINESS, Readiness, healthz, readyz
from sidecar.console.openapi import document
from sidecar.console.overview import Observatory
from sidecar.console.static_files import StaticFiles

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping

    from sidecar.config import Settings
    from sidecar.console.ports import Board, Desk, LiveTurns, MetricsSource, Probe
    from sidecar.engine.ports import Clock, Reloader

BODY_BYTES_MAX: Final = 65_536
KEEPALIVE_S: Final = 30.0
LAST_ANSWERS_S: Final = 1.0

EVENTS: Final = web.AppKey("EVENTS", Events)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backstage:
    """Those behind the console, joined by `app`. `settings` gives those in force."""

    settings: Callable[[], Settings]
    clock: Clock
    metrics: MetricsSource
    probes: Mapping[str, Probe]
    live: LiveTurns
    board: Board
    desk: Desk
    reloader: Reloader


def application(backstage: Backstage) -> web.Application:
    """Make the application."""
    app = web.Application(middlewares=[guarded], client_max_size=BODY_BYTES_MAX)
    readiness = Readiness(backstage.probes)
    api = _api(backstage, readiness)
    app[GUARD] = Guard(lambda: backstage.settings().console)
    app[METRICS] = backstage.metrics
    app[READINESS] = readiness
    app[EVENTS] = api.events
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(_end_streams)
    app.cleanup_ctx.append(_probing)
    _add_routes(app.router, api)
    return app


@asynccontextmanager
async def serving(backstage: Backstage, sockets: Iterable[socket.socket]) -> AsyncIterator[None]:
    """Serve the console within the context, at sockets that listen already."""
    runner = web.AppRunner(
        application(backstage), access_log=None, keepalive_timeout=KEEPALIVE_S, shutdown_timeout=LAST_ANSWERS_S
    )
    await runner.setup()
    try:
        for sock in sockets:
            await web.SockSite(runner, sock).start()
        yield
    finally:
        await runner.cleanup()


def _api(backstage: Backstage, readiness: Readiness) -> Api:
    observatory = Observatory(
        settings=backstage.settings,
        clock=backstage.clock,
        board=backstage.board,
        live=backstage.live,
        metrics=backstage.metrics,
        readiness=readiness,
    )
    return Api(
        settings=backstage.settings,
        desk=backstage.desk,
        observatory=observatory,
        events=Events(observatory),
        reloader=backstage.reloader,
    )


def _add_routes(router: web.UrlDispatcher, api: Api) -> None:
    endpoints, dashboard = api.endpoints(), StaticFiles()
    described: dict[str, Any] = document(endpoints)

    async def openapi(_: web.Request) -> web.Response:
        return web.json_response(described)

    router.add_get("/healthz", healthz)
    router.add_get("/readyz", readyz)
    router.add_get("/metrics", metrics)
    router.add_get("/api/openapi.json", openapi)
    for endpoint in endpoints:
        router.add_route(endpoint.method, endpoint.path, endpoint.handler)
    router.add_get("/", dashboard.page)
    router.add_get("/static/{name}", dashboard.file)


async def _end_streams(app: web.Application) -> None:
    await app[EVENTS].close()


async def _probing(app: web.Application) -> AsyncIterator[None]:
    yield
    await app[READINESS].close()
