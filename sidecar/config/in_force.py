"""The settings in force. A reload replaces them; whoever asks by a route's name is told by the newest."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.capture.sources import Source
    from sidecar.config.settings import Settings
    from sidecar.turn.state import Plan

_NO_SOURCES: Final[Mapping[str, tuple[Source, ...]]] = MappingProxyType({})


class InForce:
    """The settings, and what they say of a route."""

    def __init__(self, settings: Settings) -> None:
        self.use(settings)

    def use(self, settings: Settings) -> None:
        """Put other settings in force."""
        self.settings = settings
        self._plans = {chat.route: settings.plan(chat) for chat in settings.chat}
        self._fallback = settings.plan(None)
        self._sources = {chat.route: chat.capture for chat in settings.chat}

    def plan_of(self, route: str) -> Plan:
        """Say what can be owed for a route's turns; also for one that is no longer configured."""
        return self._plans.get(route, self._fallback)

    def sources_of(self, route: str) -> Mapping[str, tuple[Source, ...]]:
        """Give a route's capture sources; none for one that is no longer configured."""
        return self._sources.get(route, _NO_SOURCES)
