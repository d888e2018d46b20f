"""The targets: each takes any bytes, raises nothing, and asserts what has to hold of what was read."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from fuzz.targets import admin, capture, config, wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Target = Callable[[bytes], None]

TARGETS: Final[Mapping[str, Target]] = MappingProxyType(
    {
        "request": wire.request,
        "answer": wire.answer,
        "chunks": wire.chunks,
        "stream": capture.stream,
        "document": capture.document,
        "list": capture.listed,
        "inflate": capture.inflate,
        "source": capture.source,
        "route": capture.route,
        "cancel": capture.cancel,
        "admin": admin.admin,
        "retry-after": admin.retry_after,
        "config": config.config,
    }
)
