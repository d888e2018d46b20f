"""File descriptors: as many as the system allows, and a word where that is fewer than the settings speak of."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from sidecar.config import Settings

OWN: Final = 64
"""What the journal, the console and the logs take, with room to spare."""
PER_CONNECTION: Final = 2
"""A client's connection, and the upstream's for it."""

log = structlog.get_logger()


def raise_limit(settings: Settings) -> None:
    """Raise the soft limit to the hard one; warn where `listen.connections_max` could not be reached within it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    connections = settings.listen.connections_max
    needed = PER_CONNECTION * connections + OWN
    if hard != resource.RLIM_INFINITY and hard < needed:
        log.warning(
            "few_descriptors",
            limit=hard,
            needed=needed,
            mend=f"raise the limit (ulimit -n, LimitNOFILE=), or lower listen.connections_max from {connections}",
        )
