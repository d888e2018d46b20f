"""Plays a schedule by its seed; a broken law raises, with the seed and all that happened."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import structlog

from sidecar.errors import JournalUnavailableError
from tests.simulation.clock import StandstillError, VirtualLoop
from tests.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

BUGS: Final = frozenset({"dispatcher_failed", "attempt_lost", "service_failed"})
"""What the services log when something fails that no peer can make fail; unless the journal was unavailable."""


class ScheduleError(AssertionError):
    """A schedule in which a law was broken."""


def play(seed: int) -> World:
    """Play a schedule. Raises ScheduleError."""
    loop = VirtualLoop()
    world = World(loop, seed)
    loop.set_exception_handler(lambda _, context: _note_uncaught(world, context))
    with _logs_watched(world):
        try:
            loop.run_until_complete(world.play())
        except StandstillError as error:
            world.laws.must("9: nothing comes to an end", False, str(error))
        finally:
            loop.close()
    if world.laws.broken:
        raise ScheduleError(f"{world.laws.broken[0]}\n{report(world, seed)}")
    return world


def report(world: World, seed: int) -> str:
    """Write down what happened: the virtual time, how wrong the wall clock is, what."""
    lines = [
        f"{at:9.4f} {f'({wrong_by:+.1f})' if wrong_by else '':8} {' '.join(str(word) for word in what)}"
        for at, wrong_by, what in world.trace
    ]
    return "\n".join([f"to see it again: SIMULATION_SEED={seed} pytest tests/simulation", str(world.site), *lines])


def _note_uncaught(world: World, context: dict[str, Any]) -> None:
    error = context.get("exception")
    if not isinstance(error, JournalUnavailableError):
        world.laws.must("of the code: nobody catches this", False, f"{context.get('message')} {error!r}")


@contextmanager
def _logs_watched(world: World) -> Iterator[None]:
    """Take note of what is logged as a bug of ours; say nothing."""

    def watch(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        error = str(event.get("error"))
        if event.get("event") in BUGS and not error.startswith("JournalUnavailableError"):
            world.laws.must("of the code: a service fails", False, error)
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(
        processors=[watch],
        wrapper_class=structlog.make_filtering_bound_logger("error"),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)
