"""A client that vanishes without a sign, and without any privilege: its kernel drops whatever comes for one socket.

A socket filter (socket(7), SO_ATTACH_FILTER) that keeps nothing of a packet stands before TCP, so that nothing is
acknowledged or answered any more: what the peer sees is a phone in a tunnel.
"""

from __future__ import annotations

import ctypes
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import socket

SO_ATTACH_FILTER: Final = 26
SOL_SOCKET: Final = 1
_KEEP_NOTHING: Final = struct.pack("HBBI", 0x06, 0, 0, 0)  # BPF_RET | BPF_K, 0


def go_deaf(sock: socket.socket) -> None:
    """Have the kernel drop every packet that comes for the socket from now on."""
    instruction = ctypes.create_string_buffer(_KEEP_NOTHING, len(_KEEP_NOTHING))
    program = struct.pack("HP", 1, ctypes.addressof(instruction))  # struct sock_fprog, which the kernel copies
    sock.setsockopt(SOL_SOCKET, SO_ATTACH_FILTER, program)
