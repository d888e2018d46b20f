"""Makes docs/state-diagram.md from the tables in sidecar/turn/table.py.

python docs/state_diagram.py           writes the page
python docs/state_diagram.py --check   exits 1 where the page is not what the tables say
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sidecar.turn.state import SETTLED, State
from sidecar.turn.table import ON_EVENT, ON_OUTLOOK, Cell, Outlook

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sidecar.turn.events import Event

PAGE: Final = Path(__file__).with_name("state-diagram.md")
MARKS: Final = {Cell.IGNORED: "·", Cell.ILLEGAL: "✗"}

HEAD: Final = """\
# The states of a turn

<!-- Made by docs/state_diagram.py from sidecar/turn/table.py; do not edit. -->

A turn goes where an *event* sends it. *Italic* arrows are followed right after, by what is then still to come (its
outlook). Events that leave a turn where it is stand in the table below. Thick-framed states are settled.
"""

TABLE_HEAD: Final = f"""\
## Every event in every state

`{MARKS[Cell.IGNORED]}`: the event changes nothing any more. `{MARKS[Cell.ILLEGAL]}`: it cannot happen; a bug of ours.
`=`: it is taken in, and the turn stays in its state.
"""

OUTLOOK_HEAD: Final = """\
## And then, by what is still to come
"""


def page() -> str:
    """Give the whole page."""
    return "\n".join([HEAD, *_diagram(), "", TABLE_HEAD, *_event_table(), "", OUTLOOK_HEAD, *_outlook_table(), ""])


def _diagram() -> Iterator[str]:
    yield from ("```mermaid", "stateDiagram-v2", "    direction TB")
    yield "    classDef settled stroke-width:4px"
    yield f"    [*] --> {State.OPEN}"
    for (source, target), labels in _arrows().items():
        yield f"    {source} --> {target}: {'<br/>'.join(labels)}"
    yield f"    class {','.join(_in_order(SETTLED))} settled"
    yield "```"


def _arrows() -> Mapping[tuple[State, State], list[str]]:
    """Merge what leads from one state to another into one arrow."""
    arrows: defaultdict[tuple[State, State], list[str]] = defaultdict(list)
    for source in State:
        for event, target in ON_EVENT[source].items():
            if isinstance(target, State) and target is not source:
                arrows[source, target].append(event.__name__)
        for outlook, target in ON_OUTLOOK.get(source, {}).items():
            if target is not source:
                arrows[source, target].append(f"<i>{outlook.name.lower()}</i>")
    return arrows


def _event_table() -> Iterator[str]:
    yield from _head("event", State)
    for event in ON_EVENT[State.OPEN]:
        yield _row(event.__name__, (_cell(source, event) for source in State))


def _cell(source: State, event: type[Event]) -> str:
    target = ON_EVENT[source][event]
    if isinstance(target, Cell):
        return MARKS[target]
    return "=" if target is source else target


def _outlook_table() -> Iterator[str]:
    yield from _head("outlook", ON_OUTLOOK)
    for outlook in Outlook:
        targets = ((source, ON_OUTLOOK[source][outlook]) for source in ON_OUTLOOK)
        yield _row(outlook.name.lower(), ("=" if target is source else target for source, target in targets))


def _head(corner: str, columns: Iterable[str]) -> tuple[str, str]:
    names = list(columns)
    return _row(corner, names), _row("---", ["---"] * len(names))


def _row(first: str, cells: Iterable[str]) -> str:
    return f"| {' | '.join([first, *cells])} |"


def _in_order(states: frozenset[State]) -> list[State]:
    return [state for state in State if state in states]


def main(arguments: list[str]) -> int:
    """Write the page, or check it; give the exit status."""
    made = page()
    if arguments != ["--check"]:
        PAGE.write_text(made, encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == made:
        return 0
    sys.stderr.write(f"{PAGE.name} is not what the tables say; run: python docs/{Path(__file__).name}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
