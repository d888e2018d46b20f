"""What a running sidecar needs of its process. Without one, as within a test or the demo, nothing surrounds it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sidecar.host.inherited import Inherited
from sidecar.host.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.config import Log, Settings


def _no_logs(_: Log) -> None:
    """Leave the logs as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The process's side of a sidecar."""

    read: Callable[[], Settings] | None = None
    """Reads the configuration again; raises ConfigError. None: there is no file to read."""
    set_up_logging: Callable[[Log], None] = _no_logs
    hurry: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a stop that is under way has to end at once."""
    supervisor: Supervisor = field(default_factory=Supervisor)
    inherited: Inherited = field(default_factory=Inherited)
