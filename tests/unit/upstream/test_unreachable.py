"""Why a connection could not be made, in a few words."""

from __future__ import annotations

import errno
import socket
import ssl

import pytest

from sidecar.upstream.unreachable import why_unreachable


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('::1', 1)"), "Connection refused"),
        (OSError("Multiple exceptions: [Errno 111] Connect call, [Errno 111] Connect call"), "Connection refused"),
        (OSError("Multiple exceptions: [Errno 113] x, [Errno 111] y"), "Connection refused, No route to host"),
        (socket.gaierror(socket.EAI_NONAME, "Name not known"), "its name does not resolve (Name not known)"),
        (ssl.SSLError(1, "made by hand"), "made by hand"),
        (ConnectionResetError(), "ConnectionResetError"),
        (OSError("x" * 1000), "x" * 200),
    ],
)
def test_why(error: Exception, reason: str) -> None:
    assert why_unreachable(error) == reason
