"""The tests' certificates, and clients that trust them."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).with_name("certificates")
FIRST: Final = _FOLDER / "first.pem"
SECOND: Final = _FOLDER / "second.pem"
LOCKED_KEY: Final = _FOLDER / "locked-key.pem"


def trusting(*, alpn: tuple[str, ...] = (), maximum: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """Give a client's context that trusts both certificates."""
    context = ssl.create_default_context(cafile=FIRST)
    context.load_verify_locations(SECOND)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if maximum is not None:
        context.maximum_version = maximum
    return context


def certificate_of(file: Path) -> bytes:
    """Give a file's certificate in binary."""
    text = file.read_text()
    end = "-----END CERTIFICATE-----"
    return ssl.PEM_cert_to_DER_cert(text[text.index("-----BEGIN CERTIFICATE") : text.index(end)] + end)
