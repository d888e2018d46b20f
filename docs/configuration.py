"""Makes docs/CONFIGURATION.md: what each setting is for from config.example.toml, and what it takes from the schema.

    python docs/configuration.py           writes the page
    python docs/configuration.py --check   exits 1 where the page is not what the two say

The example is tested against the schema, so that its values are the defaults, and nothing is missing in it.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from sidecar import config
from sidecar.config import Call, Settings
from sidecar.config.changes import AT_START
from sidecar.config.explain import keys_of
from sidecar.config.values import COUNT_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

PAGE: Final = Path(__file__).with_name("CONFIGURATION.md")
EXAMPLE: Final = PAGE.parents[1] / "config.example.toml"

HEAD: Final = """\
# Configuration

<!-- Made by docs/configuration.py from config.example.toml and sidecar/config/settings.py; do not edit. -->

One TOML file. [config.example.toml](../config.example.toml) has every setting with its default, to start from; only
[`upstream.url`](#upstream.url) must be given. `sidecar check -c FILE` tells every problem at once, with its mend;
`sidecar check -c FILE --show` prints what takes effect, and where each value is from.

- `${NAME}` in any text is the environment variable of that name; `$${` is `${` itself.
- An unknown key is an error, and so is a value that the sidecar could not act on.
- A name that ends in `_s` is a number of seconds, which may have a fraction; `_bytes_max` is a number of bytes.
- The file is read again on SIGHUP ([Reloading](OPERATING.md#reloading)), but for what is marked *at a start*.
"""
KINDS: Final = {
    "Seconds": "seconds",
    "SecondsOrNone": "seconds",
    "Ascending": "list of seconds, ascending",
    "Count": "number",
    "CountOrNone": "number",
    "Status": "status",
    "OneWorker": "`1`",
    "HalfClose": '`"cancel"`',
    "ListenAddress": "address",
    "ConsoleAddress": 'address, or `"off"`',
    "UnixMode": "octal digits, in quotes",
    "UpstreamUrl": "URL without a path",
    "AdminUrl": "URL",
    "ServerName": "host name",
    "Network": "CIDR",
    "Method": "method",
    "CallPath": "path, a template",
    "RoutePath": "path, with `{names}`",
    "HeaderName": "header name",
    "HeaderValue": "text",
    "HeaderTemplate": "template",
    "JsonTemplate": "any value, its texts templates",
    "CaptureName": "name",
    "Sources": "list of sources",
    "Begins": "word, or a source of the request",
    "Frame": "line, or a source",
    "Pointer": "JSON pointer",
    "HostName": "host name",
    "Token": "text",
    "PresetName": "name of a preset",
    "FilePath": "path of a file",
    "JournalPath": "path of a file",
    "Reaction": "policy, or `{ policy = ..., grace_s = ... }`",
}
"""What a value is, by the name of its type; others are told by what they are in TOML."""
MODULES: Final = [import_module(f"sidecar.config.{module.name}") for module in iter_modules(config.__path__)]
TYPES: Final = {name: value for module in MODULES for name, value in vars(module).items() if name in KINDS}
PLAIN: Final = {bool: "`true` or `false`", int: "number", float: "number", str: "text"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A key of the example: its value as written, `off` where it is commented out, and the comment right above it."""

    key: str
    value: str
    off: bool
    text: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """A section of the example, or its head, whose header is empty. `text` is the comment above it."""

    header: str
    text: tuple[str, ...]
    entries: list[Entry] = field(default_factory=list)

    @property
    def off(self) -> bool:
        """Whether it is commented out as a whole."""
        return self.header.startswith("#")

    @property
    def path(self) -> tuple[str, ...]:
        """Its place in the file."""
        return tuple(re.findall(r"\w+", self.header))

    def name(self, entry: Entry) -> str:
        """Give the whole name of a key."""
        return ".".join((*self.path, entry.key))


class Known:
    """What can be linked to: every setting and every section."""

    def __init__(self, parts: list[Part]) -> None:
        self._anchors = {".".join(part.path): "".join(part.path) for part in parts}
        self._anchors |= {name: name for part in parts for name in (part.name(entry) for entry in part.entries)}

    def linked(self, text: str) -> str:
        """Link what is named in a text, and have a reference to the environment stand as it is."""
        text = re.sub(r"\[?\b[a-z]+\.[a-z_]+\b\]?", self._link, text)
        return re.sub(r"(\{ [^\"]*)?\"[^\"]*\$[^\"]*\"( \})?", r"`\g<0>`", text)

    def _link(self, found: re.Match[str]) -> str:
        anchor = self._anchors.get(found[0].strip("[]"))
        return f"[`{found[0]}`](#{anchor})" if anchor else found[0]


def page() -> str:
    """Give the whole page."""
    parts = read_example(EXAMPLE.read_text(encoding="utf-8"))
    known = Known(parts)
    return "\n".join([HEAD, *(line for part in parts for line in (*_section(part, known), ""))])


def read_example(text: str) -> list[Part]:
    """Read the example's parts."""
    comment: list[str] = []
    parts = [Part("", ())]
    for line in text.splitlines():
        if re.match(r"#(?![\w\[])", line):
            comment.append(line[2:])
            continue
        if header := re.fullmatch(r"#?\[+[\w.]+\]+", line):
            parts.append(Part(header[0], tuple(comment)))
        elif key := re.fullmatch(r"(#?)(\w+) = (.*)", line):
            parts[-1].entries.append(Entry(key[2], _value(key, text), bool(key[1]), tuple(comment)))
        comment = []
    return parts


def _value(key: re.Match[str], text: str) -> str:
    """Give a key's value as written; one of several lines as one."""
    if key[3] != "[":
        return key[3]
    inner = text.partition(f"\n{key[0]}\n")[2].partition("\n]")[0]
    return f"[{' '.join(inner.split()).rstrip(',')}]"


def _section(part: Part, known: Known) -> Iterator[str]:
    if part.header:
        yield from (f"## `{part.header.lstrip('#')}`", "")
    if part.off:
        at_start = " Whether there is one is settled *at a start*." if part.path in AT_START else ""
        yield from (f"Off by default.{at_start}", "")
    if part.text:
        yield from (*_prose(part.text, known), "")
    model = _model(part.path)
    if part.off and model is Call:
        yield from ("Its keys are those of [`[admin.cancel]`](#admincancel); for example:", "", "```toml")
        yield from (part.header.lstrip("#"), *(f"{entry.key} = {entry.value}" for entry in part.entries), "```")
        return
    yield from ("| setting | takes | default | |", "|---|---|---|---|")
    yield from (_row(part, entry, model, known) for entry in part.entries)


def _prose(lines: tuple[str, ...], known: Known) -> Iterator[str]:
    """Write comment lines as text; indented ones stay as they stand."""
    within = False
    for line in lines:
        if line.startswith("  ") != within:
            within = not within
            yield from ("", "```text") if within else ("```", "")
        yield line[2:] if within else known.linked(line)
    if within:
        yield "```"


def _row(part: Part, entry: Entry, model: type[BaseModel] | None, known: Known) -> str:
    name = part.name(entry)
    text = known.linked(" ".join(entry.text)) or _with_neighbour(part, entry)
    if (*part.path, entry.key) in AT_START:
        text += " *At a start.*"
    cells = [f'<a id="{name}"></a>`{entry.key}`', _takes(part, entry, model), _default(part, entry, model), text]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _with_neighbour(part: Part, entry: Entry) -> str:
    """Point to the key above whose comment is for this one, too."""
    above = part.entries[: part.entries.index(entry)]
    told = next((other for other in reversed(above) if other.text), None)
    return f"With `{told.key}`." if told else ""


def _default(part: Part, entry: Entry, model: type[BaseModel] | None) -> str:
    info = _field(model, entry.key) if model else None
    if info is not None and info.is_required() and model is not Call:
        return "**required**"
    none = info is not None and info.default is None
    return "none" if none or (entry.off and not part.off) else f"`{entry.value}`"


def _takes(part: Part, entry: Entry, model: type[BaseModel] | None) -> str:
    if model is None:
        return "list of sources"
    hints = get_type_hints(model, include_extras=True)
    name = next(name for name, info in model.model_fields.items() if (info.alias or name) == entry.key)
    if part.path[-2:] == ("chat", "on"):
        return KINDS["Reaction"]
    words = _kind(hints[name])
    return f"{words}, in bytes" if entry.key.endswith("bytes_max") else words


def _kind(hint: Any) -> str:  # noqa: ANN401, PLR0911  (a type; a case each)
    if alias := next((name for name, kind in TYPES.items() if kind == hint), None):
        return KINDS[alias] + _bounds(hint)
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _kind(inner[0]) + _bounds(hint)
    if origin in {Union, UnionType}:
        return _kind(next(one for one in inner if one is not type(None)))
    if origin is Literal:
        return " or ".join(f'`"{word}"`' for word in inner)
    if origin in {tuple, frozenset}:
        return f"list of {_plural(_kind(inner[0]))}"
    if origin is dict:
        return f"table: {_kind(inner[0])} = {_kind(inner[1])}"
    return PLAIN.get(hint, "text")


def _bounds(hint: Any) -> str:  # noqa: ANN401  (a type)
    """Say what a number's bounds are, but for the largest that all share."""
    numbers = [one for info in getattr(hint, "__metadata__", ()) for one in getattr(info, "metadata", ())]
    low = [f"above {one.gt}" for one in numbers if hasattr(one, "gt")]
    low += [f"from {one.ge}" for one in numbers if hasattr(one, "ge")]
    high = [f"to {one.le}" for one in numbers if hasattr(one, "le") and one.le < COUNT_MAX // 10]
    words = " ".join([*low, *high])
    return f", {words}" if words else ""


def _plural(words: str) -> str:
    noun, comma, rest = words.partition(",")
    return f"{noun if noun in {'seconds', 'text'} else f'{noun}es' if noun.endswith('s') else f'{noun}s'}{comma}{rest}"


def _field(model: type[BaseModel], key: str) -> Any:  # noqa: ANN401  (pydantic's FieldInfo)
    return next(info for name, info in model.model_fields.items() if (info.alias or name) == key)


def _model(path: tuple[str, ...]) -> type[BaseModel] | None:
    """Give a section's model; None for `[chat.capture]`, whose keys are anyone's."""
    model: type[BaseModel] | None = Settings
    for key in path:
        model = keys_of(model)[key] if model else None
    return model


def main(arguments: list[str]) -> int:
    """Write the page, or check it; give the exit status."""
    made = page()
    if arguments != ["--check"]:
        PAGE.write_text(made, encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == made:
        return 0
    sys.stderr.write(f"{PAGE.name} is not what example and schema say; run: python docs/{Path(__file__).name}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
