"""Where a service listens: `host:port`, `[::1]:port` or `unix:/path`, parsed; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, TypeAlias

PORT_MAX: Final = 65535
UNIX_PATH_BYTES_MAX: Final = 107  # sun_path of Linux has 108, the last of them NUL
HOST_NAME: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.(?!-)[A-Za-z0-9_-]{1,63})*\.?")


class AddressSyntaxError(ValueError):
    """The text is no address; the message says what is wrong and how it is mended."""


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A host (name, IPv4, or IPv6 without its brackets) and a port; port 0 lets the kernel choose one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host.rstrip(".").lower() == "localhost"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """The path of a Unix socket."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it: always; the file's permissions say who."""
        return True


Address: TypeAlias = TcpAddress | UnixAddress


def parse_address(text: str) -> Address:
    """Read an address. Raises AddressSyntaxError."""
    if text.startswith("unix:"):
        return _parse_unix(text.removeprefix("unix:"))
    host, colon, port = text.rpartition(":")
    if not colon:
        mend = f"127.0.0.1:{text}" if text.isdecimal() else f"{text or '127.0.0.1'}:8080"
        raise AddressSyntaxError(f"{text!r} is not host:port; write for example {mend!r}")
    return TcpAddress(_parse_host(host, text), _parse_port(port, text))


def _parse_unix(path: str) -> UnixAddress:
    if not path or "\0" in path:
        raise AddressSyntaxError("'unix:' must be followed by a path; write for example 'unix:/run/sidecar.sock'")
    if len(path.encode(errors="replace")) > UNIX_PATH_BYTES_MAX:
        raise AddressSyntaxError(f"the path of a Unix socket has at most {UNIX_PATH_BYTES_MAX} bytes; shorten it")
    return UnixAddress(path)


def _parse_host(host: str, text: str) -> str:
    if not host:
        raise AddressSyntaxError(f"{text!r} names no host; write '127.0.0.1{text}', or '0.0.0.0{text}' for all")
    if host.startswith("[") and host.endswith("]"):
        if _is_ip(host[1:-1], IPv6Address):
            return host[1:-1]
        raise AddressSyntaxError(f"{host!r} is no IPv6 address; write for example '[::1]:8080'")
    if ":" in host:
        raise AddressSyntaxError(f"{text!r} is ambiguous; an IPv6 address stands in brackets, as in '[::1]:8080'")
    numeric = host.replace(".", "").isdecimal()
    if not (_is_ip(host, IPv4Address) if numeric else HOST_NAME.fullmatch(host)):
        raise AddressSyntaxError(f"{host!r} is neither a host's name nor an IP address; write for example '127.0.0.1'")
    return host


def _is_ip(host: str, family: type[IPv4Address | IPv6Address]) -> bool:
    try:
        family(host)
    except ValueError:
        return False
    return True


def _parse_port(port: str, text: str) -> int:
    # The length bounds the work of int(), the ASCII check keeps out digits of other scripts.
    if port.isascii() and port.isdecimal() and len(port) <= len(str(PORT_MAX)) and int(port) <= PORT_MAX:
        return int(port)
    raise AddressSyntaxError(f"{text!r} has no port from 0 to {PORT_MAX} behind its last colon; write one, as ':8080'")
