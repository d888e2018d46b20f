"""Addresses to listen on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.config import AddressSyntaxError, TcpAddress, UnixAddress, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", TcpAddress("127.0.0.1", 8080)),
        ("0.0.0.0:0", TcpAddress("0.0.0.0", 0)),  # noqa: S104  (parsed, not bound)
        ("localhost:65535", TcpAddress("localhost", 65535)),
        ("my-host.example_1.com:1", TcpAddress("my-host.example_1.com", 1)),
        ("[::1]:8080", TcpAddress("::1", 8080)),
        ("[fe80::1%eth0]:80", TcpAddress("fe80::1%eth0", 80)),
        ("unix:/run/sidecar.sock", UnixAddress("/run/sidecar.sock")),
        ("unix:relative.sock", UnixAddress("relative.sock")),
    ],
)
def test_addresses(text: str, address: TcpAddress | UnixAddress) -> None:
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "write for example '127.0.0.1:8080'"),
        ("8080", "write for example '127.0.0.1:8080'"),
        ("localhost", "write for example 'localhost:8080'"),
        (":8080", "'127.0.0.1:8080', or '0.0.0.0:8080' for all"),
        ("::1:8080", "ambiguous"),
        ("[::1:8080", "ambiguous"),
        ("[127.0.0.1]:80", "no IPv6 address"),
        ("[]:80", "no IPv6 address"),
        ("1.2.3:80", "neither a host's name nor an IP address"),
        ("256.1.1.1:80", "neither a host's name nor an IP address"),
        ("*:80", "neither a host's name nor an IP address"),
        ("a b:80", "neither a host's name nor an IP address"),
        ("-a:80", "neither a host's name nor an IP address"),
        ("http://x:80", "ambiguous"),
        ("x:", "no port from 0 to 65535"),
        ("x:65536", "no port from 0 to 65535"),
        ("x:-1", "no port from 0 to 65535"),
        ("x:+1", "no port from 0 to 65535"),
        ("x:1_0", "no port from 0 to 65535"),
        ("x:٣", "no port from 0 to 65535"),
        ("x:" + "9" * 5000, "no port from 0 to 65535"),
        ("unix:", "followed by a path"),
        ("unix:/a\0b", "followed by a path"),
        ("unix:/" + "ä" * 54, "at most 107 bytes"),
    ],
)
def test_no_addresses(text: str, said: str) -> None:
    with pytest.raises(AddressSyntaxError) as caught:
        parse_address(text)
    assert said in str(caught.value)


@given(st.text())
def test_any_text_is_an_address_or_told_why_not(text: str) -> None:
    try:
        address = parse_address(text)
    except AddressSyntaxError:
        return
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    ("text", "loopback"),
    [
        ("127.0.0.1:1", True),
        ("127.9.9.9:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("LocalHost.:1", True),
        ("unix:/x", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("10.0.0.1:1", False),
        ("localhost.example.com:1", False),
    ],
)
def test_what_only_this_machine_can_reach(text: str, loopback: bool) -> None:
    assert parse_address(text).is_loopback is loopback
