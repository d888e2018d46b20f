"""The process around a sidecar, or around the parent of several: its loop, its signals, and who started it."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from sidecar.app.assemble import Sidecar
from sidecar.app.check import check_machine
from sidecar.app.garbage import settle
from sidecar.app.loop import new_event_loop
from sidecar.app.parent import Parent
from sidecar.errors import OperatorError
from sidecar.host import HangUps, Host, Inherited, Signals, Supervisor
from sidecar.host.descriptors import raise_limit
from sidecar.telemetry import set_up_logging

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.config import Settings


def run(read: Callable[[], Settings]) -> None:
    """Run until SIGTERM or SIGINT; SIGHUP has the settings read again. Raises OperatorError where it cannot start."""
    settings = read()
    check_machine(settings)
    set_up_logging(settings.log)
    raise_limit(settings)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_run(settings, read))


async def _run(settings: Settings, read: Callable[[], Settings]) -> None:
    signals = Signals()
    signals.attach(asyncio.get_running_loop())
    host = Host(
        read=read,
        set_up_logging=set_up_logging,
        hurry=signals.hurry,
        supervisor=Supervisor.from_environment(os.environ),
        inherited=Inherited.from_environment(os.environ),
    )
    whole = settings.listen.workers == 1
    try:
        async with Sidecar.start(settings, host) if whole else Parent.start(settings, host) as running:
            hang_ups = HangUps(signals.hang_up, running.reloader)
            hang_ups.start()
            settle()
            await signals.stop.wait()
            await hang_ups.stop()
    except OperatorError:
        if not signals.stop.is_set():  # which ends workers that are only starting, too
            raise
