"""`[upstream]` and `[admin]`: where they are, how they are known, and what of it contradicts itself."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.config import ClientTls, Settings, TcpAddress, UnixAddress, load_table
from sidecar.config.urls import address_of, is_https
from sidecar.errors import ConfigError


def problems_of(upstream: dict[str, Any], admin: dict[str, Any] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_table({"upstream": {"url": "http://127.0.0.1:9000", **upstream}, "admin": admin or {}}, {})
    return caught.value.problems


@pytest.mark.parametrize(
    ("url", "address", "https"),
    [
        ("http://127.0.0.1:9000", TcpAddress("127.0.0.1", 9000), False),
        ("http://Backend.internal", TcpAddress("backend.internal", 80), False),
        ("https://backend.internal/", TcpAddress("backend.internal", 443), True),
        ("https://[::1]:8443", TcpAddress("::1", 8443), True),
        ("unix:/run/backend.sock", UnixAddress("/run/backend.sock"), False),
    ],
)
def test_where_a_url_leads(url: str, address: TcpAddress | UnixAddress, *, https: bool) -> None:
    settings = load_table({"upstream": {"url": url}}, {})
    assert address_of(settings.upstream.url) == address
    assert is_https(settings.upstream.url) is https


@pytest.mark.parametrize(
    ("upstream", "admin", "problem"),
    [
        ({"url": "unix:backend.sock"}, {}, "upstream.url: names no absolute path of a Unix socket; write for example "),
        ({"url": "unix:"}, {}, "upstream.url: names no absolute path of a Unix socket; write for example unix:/run/"),
        (
            {"url": "unix:/" + "x" * 200},
            {},
            "upstream.url: the path of a Unix socket has at most 107 bytes; shorten it",
        ),
        ({}, {"url": "unix:x"}, "admin.url: names no absolute path of a Unix socket; write for example unix:/run/"),
        ({"tls": {"ca": "x"}}, {}, "upstream.tls: is of no effect: upstream.url is not https; write an https URL, or "),
        ({}, {"tls": {"verify": False}}, "admin.tls: is of no effect: admin.url is not https; write an https URL, or "),
        (
            {"url": "https://b", "tls": {"key": "x"}},
            {},
            "upstream.tls.key: has no certificate; write upstream.tls.",
        ),
        (
            {"url": "https://b", "tls": {"ca": "x", "verify": False}},
            {},
            "upstream.tls.ca: is of no effect with verify = false; leave verify out",
        ),
        ({"url": "https://b", "tls": {"ca": ""}}, {}, "upstream.tls.ca: is empty or has a NUL; name a file"),
        (
            {"url": "https://b", "tls": {"server_name": "a b"}},
            {},
            "upstream.tls.server_name: 'a b' is no host's name; write the one in the server's certificate",
        ),
        ({"connections_max": -1}, {}, "upstream.connections_max: must be at least 0, is -1; write such a number"),
        ({"idle_expiry_s": 0}, {}, "upstream.idle_expiry_s: must be greater than 0, is 0; write such a number"),
    ],
)
def test_a_problem(upstream: dict[str, Any], admin: dict[str, Any], problem: str) -> None:
    (told,) = problems_of(upstream, admin)
    assert told.startswith(problem)


def test_how_the_admin_api_is_known() -> None:
    ours, own = {"ca": "ours.pem"}, {"ca": "own.pem"}

    def known(admin: dict[str, Any]) -> ClientTls:
        upstream = {"url": "https://backend.internal", "tls": ours}
        return Settings.model_validate({"upstream": upstream, "admin": admin}).admin_tls

    assert known({}) == ClientTls(ca="ours.pem")
    assert known({"url": "https://admin.internal"}) == ClientTls()
    assert known({"url": "https://admin.internal", "tls": own}) == ClientTls(ca="own.pem")
    assert known({"tls": own}) == ClientTls(ca="own.pem")
