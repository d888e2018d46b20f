"""Which requests are turns, which ask to cancel, which read what may be gone, and which are only relayed; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sidecar.capture.route import compile_path
from sidecar.capture.sources import Place, Source
from sidecar.turn.state import Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sidecar.capture.route import PathPattern
    from sidecar.config import Chat, Guard

NO_PLAN: Final = Plan()
_AUTHORITY: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/]*")  # with its scheme (RFC 3986, 3.1)


@dataclass(frozen=True, slots=True)
class ChatRoute:
    """A configured chat endpoint, ready to be matched."""

    chat: Chat
    pattern: PathPattern
    sources: Mapping[str, tuple[Source, ...]]
    begins: Source | None
    """The request source that says whether a turn begins a conversation, where the config names one."""
    plan: Plan
    """What can be owed for the route's turns."""

    @property
    def names_conversation_in_json(self) -> bool:
        """Say whether a request's body may name its conversation."""
        return any(source.place is Place.REQUEST_JSON for source in self.sources.get("conversation_id", ()))


@dataclass(frozen=True, slots=True)
class ChatMatch:
    """A request that is a turn."""

    route: ChatRoute
    path_values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CancelMatch:
    """A request to cancel."""

    chat: Chat


@dataclass(frozen=True, slots=True)
class GuardMatch:
    """A read that must not show what was cancelled."""

    guard: Guard
    path_values: Mapping[str, str]


class Routes:
    """The routes in force."""

    def __init__(
        self,
        chats: tuple[Chat, ...],
        guards: tuple[Guard, ...] = (),
        plan_of: Callable[[Chat], Plan] = lambda _: NO_PLAN,
    ) -> None:
        self._chats = [_route(chat, plan_of(chat)) for chat in chats]
        self._cancels = [(compile_path(chat.cancel_path), chat) for chat in chats]
        self._guards = [(compile_path(guard.path), guard) for guard in guards]

    def find(self, method: str, target: str) -> ChatMatch | CancelMatch | GuardMatch | None:
        """Give what the request is, by its method and request target (RFC 9112, 3.2); None: only relayed."""
        path = path_of(target)
        for route in self._chats:
            if method in route.chat.methods and (values := route.pattern.match(path)) is not None:
                return ChatMatch(route, values)
        if method == "POST":
            for pattern, chat in self._cancels:
                if pattern.match(path) is not None:
                    return CancelMatch(chat)
        for pattern, guard in self._guards:
            if method in guard.methods and (values := pattern.match(path)) is not None:
                return GuardMatch(guard, values)
        return None


def path_of(target: str) -> str:
    """Give a request target's path: without query, and without scheme and authority of the absolute form."""
    path = target.partition("?")[0]
    if path.startswith("/"):
        return path
    authority = _AUTHORITY.match(path)
    return path if authority is None else path[authority.end() :] or "/"


def query_of(target: str) -> str:
    """Give a request target's query, raw; empty where there is none."""
    return target.partition("?")[2]


def _route(chat: Chat, plan: Plan) -> ChatRoute:
    begins = chat.begins if isinstance(chat.begins, Source) else None
    return ChatRoute(chat, compile_path(chat.path), dict(chat.capture), begins, plan)
