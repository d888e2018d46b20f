"""A throw-away certificate authority: whoever trusts its file trusts the servers and clients that it vouches for."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from pathlib import Path


class Authority:
    """Writes certificates, in PEM, into a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._root = trustme.CA(key_type=trustme.KeyType.ECDSA)
        self.file = str(folder / "ca.pem")
        self._root.cert_pem.write_to_path(self.file)

    def replace(self, other: Authority) -> None:
        """Have whoever trusts the other's file trust this one from the next look on."""
        self._root.cert_pem.write_to_path(other.file)

    def server(self, *names: str, asks: bool = False) -> ssl.SSLContext:
        """Make the context of a server of these names; one that asks wants a certificate of this authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._root.issue_cert(*names, key_type=trustme.KeyType.ECDSA).configure_cert(context)
        if asks:
            self._root.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client(self, name: str = "sidecar.internal") -> tuple[str, str]:
        """Give the files of a client's certificate and of its key."""
        leaf = self._root.issue_cert(name, key_type=trustme.KeyType.ECDSA)
        certificate, key = self._folder / "client.pem", self._folder / "client.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        leaf.private_key_pem.write_to_path(str(key))
        return str(certificate), str(key)
