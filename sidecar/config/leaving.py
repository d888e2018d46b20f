"""`[chat.on]`: what each cause of an early end means for a turn. It has a key for each cause that the journal knows."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from pydantic import BeforeValidator

from sidecar.config.explain import kind_of
from sidecar.config.section import Section
from sidecar.config.values import SecondsOrNone
from sidecar.turn.state import Cause, Policy

MAY_RETURN: Final = (Cause.RESET, Cause.CLOSED, Cause.VANISHED, Cause.STALLED)
"""The causes after which downstream may come back, so that waiting makes sense."""


class Reaction(Section):
    """A policy, and for how many seconds it is waited with, in case the answer ends by itself."""

    policy: Policy = Policy.CANCEL
    grace_s: SecondsOrNone = 0


def _reaction(value: object) -> object:
    match value:
        case str() if value in set(Policy):
            return {"policy": value}
        case str():
            raise ValueError(
                f"{value!r} is none of {', '.join(Policy)}; write one, or {{ policy = ..., grace_s = ... }}"
            )
        case dict() | Reaction():
            return value
        case _:
            raise ValueError(
                f"must be a policy or a table, is {kind_of(value)}; "
                f"write one of {', '.join(Policy)}, or {{ policy = ..., grace_s = ... }}"
            )


_OrWord: TypeAlias = Annotated[Reaction, BeforeValidator(_reaction)]


class Leaving(Section):
    """`[chat.on]`: either a policy's word, or a table with `policy` and `grace_s`, for each cause."""

    reset: _OrWord = Reaction()
    closed: _OrWord = Reaction()
    vanished: _OrWord = Reaction()
    stalled: _OrWord = Reaction()
    upload_cut: _OrWord = Reaction()
    requested: _OrWord = Reaction()
    operator: _OrWord = Reaction()
    upstream_failed: _OrWord = Reaction()
    restarted: _OrWord = Reaction()
    expired: _OrWord = Reaction()
    shutdown: _OrWord = Reaction()

    def reaction(self, cause: Cause) -> Reaction:
        """Say what a cause means."""
        reaction: Reaction = getattr(self, cause.value)
        return reaction

    @property
    def keeps(self) -> frozenset[Cause]:
        """The causes for which the generation is cancelled and all else stays."""
        return frozenset(cause for cause in Cause if self.reaction(cause).policy is Policy.KEEP)
