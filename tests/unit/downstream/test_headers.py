"""Header fields on their way through: what concerns one connection goes, all else stays byte for byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.downstream import headers
from sidecar.downstream.headers import FORWARDED, HOP_BY_HOP, Peer
from sidecar.wire.fields import Field, Fields, field_values, head_bytes, with_fields, without

HOPS = (*HOP_BY_HOP, *FORWARDED)
NAME = st.one_of(
    st.sampled_from([*HOPS, b"X-One", b"x-one", b"Cookie", b"Host", b"Transfer-Encoding", b"Content-Length"]),
    st.text("abcXYZ-", min_size=1, max_size=6).map(str.encode),
)
VALUE = st.one_of(
    st.binary(max_size=12).map(lambda raw: bytes(b for b in raw if b not in b"\r\n\0").strip()),
    st.sampled_from([b"close", b"keep-alive, X-One", b"x-one", b"\xff\xfe", b"", b"upgrade,cookie"]),
)
FIELDS = st.lists(st.tuples(NAME, VALUE), max_size=10)

STRANGER = Peer(address="10.0.0.9", scheme="http", trusted=False)
PROXY = Peer(address="10.0.0.1", scheme="http", trusted=True)


def end_to_end(fields: list[Field]) -> list[Field]:
    return headers.end_to_end(Fields(fields))


def forwarded(fields: list[Field], peer: Peer) -> list[Field]:
    return headers.forwarded(Fields(fields), peer)


def is_subsequence(part: list[Field], whole: list[Field]) -> bool:
    rest = iter(whole)
    return all(field in rest for field in part)


# End to end


@given(FIELDS)
def test_what_stays_keeps_order_case_number_and_bytes(fields: list[Field]) -> None:
    kept = end_to_end(fields)
    assert is_subsequence(kept, fields)
    assert end_to_end(kept) == kept


@given(FIELDS)
def test_only_what_is_hop_by_hop_or_named_by_connection_goes(fields: list[Field]) -> None:
    named = {token.strip().lower() for value in field_values(fields, b"connection") for token in value.split(b",")}
    gone = {name.lower() for name, _ in fields} - {name.lower() for name, _ in end_to_end(fields)}
    assert gone <= HOP_BY_HOP | named
    assert not {name.lower() for name, _ in end_to_end(fields)} & HOP_BY_HOP


@pytest.mark.parametrize("hop", sorted(HOP_BY_HOP))
def test_the_well_known_ones_go_in_any_case(hop: bytes) -> None:
    assert end_to_end([(hop, b"x"), (b"A", b"1"), (hop.title(), b"y"), (hop.upper(), b"")]) == [(b"A", b"1")]


@pytest.mark.parametrize("value", [b"x-secret", b" X-SECRET ", b"close, x-secret", b"a,,x-Secret,b", b"x-secret,"])
def test_what_connection_names_goes(value: bytes) -> None:
    assert end_to_end([(b"X-Secret", b"1"), (b"cOnnection", value), (b"Date", b"2"), (b"x-secret", b"3")]) == [
        (b"Date", b"2")
    ]


def test_every_connection_field_counts() -> None:
    fields = [(b"Connection", b"x-one"), (b"X-One", b""), (b"connection", b"x-two"), (b"X-Two", b"")]
    assert end_to_end(fields) == []


@pytest.mark.parametrize(
    "name",
    [b"Host", b"Content-Length", b"Transfer-Encoding", b"X-Request-Id", b"X-Conversation-Id", b"X-Forwarded-For"],
)
def test_framing_routing_and_ids_cannot_be_named_away(name: bytes) -> None:
    """Or a client could have the upstream see a request of another length, host or id than we did."""
    assert end_to_end([(name, b"1"), (b"Connection", name)]) == [(name, b"1")]


# Forwarded


def values(fields: list[Field], name: bytes) -> list[bytes]:
    return field_values(fields, name)


def test_a_stranger_is_not_believed() -> None:
    claims = [(name.title(), b"evil") for name in sorted(FORWARDED)]
    assert forwarded([(b"Host", b"api"), *claims], STRANGER) == [
        (b"Host", b"api"),
        (b"X-Forwarded-For", b"10.0.0.9"),
        (b"X-Forwarded-Proto", b"http"),
        (b"X-Forwarded-Host", b"api"),
    ]


def test_a_forwarded_field_is_believed_of_a_trusted_proxy_alone() -> None:
    claim = (b"Forwarded", b"for=1.2.3.4;proto=https")
    assert claim in forwarded([(b"Host", b"api"), claim], PROXY)
    assert claim not in forwarded([(b"Host", b"api"), claim], STRANGER)


def test_a_trusted_proxy_is_believed_and_its_chain_extended() -> None:
    came = [
        (b"X-Forwarded-For", b"1.1.1.1, 2.2.2.2"),
        (b"x-forwarded-for", b"3.3.3.3"),
        (b"X-Forwarded-Proto", b"https"),
        (b"X-Forwarded-Proto", b"gopher"),
        (b"X-Forwarded-Host", b"public"),
        (b"Host", b"internal"),
    ]
    fields = forwarded(came, PROXY)
    assert values(fields, b"x-forwarded-for") == [b"1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.1"]
    assert values(fields, b"x-forwarded-proto") == [b"https"]
    assert values(fields, b"x-forwarded-host") == [b"public"]
    assert values(fields, b"host") == [b"internal"]


def test_a_trusted_proxy_that_says_nothing_is_the_first_of_the_chain() -> None:
    assert forwarded([(b"Host", b"api")], PROXY) == forwarded(
        [(b"Host", b"api")], Peer(address="10.0.0.1", scheme="http", trusted=False)
    )


def test_without_host_there_is_no_forwarded_host() -> None:
    assert values(forwarded([], STRANGER), b"x-forwarded-host") == []


@given(FIELDS, st.booleans())
def test_each_forwarded_field_stands_at_most_once_and_the_rest_is_untouched(fields: list[Field], trusted: bool) -> None:
    result = forwarded(fields, Peer(address="::1", scheme="https", trusted=trusted))
    for name in FORWARDED:
        assert len(values(result, name)) <= 1
    assert values(result, b"x-forwarded-for")[0].endswith(b"::1")
    assert without(result, *FORWARDED) == end_to_end(without(fields, *FORWARDED))


# Setting and leaving out


@given(FIELDS, NAME, VALUE)
def test_a_field_that_is_set_stands_once_in_its_old_place(fields: list[Field], name: bytes, value: bytes) -> None:
    result = with_fields(fields, [(name, value)])
    assert values(result, name.lower()) == [value]
    assert without(result, name.lower()) == without(fields, name.lower())
    came = [field.lower() for field, _ in fields]
    expected = came.index(name.lower()) if name.lower() in came else len(result) - 1
    assert [field.lower() for field, _ in result].index(name.lower()) == expected


def test_a_field_that_is_set_keeps_the_spelling_it_came_with() -> None:
    fields = [(b"x-REQUEST-id", b"1"), (b"A", b""), (b"X-Request-Id", b"2")]
    assert with_fields(fields, [(b"X-Request-Id", b"3"), (b"B", b"4")]) == [
        (b"x-REQUEST-id", b"3"),
        (b"A", b""),
        (b"B", b"4"),
    ]
    assert fields[0] == (b"x-REQUEST-id", b"1")  # what came is not changed


@given(FIELDS, st.lists(NAME, max_size=3))
def test_without_leaves_out_all_of_a_name_and_nothing_else(fields: list[Field], names: list[bytes]) -> None:
    lowered = [name.lower() for name in names]
    assert without(fields, *lowered) == [field for field in fields if field[0].lower() not in lowered]


@given(FIELDS)
def test_a_head_says_its_fields_as_they_are(fields: list[Field]) -> None:
    lines = head_bytes(b"HTTP/1.1 200 OK", fields).split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 200 OK"
    assert lines[-2:] == [b"", b""]
    assert [tuple(line.split(b": ", 1)) for line in lines[1:-2]] == fields
