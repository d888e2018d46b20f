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
        self._keyed = hmac.new(key, digestmod=hashlib.sha256)
        self.nobody: Final = _name_of(self._keyed.copy())
        """The principal of requests without any identity header."""

    def of(self, fields: Sequence[Field], identity: Iterable[str]) -> str:
        """Give the principal; requests without any identity header share one."""
        digest = self._keyed.copy()
        for name in identity:
            lower = name.lower().encode()
            for value in field_values(fields, lower):
                for part in (lower, value):
                    digest.update(len(part).to_bytes(4, "big") + part)
        return _name_of(digest)


def _name_of(digest: hmac.HMAC) -> str:
    return digest.digest()[:DIGEST_BYTES].hex()
