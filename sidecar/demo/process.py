"""What the demo needs of its process: a port that is free, and an end on Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
import socket
from typing import Final

BACKEND_PORT: Final = 9000
INTERRUPTED: Final = 130


def free_or_any(port: int) -> int:
    """Give the port if nobody has it, else 0: any free one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
    return port


def end_on_signals() -> None:
    """Let Ctrl-C and SIGTERM end the demo alike, so that its folder goes."""
    task = asyncio.current_task()
    if task is not None:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
