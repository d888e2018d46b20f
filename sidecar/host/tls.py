"""TLS towards clients: the certificate in use, and how a reload brings another without touching a connection.

The listeners keep one context for life. Each handshake asks it, once the client has said hello, and is handed on to the
context of the day; so a certificate of another kind of key leaves nothing of the old one behind, either.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sidecar.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.config import Tls

ALPN: Final = ("http/1.1",)
VERSIONS: Final[Mapping[str, ssl.TLSVersion]] = MappingProxyType(
    {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
)
_MISMATCHES: Final = frozenset({"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"})
_WEAK: Final = frozenset({"EE_KEY_TOO_SMALL", "CA_MD_TOO_WEAK", "EE_MD_TOO_WEAK"})
"""OpenSSL's own words for a certificate that is sound, but that no client ought to trust."""


class ServerTls:
    """What the listeners need. Raises ConfigError where a certificate or key cannot be used."""

    def __init__(self, settings: Tls) -> None:
        self._now = self.load(settings)
        self.context = self.load(settings)
        """The listeners' context."""
        self.context.sni_callback = self._hand_on

    @staticmethod
    def load(settings: Tls) -> ssl.SSLContext:
        """Read a certificate and its key. Raises ConfigError, naming the file that is to be mended."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = VERSIONS[settings.minimum_version]
        context.set_alpn_protocols(list(ALPN))
        for name, path in (("cert", settings.cert), ("key", settings.key_path)):
            _must_be_readable(name, path)
        try:
            context.load_cert_chain(settings.cert, settings.key_path, password=_locked)
        except (ssl.SSLError, OSError) as error:
            raise _what_is_wrong(settings, getattr(error, "reason", None)) from None
        return context

    def use(self, context: ssl.SSLContext) -> None:
        """Let the handshakes that begin from now on use another context."""
        self._now = context
        self.context.minimum_version = context.minimum_version  # a version is chosen before a certificate

    def _hand_on(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        del name, context
        connection.context = self._now


def _must_be_readable(name: str, path: str) -> None:
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise _problem(name, f"{path} cannot be read ({error.strerror}); name a PEM file that can") from None
    if b"ENCRYPTED" in text:
        raise _problem(name, f"{path} holds a key that is locked by a password; give one that is not")


def _what_is_wrong(settings: Tls, reason: str | None) -> ConfigError:
    if reason in _MISMATCHES:
        return _problem("key", f"{settings.key_path} is not the key of the certificate; give the one it was made with")
    if reason in _WEAK:
        return _problem("cert", f"{settings.cert} is too weak to be trusted ({reason}); have it made anew")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(settings.cert)
    except (ssl.SSLError, OSError):
        return _problem("cert", f"{settings.cert} holds no certificate; give a PEM file, with its chain")
    return _problem("key", f"{settings.key_path} holds no private key; give its PEM file")


def _problem(name: str, what: str) -> ConfigError:
    return ConfigError([f"listen.tls.{name}: {what}"])


def _locked() -> str:
    """Answer where OpenSSL would ask at the terminal."""
    return ""
