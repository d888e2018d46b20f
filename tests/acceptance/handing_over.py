"""Starts a Python process with listening sockets, as systemd's socket activation does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

_SCRIPT: Final = """
import fcntl, os, sys
fds, names, *arguments = sys.argv[1:]
moved = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 100) for fd in fds.split(",")]
for index, fd in enumerate(moved):
    os.dup2(fd, 3 + index, inheritable=True)
    os.close(fd)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(moved)), LISTEN_FDNAMES=names)
os.execv(sys.executable, [sys.executable, *arguments])
"""


def handing_over(sockets: Mapping[str, socket.socket]) -> list[str]:
    """Give the arguments that hand sockets over, by their names, before a Python process's own arguments."""
    if not sockets:
        return []
    fds = ",".join(str(one.fileno()) for one in sockets.values())
    return ["-c", _SCRIPT, fds, ":".join(sockets)]
