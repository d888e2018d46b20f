"""`config.example.toml` is complete, and what stands in it is the default."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sidecar.config import Call, Guard, Reaction, Settings, Upstream, effective_toml, load, load_table
from sidecar.config.explain import keys_of
from sidecar.turn.state import Cause

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

EXAMPLE: Final = Path(__file__).parents[2] / "config.example.toml"
TEXT: Final = EXAMPLE.read_text()
CALLS: Final = ("cancel", "rollback", "confirm", "rollback_turn", "verify")
OFF_BY_DEFAULT: Final = re.compile(r"^#(?=[\w\[])", re.MULTILINE)


def with_all_switched_on() -> dict[str, Any]:
    table = tomllib.loads(OFF_BY_DEFAULT.sub("", TEXT))
    table["upstream"]["url"] = "https://backend.internal"  # what is said of TLS would be of no effect without
    return table


def keys_in(table: dict[str, Any], model: type[BaseModel], above: str = "") -> Iterator[str]:
    """Give the keys that a document has of a model and of those below it."""
    tables = keys_of(model)
    for key, value in table.items():
        yield f"{above}{key}"
        below = tables.get(key)
        for one in value if isinstance(value, list) else [value]:
            if below and isinstance(one, dict):
                yield from keys_in(one, below, f"{above}{key}.")


def keys_known(model: type[BaseModel], above: str = "") -> Iterator[str]:
    for key, below in keys_of(model).items():
        yield f"{above}{key}"
        if below and below not in {Call, Reaction}:
            yield from keys_known(below, f"{above}{key}.")


def test_it_loads_and_equals_the_defaults() -> None:
    assert load(EXAMPLE, {}) == Settings(upstream=Upstream(url="http://127.0.0.1:9000"))


def test_it_loads_with_everything_switched_on_too() -> None:
    settings = load_table(with_all_switched_on(), {})
    assert settings.admin.url
    assert settings.admin.confirm
    assert settings.admin.verify
    assert settings.admin.rollback_turn
    assert settings.guard


def test_what_it_shows_of_a_guard_is_the_default_too() -> None:
    (guard,) = load_table(with_all_switched_on(), {}).guard
    assert guard == Guard.model_validate({"path": guard.path, "list": guard.list_})


def test_all_of_it_can_be_shown_and_loaded_again() -> None:
    table = with_all_switched_on()
    shown = effective_toml(load_table(table, {}), table)
    assert shown.count('"***"') == 1, "the reason in the body of a call: it might be a secret"
    again = load_table(tomllib.loads(shown.replace("***", "the client left")), {})
    assert again == load_table(table, {})


def test_every_setting_is_in_it_and_nothing_else() -> None:
    found = set(keys_in(with_all_switched_on(), Settings))
    calls = {f"admin.{call}.{key}" for call in CALLS for key in keys_of(Call)}
    reactions = {f"chat.on.{cause}.{key}" for cause in Cause for key in keys_of(Reaction)}
    assert found - calls - reactions == set(keys_known(Settings))
    assert {f"admin.cancel.{key}" for key in keys_of(Call)} <= found
    assert {f"chat.on.closed.{key}" for key in keys_of(Reaction)} <= found


def test_every_setting_is_commented() -> None:
    """Each key has a comment above it, with no more than one other key of its kind between."""
    lines = TEXT.splitlines()
    bare = []
    for number, line in enumerate(lines):
        if re.match(r"#?[a-z_]+ = ", line):
            above = lines[max(0, number - 2) : number]
            if not any(one.startswith("# ") for one in above):
                bare.append(line)
    same_everywhere = re.compile(
        r"#?(method|path|headers|done|gone|conversation_id|streams_max|ca|server_name|cert|key) = "
    )
    assert [line for line in bare if not same_everywhere.match(line)] == []


def test_no_line_is_too_long_for_a_screen() -> None:
    assert [line for line in TEXT.splitlines() if len(line) > 120] == []
