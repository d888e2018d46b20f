"""What a group of changes comes to: few statements, each run over many rows; pure.

Within one transaction only the last version of a turn is ever seen, so the earlier ones are not written. The outbox
differs: whether a step is owed *again* hangs on what became of it before, so the changes to one step keep their order.
They go in waves - the first change to each step, the second to each - because different steps do not touch each other.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from sidecar.engine.history import to_record
from sidecar.journal.queries import QUERIES, for_rows
from sidecar.journal.rows import history_values, lease_values, owed_values, tombstone_values, turn_values, update_values
from sidecar.turn.state import StepState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sidecar.engine.ports import Change
    from sidecar.journal.rows import Placed, Values
    from sidecar.turn.state import StepKind


ROWS_AT_ONCE: Final = 16
"""In one statement. A statement lets go of the interpreter's lock, and may have to wait to get it back."""


class Batch(NamedTuple):
    """A named query and the rows to run it over."""

    query: str
    rows: Sequence[Values | Placed]


_StepKey: TypeAlias = "tuple[str, StepKind]"
_Wave: TypeAlias = "dict[str, list[Values]]"


class Statement(NamedTuple):
    """SQL, and all the values to run it with."""

    sql: str
    values: Sequence[Values | Placed]


def statements(changes: Sequence[Change]) -> Iterator[Statement]:
    """Give what `batches` gives, as SQL: turns, which are most of it, many in one statement."""
    for query, rows in batches(changes):
        if query != "put_turn":
            yield Statement(QUERIES[query], rows)
            continue
        for start in range(0, len(rows), ROWS_AT_ONCE):
            some = rows[start : start + ROWS_AT_ONCE]
            yield Statement(for_rows(query, len(some)), [tuple(chain.from_iterable(some))])


def batches(changes: Sequence[Change]) -> Iterator[Batch]:
    """Give what has to be run, in this order, to commit the changes as if one after the other.

    A change that owes steps names its turn. Raises LookupError or ValueError for a change that cannot be written.
    """
    turns = {change.turn.id: change.turn for change in changes if change.turn is not None}
    yield from _batch("put_turn", map(turn_values, turns.values()))
    for wave in _waves(changes):
        for query, rows in wave.items():
            yield Batch(query, rows)
    yield from _batch("postpone_later_steps", _retried(changes))
    yield from _batch("put_history", _history(changes))
    yield from _batch("put_tombstone", (tombstone_values(change.tombstone) for change in changes if change.tombstone))


def _batch(query: str, rows: Iterable[Values | Placed]) -> Iterator[Batch]:
    listed = list(rows)
    if listed:
        yield Batch(query, listed)


def _waves(changes: Sequence[Change]) -> list[_Wave]:
    """Sort the changes to steps, by query: each wave has at most one for each step."""
    waves: list[_Wave] = []
    seen: defaultdict[_StepKey, int] = defaultdict(int)
    for change in changes:
        for key, query, row in _step_changes(change):
            if seen[key] == len(waves):
                waves.append({})
            waves[seen[key]].setdefault(query, []).append(row)
            seen[key] += 1
    return waves


def _step_changes(change: Change) -> Iterator[tuple[_StepKey, str, Values]]:
    if (update := change.update) is not None:
        yield (update.turn_id, update.kind), "update_step", update_values(update, change.at)
    if change.turn is not None:
        for kind in change.owed:
            values = owed_values(change.turn, kind, change.at, change.due_at(kind))
            yield (change.turn.id, kind), "owe_step", values
        if change.lease is not None:
            yield (change.turn.id, change.lease.kind), "lease_owed", lease_values(change.turn.id, change.lease)
    elif change.owed or change.lease:
        raise ValueError("a change owes steps and names no turn")


def _history(changes: Sequence[Change]) -> Iterator[Values]:
    for change in changes:
        turn_id = change.turn.id if change.turn else change.update.turn_id if change.update else ""
        for entry in to_record(change):
            yield history_values(turn_id, entry)


def _retried(changes: Sequence[Change]) -> Iterator[Values]:
    """Give the steps that wait for another attempt after all of the changes."""
    last = {(change.update.turn_id, change.update.kind): change for change in changes if change.update}
    for change in last.values():
        if change.update and change.update.state is StepState.PENDING:
            yield update_values(change.update, change.at)
