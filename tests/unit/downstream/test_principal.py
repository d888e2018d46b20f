"""Principals: the same for the same identity, another for any other, and nothing of the identity in them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from sidecar.downstream.principal import DIGEST_BYTES, PrincipalHash

if TYPE_CHECKING:
    from sidecar.wire.fields import Field

KEY = bytes(range(32))
PRINCIPALS = PrincipalHash(KEY)
IDENTITY = ("Authorization", "X-Tenant")
VALUE = st.binary(max_size=6)
IDENTITIES = st.lists(st.tuples(st.sampled_from([b"authorization", b"x-tenant"]), VALUE), max_size=4)


def by_name(fields: list[Field]) -> list[list[bytes]]:
    return [[value for name, value in fields if name == header.lower().encode()] for header in IDENTITY]


@given(IDENTITIES, IDENTITIES)
def test_principals_are_the_same_exactly_where_the_identity_is(one: list[Field], other: list[Field]) -> None:
    """Also where the same bytes are only split otherwise over names and values."""
    same = PRINCIPALS.of(one, IDENTITY) == PRINCIPALS.of(other, IDENTITY)
    assert same == (by_name(one) == by_name(other))


@given(IDENTITIES, st.lists(st.tuples(st.sampled_from([b"cookie", b"x-other"]), VALUE), max_size=3))
def test_other_headers_and_the_case_of_names_do_not_matter(fields: list[Field], others: list[Field]) -> None:
    mixed = [*others, *((name.title(), value) for name, value in fields)]
    assert PRINCIPALS.of(mixed, IDENTITY) == PRINCIPALS.of(fields, IDENTITY)
    assert PRINCIPALS.of(mixed, [name.upper() for name in IDENTITY]) == PRINCIPALS.of(fields, IDENTITY)


def test_splits_that_look_alike_when_joined() -> None:
    spellings: list[list[Field]] = [
        [],
        [(b"authorization", b"")],
        [(b"authorization", b""), (b"authorization", b"")],
        [(b"x-tenant", b"")],
        [(b"authorization", b"ab")],
        [(b"authorization", b"a"), (b"authorization", b"b")],
        [(b"authorization", b"b"), (b"authorization", b"a")],
        [(b"authorization", b"a"), (b"x-tenant", b"b")],
        [(b"authorization", b"b"), (b"x-tenant", b"a")],
        [(b"authorization", b"a, b")],
        [(b"authorization", b"ax-tenantb")],
        [(b"authorization", b"aauthorizationb")],
        [(b"authorization", b"a\x00\x00\x00\x08x-tenant\x00\x00\x00\x01b")],
    ]
    assert len({PRINCIPALS.of(fields, IDENTITY) for fields in spellings}) == len(spellings)


def test_the_order_of_different_headers_does_not_matter() -> None:
    fields = [(b"Authorization", b"a"), (b"X-Tenant", b"b")]
    assert PRINCIPALS.of(fields, IDENTITY) == PRINCIPALS.of(fields[::-1], IDENTITY)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_another_key_makes_other_principals(one: bytes, other: bytes) -> None:
    fields = [(b"Authorization", b"Bearer x")]
    same = PrincipalHash(one).of(fields, IDENTITY) == PrincipalHash(other).of(fields, IDENTITY)
    assert same == (one.rstrip(b"\0") == other.rstrip(b"\0"))  # HMAC fills a short key up with zeros (RFC 2104)


def test_a_principal_tells_nothing() -> None:
    principal = PRINCIPALS.of([(b"Authorization", b"Bearer secret")], IDENTITY)
    assert re.fullmatch(rf"[0-9a-f]{{{2 * DIGEST_BYTES}}}", principal)


def test_those_without_identity_are_one() -> None:
    assert PRINCIPALS.of([(b"Cookie", b"a")], IDENTITY) == PRINCIPALS.of([], ()) == PRINCIPALS.of([], IDENTITY)
