"""Whose turn it is: a keyed hash of the configured identity headers, so that no credential is ever stored or logged."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final

from sidecar.wire.fields import field_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sidecar.wire.fields import Field

DIGEST_BYTES: Final = 16


class PrincipalHash:
    """Hashes identities with the journal's own key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def nobody(self, identity: Iterable[str]) -> str:
        """Give the principal of requests without any identity header."""
        return self.of((), identity)

    def of(self, fields: Sequence[Field], identity: Iterable[str]) -> str:
        """Give the principal; requests without any identity header share one."""
        digest = hmac.new(self._key, digestmod=hashlib.sha256)
        for name in identity:
            for value in field_values(fields, name.lower().encode()):
                for part in (name.lower().encode(), value):
                    digest.update(len(part).to_bytes(4, "big") + part)
        return digest.digest()[:DIGEST_BYTES].hex()
