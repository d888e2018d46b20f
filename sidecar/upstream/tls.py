"""TLS towards an https server: what it must prove to us, and what we can prove to it.

By default the system's certificate authorities vouch for it, under the name that stands in the URL.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.config.urls import is_https
from sidecar.errors import ConfigError

if TYPE_CHECKING:
    from sidecar.config import ClientTls, Settings


def check_tls(settings: Settings) -> None:
    """Try the files that `[upstream.tls]` and `[admin.tls]` name. Raises ConfigError."""
    problems: list[str] = []
    for url, tls, section in (
        (settings.upstream.url, settings.upstream.tls, "upstream.tls"),
        (settings.admin_url, settings.admin.tls, "admin.tls"),
    ):
        try:
            if tls is not None and is_https(url):
                client_tls(tls, section)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)


def client_tls(tls: ClientTls, section: str) -> ssl.SSLContext:
    """Make the context for connections to a server. Raises ConfigError, which names the keys of the section."""
    context = _trusting(tls, section)
    context.set_alpn_protocols(["http/1.1"])
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert is not None:
        _show(context, tls.cert, tls.key, section)
    return context


def _trusting(tls: ClientTls, section: str) -> ssl.SSLContext:
    if tls.ca is not None:
        _must_be_readable(tls.ca, f"{section}.ca")
    try:
        return ssl.create_default_context(cafile=tls.ca)
    except ssl.SSLError:
        raise ConfigError([f"{section}.ca: {tls.ca} holds no certificates in PEM; name a file that does"]) from None


def _show(context: ssl.SSLContext, certificate: str, key: str | None, section: str) -> None:
    """Let the context prove who we are, where the server asks."""
    _must_be_readable(certificate, f"{section}.cert")
    if key is not None:
        _must_be_readable(key, f"{section}.key")
    try:
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except ssl.SSLError:
        where = f"{section}.key" if key is not None else f"{section}.cert"
        raise ConfigError(
            [f"{where}: is no key in PEM that fits the certificate; name one that does, without a passphrase"]
        ) from None


def _no_passphrase() -> str:
    """Keep OpenSSL from asking for one on the terminal."""
    return ""


def _must_be_readable(path: str, key: str) -> None:
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise ConfigError([f"{key}: {path} cannot be read ({error.strerror}); name a file that can"]) from None
