"""What an answer tells before its stream, and what the admin API's answer to a cancel call tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.capture.fields import field_text
from sidecar.capture.pointer import read_json, resolve
from sidecar.capture.sources import Place, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from sidecar.capture.fields import Fields


def capture_fields(sources: Mapping[str, tuple[Source, ...]], fields: Fields, known: Collection[str]) -> dict[str, str]:
    """Give what the answer's header fields tell for names that are not yet known."""

    def find(source: Source) -> str | None:
        return source.refine(field_text(fields, source.name))

    return _first_answers(sources, Place.RESPONSE_HEADER, known, find)


def capture_cancel_answer(
    sources: Mapping[str, tuple[Source, ...]], body: bytes, known: Collection[str]
) -> dict[str, str]:
    """Give what a cancel call's answer tells for names that are not yet known; nothing where it is not JSON."""
    try:
        document = read_json(body)
    except ValueError:
        return {}

    def find(source: Source) -> str | None:
        return source.refine(resolve(document, source.tokens))

    return _first_answers(sources, Place.CANCEL_JSON, known, find)


def _first_answers(
    sources: Mapping[str, tuple[Source, ...]],
    place: Place,
    known: Collection[str],
    find: Callable[[Source], str | None],
) -> dict[str, str]:
    captured = {}
    for name, listed in sources.items():
        answers = (find(source) for source in listed if source.place is place)
        if name not in known and (answer := next((value for value in answers if value is not None), None)) is not None:
            captured[name] = answer
    return captured
