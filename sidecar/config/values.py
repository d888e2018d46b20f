"""The kinds of single values that a setting can have, each with the check that a value of it passes; pure.

A check gives the value to keep, or raises ValueError whose message says what is wrong and, after a semicolon, the mend.
What may hold a secret (tokens, header values, JSON, URLs) is never repeated in a message.
"""

from __future__ import annotations

import math
import re
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Network, ip_interface, ip_network
from itertools import pairwise
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, PlainValidator

from sidecar.capture.pointer import parse_pointer
from sidecar.capture.route import compile_path
from sidecar.capture.sources import REQUEST_PLACES, Source, SourceSyntaxError, parse_source
from sidecar.capture.template import TemplateSyntaxError, names_in
from sidecar.capture.terminal import parse_terminal
from sidecar.config.address import HOST_NAME, parse_address
from sidecar.config.explain import kind_of
from sidecar.config.preset import preset_names

SECONDS_MAX: Final = 315_360_000  # ten years: no clock or event loop is strained by it
COUNT_MAX: Final = 2**31 - 1
WORKERS_MAX: Final = 256
OFF: Final = "off"
BEGINS_WORDS: Final = ("absent", "always", "probe")
OWN_NAMES: Final = ("turn_id", "principal")
"""What a template may name besides captured values: the sidecar itself knows them for every turn."""

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VISIBLE: Final = re.compile(r"[!-~]+")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "QUERY"})


def number(value: object) -> object:
    """Let through what is no truth value."""
    if isinstance(value, bool):  # which pydantic would take for 0 or 1
        raise ValueError(f"must be a number, is {str(value).lower()}; write it without quotes")  # noqa: TRY004  (pydantic's)
    return value


def _half_close(value: object) -> object:
    if value != "cancel":
        raise ValueError('a client that has finished sending cannot be told from one that left; write "cancel"')
    return value


def _ascending(times: tuple[float, ...]) -> tuple[float, ...]:
    if any(later <= sooner for sooner, later in pairwise(times)):
        raise ValueError("is not ascending; write the seconds in order, each once")
    return times


def _pointer(text: str) -> str:
    try:
        parse_pointer(text)
    except ValueError as error:
        raise ValueError(f"is no JSON pointer (RFC 6901): {error}; write for example /items") from None
    return text


def _preset(text: str) -> str:
    names = preset_names()
    if text and text not in names:
        near = get_close_matches(text.lower(), names, n=1)
        mend = f"did you mean {near[0]}?" if near else "write one of these, or leave the line out"
        raise ValueError(f"{text!r} is none of the presets, which are {', '.join(names)}; {mend}")
    return text


def _listen_address(text: str) -> str:
    parse_address(text)
    return text


def _console_address(text: str) -> str:
    return text if text == OFF else _listen_address(text)


def _network(value: object) -> IPv4Network | IPv6Network:
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    if not isinstance(value, str):
        raise ValueError(f"must be a network in quotes, is {kind_of(value)}; write for example '10.0.0.0/8'")  # noqa: TRY004  (pydantic's)
    try:
        return ip_network(value)
    except ValueError:
        pass
    try:
        network = ip_interface(value).network
    except ValueError:
        raise ValueError(f"{value!r} is no network; write an address and a prefix length, as '10.0.0.0/8'") from None
    raise ValueError(f"{value!r} names an address within a network; write '{network}'")


def _method(text: str) -> str:
    if not _TOKEN.fullmatch(text):
        raise ValueError(f"{text!r} is no HTTP method (a token of RFC 9110); write for example 'POST'")
    if text not in _METHODS and text.upper() in _METHODS:
        raise ValueError(f"{text!r} is not in capitals, and methods tell case apart; write '{text.upper()}'")
    return text


def _call_path(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError("does not begin with '/'; write it as it follows the host, as '/admin/requests/{request_id}'")
    if "#" in text or not _VISIBLE.fullmatch(text):
        raise ValueError("has '#', spaces, control or non-ASCII characters; percent-encode them")
    names_in(text)
    return text


def _route_path(text: str) -> str:
    compile_path(text)
    return text


def _header_name(text: str) -> str:
    if not _TOKEN.fullmatch(text):
        raise ValueError(f"{text!r} is no header's name (a token of RFC 9110); write for example 'Authorization'")
    return text


def _header_value(text: str) -> str:
    if any(char != "\t" and not char.isprintable() for char in text):
        raise ValueError("has a line break or other control characters; remove them")
    if text != text.strip():
        raise ValueError("begins or ends with white space; remove it")
    return text


def _header_template(text: str) -> str:
    _check_braces(text)
    return _header_value(text)


def _check_braces(text: str) -> None:
    try:
        names_in(text)
    except TemplateSyntaxError:
        raise ValueError("has a brace that belongs to no {name}; write '{{' or '}}' for the brace itself") from None


def _json_template(value: object) -> object:
    match value:
        case str():
            _check_braces(value)
        case list():
            for item in value:
                _json_template(item)
        case dict():
            for item in value.values():
                _json_template(item)
        case float() if not math.isfinite(value):
            raise ValueError("holds inf or nan, which JSON has not; write a number, or text in quotes")
        case None | bool() | int() | float():
            pass
        case _:
            raise ValueError("holds a date or time, which JSON has not; write it as text, in quotes")
    return value


def _capture_name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("is no name that a template can use; write letters, digits and '_' only")
    if text in OWN_NAMES:
        raise ValueError(f"is the sidecar's own value, which templates can use as {{{text}}}; choose another name")
    return text


def _source(value: object) -> Source:
    if isinstance(value, Source):
        return value
    if not isinstance(value, str):
        raise ValueError(f"must be a source in quotes, is {kind_of(value)}; write for example 'request.json:/id'")  # noqa: TRY004  (pydantic's)
    return parse_source(value)


def _begins(value: object) -> object:
    if value in BEGINS_WORDS:
        return value
    try:
        source = _source(value)
    except SourceSyntaxError as error:
        if isinstance(value, str) and ":" in value:
            raise
        raise ValueError(f"{value!r} is none of {', '.join(BEGINS_WORDS)}; write one, or a request source") from error
    if source.place not in REQUEST_PLACES:
        raise ValueError(f"{source.place} is not known before the request is forwarded; use a source of the request")
    return source


def _terminal(text: str) -> str:
    parse_terminal(text)
    return text


def _host_name(text: str) -> str:
    if ":" in text or not HOST_NAME.fullmatch(text):
        raise ValueError(f"{text!r} is no host's name; write it without scheme and port, as 'console.example.com'")
    return text


def _token(text: str) -> str:
    if text and not _VISIBLE.fullmatch(text):
        raise ValueError("has spaces, control or non-ASCII characters; choose a token without them")
    return text


Seconds: TypeAlias = Annotated[float, Field(gt=0, le=SECONDS_MAX), BeforeValidator(number)]
SecondsOrNone: TypeAlias = Annotated[float, Field(ge=0, le=SECONDS_MAX), BeforeValidator(number)]
Count: TypeAlias = Annotated[int, Field(ge=1, le=COUNT_MAX), BeforeValidator(number)]
CountOrNone: TypeAlias = Annotated[int, Field(ge=0, le=COUNT_MAX), BeforeValidator(number)]
Ascending: TypeAlias = Annotated[tuple[Seconds, ...], AfterValidator(_ascending)]
HalfClose: TypeAlias = Annotated[Literal["cancel"], BeforeValidator(_half_close)]
Pointer: TypeAlias = Annotated[str, AfterValidator(_pointer)]
Status: TypeAlias = Annotated[int, Field(ge=100, le=599), BeforeValidator(number)]
Workers: TypeAlias = Annotated[int, Field(ge=1, le=WORKERS_MAX), BeforeValidator(number)]
ListenAddress: TypeAlias = Annotated[str, AfterValidator(_listen_address)]
ConsoleAddress: TypeAlias = Annotated[str, AfterValidator(_console_address)]
Network: TypeAlias = Annotated[IPv4Network | IPv6Network, PlainValidator(_network)]
Method: TypeAlias = Annotated[str, AfterValidator(_method)]
CallPath: TypeAlias = Annotated[str, AfterValidator(_call_path)]
RoutePath: TypeAlias = Annotated[str, AfterValidator(_route_path)]
HeaderName: TypeAlias = Annotated[str, AfterValidator(_header_name)]
HeaderValue: TypeAlias = Annotated[str, AfterValidator(_header_value)]
HeaderTemplate: TypeAlias = Annotated[str, AfterValidator(_header_template)]
JsonTemplate: TypeAlias = Annotated[JsonValue, BeforeValidator(_json_template)]
CaptureName: TypeAlias = Annotated[str, AfterValidator(_capture_name)]
Sources: TypeAlias = tuple[Annotated[Source, PlainValidator(_source)], ...]
Begins: TypeAlias = Annotated[Literal["absent", "always", "probe"] | Source, PlainValidator(_begins)]
Frame: TypeAlias = Annotated[str, AfterValidator(_terminal)]
HostName: TypeAlias = Annotated[str, AfterValidator(_host_name)]
Token: TypeAlias = Annotated[str, AfterValidator(_token), Field(repr=False)]
PresetName: TypeAlias = Annotated[str, AfterValidator(_preset)]
