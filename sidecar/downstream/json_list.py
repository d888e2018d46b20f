"""Cuts entries out of a list in a JSON text, and touches no other byte of it; pure.

    {"items": [ {"id": 1}, {"id": 2}, {"id": 3} ], "next": null}
               ^start  end  with 2 gone, `, {"id": 2}` goes: an entry, one comma, and the space that belongs to them

The text is read once, by Python's own scanner, only to learn where entries lie: nothing is ever written anew. It is
read as leniently as everything else that peers send (see `capture.pointer`): what some client can read must be seen.
"""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from sidecar.capture.pointer import is_index, resolve
from sidecar.capture.sources import usable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

_BOM: Final = "\ufeff"
_SPACE: Final = re.compile(r"[ \t\n\r]*")  # RFC 8259, 2
_DECODER: Final = json.JSONDecoder(parse_int=str, parse_float=str, strict=False)


@dataclass(frozen=True, slots=True)
class Entry:
    """An element of the list: where its value lies in the text, and its id, where it has one."""

    start: int
    end: int
    id: str | None


class JsonList:
    """A JSON text, and the entries of the list in it."""

    def __init__(self, text: str, lists: Sequence[Sequence[Entry]]) -> None:
        self._text = text
        self._lists = lists

    @classmethod
    def read(cls, body: bytes, list_tokens: tuple[str, ...], id_tokens: tuple[str, ...]) -> JsonList:
        """Find the list that the one pointer names in the text, and the ids that the other names in its entries.

        Where a key comes twice, every list that the pointer can mean is looked at: clients differ in which they take.
        Raises ValueError where the text is no JSON in UTF-8, is nested too deeply, or has no such list.
        """
        text = body.decode("utf-8")
        scan = _Scan(text, id_tokens)
        try:
            end = scan.walk(_behind_space(text, len(_BOM) if text.startswith(_BOM) else 0), list_tokens)
        except RecursionError:
            raise ValueError("nested too deeply") from None
        if _behind_space(text, end) != len(text):
            raise ValueError(f"something follows the JSON text at {end}")
        if not scan.lists:
            raise ValueError("no list where the pointer leads")
        return cls(text, scan.lists)

    @property
    def ids(self) -> frozenset[str]:
        """The ids of all entries that have one."""
        return frozenset(entry.id for entries in self._lists for entry in entries if entry.id is not None)

    def without(self, ids: Collection[str]) -> bytes:
        """Give the text without the entries that have these ids."""
        kept, at = [], 0
        for start, end in (cut for entries in self._lists for cut in _cuts(entries, ids)):
            kept.append(self._text[at:start])
            at = end
        return "".join([*kept, self._text[at:]]).encode()


def _cuts(entries: Sequence[Entry], ids: Collection[str]) -> Iterator[tuple[int, int]]:
    """Give what to cut: with an entry goes the comma before it, or the one after it where none before it stays."""
    first_kept = next((place for place, entry in enumerate(entries) if entry.id not in ids), len(entries))
    if first_kept:
        yield entries[0].start, entries[first_kept].start if first_kept < len(entries) else entries[-1].end
    for place in range(first_kept + 1, len(entries)):
        if entries[place].id in ids:
            yield entries[place - 1].end, entries[place].end


class _Scan:
    """One reading of a text: walks along a pointer, and leaps over every value beside its way."""

    def __init__(self, text: str, id_tokens: tuple[str, ...]) -> None:
        self.lists: list[list[Entry]] = []
        self._text = text
        self._id_tokens = id_tokens

    def walk(self, at: int, tokens: tuple[str, ...]) -> int:
        """Go through the value at a place, taking down the lists to which the tokens lead; give its end."""
        match self._text[at : at + 1]:
            case "[" if not tokens:
                self.lists.append([])
                return self._walk_members(at, "]", partial(self._take_down, self.lists[-1]))
            case "[" if is_index(tokens[0]):
                return self._walk_members(at, "]", partial(self._element, itertools.count(), tokens))
            case "{" if tokens:
                return self._walk_members(at, "}", partial(self._member, tokens))
            case _:
                return self._leap(at)[1]

    def _walk_members(self, at: int, closing: str, read: Callable[[int], int]) -> int:
        """Go through a container; `read` is given each member's place, and gives its end."""
        at = self._next(at + 1)
        if self._text[at : at + 1] == closing:
            return at + 1
        while True:
            end = self._next(read(at))
            if self._text[end : end + 1] == closing:
                return end + 1
            if self._text[end : end + 1] != ",":
                raise ValueError(f"neither ',' nor {closing!r} at {end}")
            at = self._next(end + 1)

    def _take_down(self, entries: list[Entry], at: int) -> int:
        value, end = self._leap(at)
        entries.append(Entry(at, end, _id_of(value, self._id_tokens)))
        return end

    def _element(self, places: Iterator[int], tokens: tuple[str, ...], at: int) -> int:
        wanted = next(places) == int(tokens[0])
        return self.walk(at, tokens[1:]) if wanted else self._leap(at)[1]

    def _member(self, tokens: tuple[str, ...], at: int) -> int:
        key, colon = self._leap(at)
        colon = self._next(colon)
        if not isinstance(key, str) or self._text[at] != '"' or self._text[colon : colon + 1] != ":":
            raise ValueError(f"no key at {at}")
        at = self._next(colon + 1)
        return self.walk(at, tokens[1:]) if key == tokens[0] else self._leap(at)[1]

    def _leap(self, at: int) -> tuple[object, int]:
        """Give a value, and its end."""
        return cast("tuple[object, int]", _DECODER.raw_decode(self._text, at))

    def _next(self, at: int) -> int:
        return _behind_space(self._text, at)


def _behind_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at


def _id_of(value: object, tokens: tuple[str, ...]) -> str | None:
    found = resolve(value, tokens)
    return found if found is not None and usable(found) else None
