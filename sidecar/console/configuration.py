"""The settings in force, as JSON, with what may be a secret masked. Pure.

What the settings themselves do not show (`repr=False`: tokens, header values, bodies) is masked, and so are the values
of queries, in which keys are often sent.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Final

from sidecar.config import Section
from sidecar.console.models import StepOut

if TYPE_CHECKING:
    from pydantic import JsonValue

    from sidecar.config import Settings
    from sidecar.engine.ports import StepRow

MASK: Final = "***"
_QUERY_VALUE: Final = re.compile(r"(?<==)[^&{}]+")
_USER_INFO: Final = re.compile(r"^(\w+://)[^/@]*@")
_PATHS: Final = frozenset({"path", "url"})


def shown(settings: Section) -> dict[str, JsonValue]:
    """Give a table of settings."""
    table: dict[str, JsonValue] = {}
    for name, field in type(settings).model_fields.items():
        key, value = field.alias or name, _plain(getattr(settings, name))
        if not field.repr:
            value = _masked(value)
        elif isinstance(value, str) and (key in _PATHS or "://" in value):
            value = _without_query_values(_USER_INFO.sub(f"\\1{MASK}@", value))
        table[key] = value
    return table


def shown_step(settings: Settings, row: StepRow) -> StepOut:
    """Give a step, with the call that it is by the settings in force."""
    call = settings.admin.calls.get(row.kind)
    return StepOut.model_validate(
        {
            "id": row.id,
            "turn_id": row.turn_id,
            "kind": row.kind,
            "state": row.state,
            "attempts": row.attempts,
            "created_at": row.created_at,
            "due_at": row.due_at,
            "delivered_at": row.delivered_at,
            "error": row.error,
            "call": f"{call.method} {_without_query_values(call.path)}" if call else None,
            "to": settings.admin_url,
        }
    )


def _plain(value: object) -> JsonValue:  # noqa: PLR0911  (a case each)
    match value:
        case Section():
            return shown(value)
        case Enum():
            return str(value.value)
        case None | bool() | int() | float() | str():
            return value
        case frozenset() | set():
            return sorted((_plain(one) for one in value), key=str)
        case tuple() | list():
            return [_plain(one) for one in value]
        case dict():
            return {str(key): _plain(one) for key, one in value.items()}
        case _:
            return str(value)


def _masked(value: JsonValue) -> JsonValue:
    """Mask values, and keep their shape: an operator sees that a header is set, not what it holds."""
    match value:
        case dict():
            return {key: _masked(one) for key, one in value.items()}
        case list():
            return [_masked(one) for one in value]
        case "" | None:
            return value
        case _:
            return MASK


def _without_query_values(path: str) -> str:
    before, mark, query = path.partition("?")
    return before + mark + _QUERY_VALUE.sub(MASK, query)
