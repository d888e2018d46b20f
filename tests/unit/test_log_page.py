"""docs/OPERATING.md names every event that the sidecar logs, at its level, and every key of the canonical line."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "OPERATING.md").read_text(encoding="utf-8").partition("## The log\n")[2]
LEVELS: Final = {"exception": "error"}


def logged() -> Iterator[tuple[str, str]]:
    """Give each event that the source logs, with its level."""
    for file in sorted((ROOT / "sidecar").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and is_log(node.func.value):
                (event, *_) = node.args
                assert isinstance(event, ast.Constant)
                yield str(event.value), LEVELS.get(node.func.attr, node.func.attr)


def is_log(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "log"


def on_the_page() -> set[tuple[str, str]]:
    rows = re.findall(r"^\| (`.*?`) \| (error|warning|info|debug) \|", PAGE, re.MULTILINE)
    return {(event, level) for events, level in rows for event in re.findall(r"`(\w+)`", events)}


def test_every_event_is_on_the_page_at_its_level() -> None:
    assert on_the_page() | {("exchange", "info")} == set(logged())


def test_every_key_of_an_exchange_is_on_the_page() -> None:
    source = (ROOT / "sidecar" / "downstream" / "tally.py").read_text(encoding="utf-8")
    keys = re.findall(r"^        (\w+)=", source.partition('"exchange",')[2], re.MULTILINE)
    assert keys
    table = PAGE.partition("**`exchange`**")[2].partition("The others")[0]
    named = {key for keys in re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE) for key in re.findall(r"\w+", keys)}
    assert named == set(keys)
