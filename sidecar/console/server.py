"""The console's application, and where it listens."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog
from aiohttp import web

from sidecar.config import TcpAddress, parse_address
from sidecar.console.exposition import METRICS, metrics
from sidecar.console.guard import GUARD, Guard, add_headers, guarded
from sidecar.console.health import READINESS, Readiness, healthz, readyz
from sidecar.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from sidecar.config import Console
    from sidecar.console.ports import MetricsSource, Probe

BODY_BYTES_MAX: Final = 65_536
KEEPALIVE_S: Final = 30.0
LAST_ANSWERS_S: Final = 1.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Backstage:
    """Those behind the console, joined by `app`."""

    settings: Console
    metrics: MetricsSource
    probes: Mapping[str, Probe]


def application(backstage: Backstage) -> web.Application:
    """Make the application."""
    app = web.Application(middlewares=[guarded], client_max_size=BODY_BYTES_MAX)
    app[GUARD] = Guard(backstage.settings.token, _names(backstage.settings))
    app[METRICS] = backstage.metrics
    app[READINESS] = Readiness(backstage.probes)
    app.on_response_prepare.append(add_headers)
    app.cleanup_ctx.append(_readiness)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    return app


@asynccontextmanager
async def listening(backstage: Backstage) -> AsyncIterator[str]:
    """Serve the console within the context; give the URL at which it is reached. Raises OperatorError."""
    runner = web.AppRunner(
        application(backstage), access_log=None, keepalive_timeout=KEEPALIVE_S, shutdown_timeout=LAST_ANSWERS_S
    )
    await runner.setup()
    try:
        url = await _listen(runner, backstage.settings.address)
        log.info("console", address=url)
        yield url
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, text: str) -> str:
    address = parse_address(text)
    try:
        if not isinstance(address, TcpAddress):
            await web.UnixSite(runner, address.path).start()
            return str(address)
        site = web.TCPSite(runner, address.host, address.port)
        await site.start()
    except OSError as error:
        raise OperatorError(
            f"console.address: cannot listen on {address} ({error.strerror or error}); choose another, or write 'off'"
        ) from error
    port = runner.addresses[0][1]
    return f"http://{TcpAddress(address.host, port)}"


def _names(settings: Console) -> tuple[str, ...]:
    address = parse_address(settings.address)
    own = (address.host,) if isinstance(address, TcpAddress) else ()
    return (*own, *settings.hosts)


async def _readiness(app: web.Application) -> AsyncIterator[None]:
    yield
    await app[READINESS].close()
