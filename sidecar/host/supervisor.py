"""Tells systemd, or whoever else speaks its protocol, how the process is doing: sd_notify(3), sd_watchdog_enabled(3).

        start --ready--> serving --reloading--> ready again        serving --stopping--> the end
                         alive, alive, ... where a watchdog listens

Each word is one datagram. Who does not listen, or no longer, hurts nobody: words may be lost, and no more than that.
"""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Mapping

log = structlog.get_logger()


class Supervisor:
    """Who supervises the process. `address` is a Unix datagram socket's, `@` for an abstract one; None: nobody does."""

    def __init__(self, address: str | None = None, *, watchdog_s: float | None = None) -> None:
        self._address = address
        self.watchdog_s = watchdog_s if address is not None else None
        """Within how many seconds it has to hear that the process is alive; None: it does not ask."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Supervisor:
        """Find it by what a supervisor sets: NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID."""
        microseconds = environment.get("WATCHDOG_USEC", "")
        meant = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        asks = meant and microseconds.isdecimal() and int(microseconds) > 0
        return cls(environment.get("NOTIFY_SOCKET") or None, watchdog_s=int(microseconds) / 1e6 if asks else None)

    def ready(self, status: str) -> None:
        """Say that the process serves; also once a reload is over, whatever it came to."""
        self._tell("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Say that a reload has begun. Its time tells the supervisor which of its signals is answered."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, status: str, *, within_s: float) -> None:
        """Say that a stop has begun, and ask for the time that it may take."""
        self._tell("STOPPING=1", f"STATUS={status}", f"EXTEND_TIMEOUT_USEC={int(within_s * 1e6)}")

    def status(self, status: str) -> None:
        """Say in a line how the process is doing."""
        self._tell(f"STATUS={status}")

    def alive(self) -> None:
        """Keep the watchdog quiet."""
        self._tell("WATCHDOG=1")

    def _tell(self, *words: str) -> None:
        if self._address is None:
            return
        where = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        message = "\n".join(" ".join(word.splitlines()) for word in words).encode()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.setblocking(False)  # a supervisor that is busy holds up no stream
            try:
                out.sendto(message, where)
            except (OSError, ValueError) as error:
                log.warning("supervisor_unreachable", error=str(error))
