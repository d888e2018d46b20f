"""The two literal tables that the machine follows.

`ON_EVENT` is total: every state has a cell for every event. A cell is the state to go to, `IGNORED` (the fact changes
nothing any more), or `ILLEGAL` (our own bug, which raises; nothing that a peer does can reach it). `ON_OUTLOOK` is
followed right after: it moves a turn on when nothing is owed for it any more. The diagram in docs/ is made from both.
"""

from __future__ import annotations

from enum import Enum, auto
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sidecar.turn.events import (
    AnswerBegan,
    AnswerEnded,
    CancelRequested,
    Delivered,
    DownstreamGone,
    EndedUnseen,
    Event,
    Expired,
    Forwarded,
    IdsLearned,
    Refused,
    Restarted,
    StepDelivered,
    StepDied,
    StepDropped,
    StepRevived,
    UpstreamLost,
)
from sidecar.turn.state import State

if TYPE_CHECKING:
    from collections.abc import Mapping


class Cell(Enum):
    """A cell of the table that names no state."""

    IGNORED = auto()
    ILLEGAL = auto()


class Outlook(Enum):
    """What is still to come for a turn that is on its way to being settled."""

    OWING = auto()
    """A step is pending, or an id may still be told."""
    DONE = auto()
    """Every step was delivered."""
    STUCK = auto()
    """A step is dead: the operator may have it tried again."""
    DROPPED = auto()
    """A step was dropped by the operator."""
    UNTOLD = auto()
    """A step needs an id that nobody will tell any more."""


_IGN, _ILL = Cell.IGNORED, Cell.ILLEGAL
_OPEN, _ANSWERED, _CANCELLING, _CONFIRMING = State.OPEN, State.ANSWERED, State.CANCELLING, State.CONFIRMING

# fmt: off
_COLUMNS: Final[tuple[State, ...]] = (
                      State.OPEN,   State.ANSWERED, State.CANCELLING, State.CONFIRMING, State.COMPLETED, State.CANCELLED, State.REFUSED, State.UNRESOLVED)  # noqa: E501
_ROWS: Final[Mapping[type[Event], tuple[State | Cell, ...]]] = MappingProxyType({
    Forwarded:       (_OPEN,        _ILL,           _ILL,             _ILL,             _ILL,            _ILL,            _ILL,          _ILL),          # noqa: E501
    AnswerBegan:     (_OPEN,        _ILL,           _CANCELLING,      _IGN,             _IGN,            _IGN,            _IGN,          _IGN),          # noqa: E501
    IdsLearned:      (_OPEN,        _ANSWERED,      _CANCELLING,      _IGN,             _IGN,            _IGN,            _IGN,          _IGN),          # noqa: E501
    Refused:         (State.REFUSED, _ILL,          _CANCELLING,      _ILL,             _ILL,            _IGN,            _ILL,          _IGN),          # noqa: E501
    AnswerEnded:     (_ANSWERED,    _IGN,           _CANCELLING,      _IGN,             _IGN,            _IGN,            _IGN,          _IGN),          # noqa: E501
    EndedUnseen:     (_CONFIRMING,  _CONFIRMING,    _IGN,             _IGN,             _IGN,            _IGN,            _IGN,          _IGN),          # noqa: E501
    Delivered:       (_ILL,         _CONFIRMING,    _IGN,             _IGN,             _IGN,            _IGN,            _IGN,          _IGN),          # noqa: E501
    DownstreamGone:  (_CANCELLING,  _CANCELLING,    _IGN,             _IGN,             _IGN,            _IGN,            _IGN,          _IGN),          # noqa: E501
    CancelRequested: (_CANCELLING,  _CANCELLING,    _IGN,             _CANCELLING,      _CANCELLING,     _IGN,            _IGN,          _IGN),          # noqa: E501
    UpstreamLost:    (_CANCELLING,  _IGN,           _CANCELLING,      _IGN,             _IGN,            _IGN,            _IGN,          _IGN),          # noqa: E501
    Expired:         (_CANCELLING,  _CONFIRMING,    _IGN,             _IGN,             _IGN,            _IGN,            _IGN,          _IGN),          # noqa: E501
    Restarted:       (_CANCELLING,  _CONFIRMING,    _CANCELLING,      _CONFIRMING,      _ILL,            _ILL,            _ILL,          _ILL),          # noqa: E501
    StepDelivered:   (_ILL,         _ILL,           _CANCELLING,      _CONFIRMING,      _IGN,            _IGN,            _ILL,          _CANCELLING),   # noqa: E501
    StepDied:        (_ILL,         _ILL,           _CANCELLING,      _CONFIRMING,      _IGN,            _IGN,            _ILL,          _CANCELLING),   # noqa: E501
    StepDropped:     (_ILL,         _ILL,           _CANCELLING,      _CONFIRMING,      _IGN,            _IGN,            _ILL,          _CANCELLING),   # noqa: E501
    StepRevived:     (_ILL,         _ILL,           _CANCELLING,      _CONFIRMING,      _IGN,            _IGN,            _ILL,          _CANCELLING),   # noqa: E501
})
# fmt: on

ON_EVENT: Final[Mapping[State, Mapping[type[Event], State | Cell]]] = MappingProxyType(
    {
        state: MappingProxyType({event: cells[column] for event, cells in _ROWS.items()})
        for column, state in enumerate(_COLUMNS)
    }
)

ON_OUTLOOK: Final[Mapping[State, Mapping[Outlook, State]]] = MappingProxyType(
    {
        State.CANCELLING: MappingProxyType(
            {
                Outlook.OWING: State.CANCELLING,
                Outlook.DONE: State.CANCELLED,
                Outlook.STUCK: State.UNRESOLVED,
                Outlook.DROPPED: State.UNRESOLVED,
                Outlook.UNTOLD: State.UNRESOLVED,
            }
        ),
        State.CONFIRMING: MappingProxyType(
            {
                Outlook.OWING: State.CONFIRMING,
                Outlook.DONE: State.COMPLETED,
                Outlook.STUCK: State.CONFIRMING,
                Outlook.DROPPED: State.COMPLETED,
                Outlook.UNTOLD: State.COMPLETED,
            }
        ),
    }
)
