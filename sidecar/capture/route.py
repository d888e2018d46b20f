"""Path templates such as `/v1/{app}/chat`: a `{name}` stands for one whole segment that is not empty.

A path is split at its slashes as it was sent and each segment is decoded after that (RFC 3986, 2.4), so that an encoded
slash stays within its segment. Nothing is normalised: what the upstream would have to tidy up first is another path.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from sidecar.capture.template import TemplateSyntaxError, names_in

_NAME: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, slots=True)
class PathPattern:
    """A compiled template: for each segment either its literal text, decoded, or None where a name stands."""

    text: str
    names: tuple[str, ...]
    _literals: tuple[str | None, ...]

    def match(self, path: str) -> dict[str, str] | None:
        """Give what the names stand for, decoded; None where the path (without its query) is another one.

        A value whose bytes are no UTF-8 holds surrogates; no source answers with it.
        """
        segments = path.split("/")
        if len(segments) != len(self._literals):
            return None
        values = []
        for literal, segment in zip(self._literals, segments, strict=True):
            decoded = _decode(segment)
            if literal is None and decoded:
                values.append(decoded)
            elif literal != decoded:
                return None
        return dict(zip(self.names, values, strict=True))


def compile_path(text: str) -> PathPattern:
    """Compile a template. Raises TemplateSyntaxError."""
    if not text.startswith("/"):
        raise TemplateSyntaxError(f"the path {text!r} does not begin with '/'; write {'/' + text!r}")
    if "?" in text or "#" in text:
        raise TemplateSyntaxError(f"{text!r} is more than a path; leave out what stands from '?' or '#' on")
    names: list[str] = []
    literals = [_compile_segment(text, segment, names) for segment in text.split("/")]
    return PathPattern(text, tuple(names), tuple(literals))


def _compile_segment(text: str, segment: str, names: list[str]) -> str | None:
    """Give the segment's literal text; or None, and its name into `names`."""
    if not names_in(segment):
        return _decode(segment.replace("{{", "{").replace("}}", "}"))
    name = _NAME.fullmatch(segment)
    if name is None:
        raise TemplateSyntaxError(f"{segment!r} in {text!r} is a name and more; let a {{name}} be a segment of its own")
    if name[1] in names:
        raise TemplateSyntaxError(f"{{{name[1]}}} stands twice in {text!r}; give each segment a name of its own")
    names.append(name[1])
    return None


def _decode(segment: str) -> str:
    return unquote(segment, errors="surrogateescape")
