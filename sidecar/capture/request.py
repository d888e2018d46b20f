"""What a request tells: captured values, found before it goes upstream. The body is parsed at most once, if at all."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from sidecar.capture.fields import field_text
from sidecar.capture.pointer import read_json, resolve
from sidecar.capture.sources import REQUEST_PLACES, Place, Source

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.capture.fields import Fields

_TRUE: Final = frozenset({"true", "1", "yes"})


@dataclass(frozen=True)
class RequestView:
    """What can be looked at of a request.

    `fields` are its header fields in order; `path_values` what the route's `{names}` stand for, decoded; `query` is raw
    and without its '?'. `body` is None where it is not inspected, being too large or of another media type.
    """

    fields: Fields
    path_values: Mapping[str, str]
    query: str
    body: bytes | None

    @property
    def legible(self) -> bool:
        """Say whether the body was seen for what it is: empty, or JSON.

        Where it was not, that no JSON source answered does not mean that the request names no conversation.
        """
        return self.body == b"" or self._document[0]

    @cached_property
    def _document(self) -> tuple[bool, object]:
        """Whether the body is JSON, and what it says."""
        if not self.body:
            return False, None
        try:
            return True, read_json(self.body)
        except ValueError:
            return False, None

    @cached_property
    def _query_values(self) -> dict[str, str]:
        """The first value of each parameter; one that is no UTF-8 holds surrogates, which no id may."""
        pairs = parse_qsl(self.query, keep_blank_values=True, errors="surrogateescape")
        return dict(reversed(pairs))

    def find(self, source: Source) -> str | None:
        """Give what a source finds here; None where it does not answer, or looks elsewhere than into requests."""
        match source.place:
            case Place.REQUEST_HEADER:
                raw = field_text(self.fields, source.name)
            case Place.REQUEST_JSON:
                raw = resolve(self._document[1], source.tokens)
            case Place.REQUEST_PATH:
                raw = self.path_values.get(source.name)
            case Place.REQUEST_QUERY:
                raw = self._query_values.get(source.name)
            case _:
                raw = None
        return source.refine(raw)


def capture_request(sources: Mapping[str, tuple[Source, ...]], view: RequestView) -> dict[str, str]:
    """Give a value for each name of which a source answers: the first in its list that does."""
    captured = {}
    for name, listed in sources.items():
        for source in listed:
            if source.place in REQUEST_PLACES and (answer := view.find(source)) is not None:
                captured[name] = answer
                break
    return captured


def answers_true(source: Source, view: RequestView) -> bool:
    """Say whether a request source answers true: JSON's true, or the text true, 1 or yes in any case."""
    value = view.find(source)
    return value is not None and value.lower() in _TRUE
