"""Whether the process is alive, and whether it may be sent traffic: which part is not ready, and why.

Probes may cost something (a connection, a commit): what they said is good for a second, and asked for once at a time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiohttp import web

from sidecar.console.guard import GUARD
from sidecar.errors import PeerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.console.ports import Probe

GOOD_FOR_S: Final = 1.0
PROBE_TIMEOUT_S: Final = 2.0
UNTOLD: Final = "not ready (present the token to see why)"

Reasons = dict[str, str | None]


class Readiness:
    """The parts that have to be ready, by name, each with its probe."""

    def __init__(self, probes: Mapping[str, Probe]) -> None:
        self._probes = probes
        self._asked: asyncio.Task[Reasons] | None = None
        self._asked_at = 0.0

    async def reasons(self, good_for_s: float = GOOD_FOR_S) -> Reasons:
        """Say for each part why it is not ready; None where it is. What was said lately may be said again."""
        now = asyncio.get_running_loop().time()
        if self._asked is None or (self._asked.done() and now >= self._asked_at + good_for_s):
            self._asked, self._asked_at = asyncio.create_task(self._ask()), now
        return await asyncio.shield(self._asked)

    async def close(self) -> None:
        """Ask nobody any more."""
        if self._asked is not None:
            self._asked.cancel()
            await asyncio.gather(self._asked, return_exceptions=True)

    async def _ask(self) -> Reasons:
        reasons = await asyncio.gather(*map(_reason, self._probes.values()))
        return dict(zip(self._probes, reasons, strict=True))


async def _reason(probe: Probe) -> str | None:
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            return await probe()
    except TimeoutError:
        return f"no answer within {PROBE_TIMEOUT_S:g} s"
    except PeerError as error:
        return str(error)


READINESS: Final = web.AppKey("READINESS", Readiness)


async def healthz(_: web.Request) -> web.Response:
    """Answer: the process is alive, its loop goes round."""
    return web.Response(text="ok\n")


async def readyz(request: web.Request) -> web.Response:
    """Answer 200 or 503, a line for each part. Reasons may name inner hosts: they are for who has the token."""
    reasons = await request.app[READINESS].reasons()
    knows = request.app[GUARD].is_known(request)
    lines = [f"{part}: {'ok' if why is None else why if knows else UNTOLD}\n" for part, why in reasons.items()]
    ready = not any(reasons.values())
    return web.Response(text="".join(lines), status=200 if ready else 503)
