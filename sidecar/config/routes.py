"""`[[chat]]` and `[[guard]]` against each other: a request is for one of them at most, and a guard guards something.

Pure; problems as in `meaning`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from sidecar.capture.route import compile_path
from sidecar.capture.template import names_in
from sidecar.config.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.config.problems import Loc
    from sidecar.config.settings import Guard, Settings

CANCEL_METHODS: Final = frozenset({"POST"})
GUARDED_NAME: Final = "conversation_id"


@dataclass(frozen=True, slots=True)
class _Route:
    """Requests that are somebody's. `kind` says whose."""

    kind: str
    section: str
    index: int
    path: str
    methods: frozenset[str]
    key: str = "path"

    @property
    def at(self) -> Loc:
        return (self.section, self.index, self.key)

    @property
    def relied(self) -> tuple[Loc, ...]:
        return (self.at, (self.section, self.index, "methods"))

    def shared(self, other: _Route) -> str:
        """Name the requests that are for both, as `GET, POST /path`; empty where none is."""
        both = self.methods & other.methods if _shape(self.path) == _shape(other.path) else frozenset[str]()
        return f"{', '.join(sorted(both))} {self.path}" if both else ""


def check_routes(settings: Settings) -> Iterator[Problem]:
    """Give every problem between the file's routes."""
    chats = [_Route("chat", "chat", n, chat.path, chat.methods) for n, chat in enumerate(settings.chat)]
    cancels = [
        _Route("cancel", "chat", n, chat.cancel_path, CANCEL_METHODS, "cancel_path")
        for n, chat in enumerate(settings.chat)
    ]
    guards = [_Route("guard", "guard", n, guard.path, guard.methods) for n, guard in enumerate(settings.guard)]
    for like in (chats, guards):
        yield from _check_told_apart(like)
    for cancel in cancels:
        yield from _check_free(cancel, chats, "let requests to cancel have a path of their own")
    for guard, route in zip(settings.guard, guards, strict=True):
        yield from _check_guards_something(guard, route)
        yield from _check_free(route, [*chats, *cancels], "guard reads of conversations, by another path or method")


def _check_told_apart(routes: list[_Route]) -> Iterator[Problem]:
    for one, other in combinations(routes, 2):
        if shared := one.shared(other):
            what, mend = f"{one.section}[{one.index}] already has {shared}", "merge the two, or give one another path "
            yield Problem(other.at, what, f"{mend}or method", relies_on=(*one.relied, *other.relied))


def _check_free(route: _Route, others: list[_Route], mend: str) -> Iterator[Problem]:
    for other in others:
        if shared := other.shared(route):
            what = f"{shared} is the {other.kind} endpoint of {other.section}[{other.index}]"
            yield Problem(route.at, what, mend, relies_on=(*route.relied, *other.relied))


def _check_guards_something(guard: Guard, route: _Route) -> Iterator[Problem]:
    if guard.list_ is None and GUARDED_NAME not in compile_path(guard.path).names:
        what = f"{guard.path!r} has no {{{GUARDED_NAME}}}, and no list is named: nothing tells what to guard"
        mend = (
            f'write {{{GUARDED_NAME}}} for the segment that names it, or list = "/POINTER" for the list in the answer'
        )
        yield Problem(route.at, what, mend, relies_on=(route.at, (route.section, route.index, "list")))


def _shape(path: str) -> tuple[str | None, ...]:
    """Give what two paths have in common that match the same requests: names are of no account."""
    return tuple(None if names_in(segment) else unquote(segment) for segment in path.split("/"))
