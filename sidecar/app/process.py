"""The process around a sidecar: its loop, its signals, and who started it."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from sidecar.app.assemble import Sidecar
from sidecar.host import HangUps, Host, Inherited, Signals, Supervisor
from sidecar.telemetry import set_up_logging

try:
    from uvloop import new_event_loop
except ImportError:  # it comes with CPython only
    from asyncio import new_event_loop  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.config import Settings


def run(read: Callable[[], Settings]) -> None:
    """Run until SIGTERM or SIGINT; SIGHUP has the settings read again. Raises OperatorError where it cannot start."""
    settings = read()
    set_up_logging(settings.log)
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
    async with Sidecar.start(settings, host) as sidecar:
        hang_ups = HangUps(signals.hang_up, sidecar.reloader)
        hang_ups.start()
        await signals.stop.wait()
        await hang_ups.stop()
