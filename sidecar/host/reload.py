"""Takes a changed configuration into force, all of it or nothing.

SIGHUP, console --> read --> every problem told, the old one stays in force
                         --> applied; what only a start can change is named, and waits for one
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from sidecar.config import changed_keys, held_back, waiting_for_start
from sidecar.engine.ports import Reloaded
from sidecar.engine.service import Service
from sidecar.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sidecar.config import InForce, Settings
    from sidecar.engine.ports import Reloader
    from sidecar.host.host import Host

NO_FILE: Final = "there is no configuration file to read again; start it with sidecar run -c FILE"

log = structlog.get_logger()


class Reload:
    """The engine's Reloader. `apply` puts settings in force; it raises OperatorError before anything has changed.

    `ready` is called when a reload is over, whatever it came to.
    """

    def __init__(
        self,
        in_force: InForce,
        host: Host,
        apply: Callable[[Settings], Awaitable[None]],
        *,
        ready: Callable[[], None],
    ) -> None:
        self._in_force = in_force
        self._host = host
        self._apply = apply
        self._ready = ready
        self._lock = asyncio.Lock()

    async def reload(self) -> Reloaded:
        """Read the configuration again and use it, unless it has a problem; one reload at a time."""
        async with self._lock:
            self._host.supervisor.reloading()
            try:
                return await self._take(await self._read())
            except OperatorError as error:
                problems = tuple(str(error).splitlines())
                log.error("reload_refused", problems=list(problems))  # noqa: TRY400  (no bug: no traceback)
                return Reloaded(problems=problems)
            finally:
                self._ready()

    async def _read(self) -> Settings:
        if self._host.read is None:
            raise OperatorError(NO_FILE)
        return await asyncio.to_thread(self._host.read)  # no stream waits for a parser

    async def _take(self, wanted: Settings) -> Reloaded:
        before = self._in_force.settings
        waiting = tuple(waiting_for_start(before, wanted))
        settings = held_back(before, wanted)
        changed = tuple(changed_keys(before, settings))
        await self._apply(settings)
        if waiting:
            log.warning("takes_effect_at_the_next_start", settings=list(waiting))
        log.info("reloaded", changed=list(changed))
        self._host.set_up_logging(settings.log)
        return Reloaded(changed=changed, waiting=waiting)


class HangUps(Service):
    """Reloads whenever the event is set."""

    def __init__(self, hung_up: asyncio.Event, reloader: Reloader) -> None:
        super().__init__()
        self._hung_up = hung_up
        self._reloader = reloader

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._hung_up.wait()
            self._hung_up.clear()
            try:
                await self._reloader.reload()
            except Exception as error:  # a bug of ours must not end what is under way
                log.exception("reload_failed", error=repr(error))
