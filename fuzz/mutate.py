"""Changes inputs at random: bytes, runs, numbers, and pieces of other inputs or of a dictionary; from a seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

BYTES_MAX: Final = 4096
CHANGES_MAX: Final = 6
WORDS: Final = (
    *(b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\0", b" ", b"\t", b":", b": ", b",", b";", b"=", b"?", b"#", b"/", b"//"),
    *(b".", b"..", b"%2e", b"%2F", b"%zz", b"\\", b'"', b"'", b"{", b"}", b"[", b"]", b"{{", b"}}", b"\x7f", b"\xff"),
    *(b"\xc3\xa9", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xe2\x80\xa8", b"\\u0000", b"\\ud800", b"\\u0022", b"~1", b"~"),
    *(b"0", b"-1", b"1e999", b"NaN", b"null", b"true", b"9" * 20, b"fffffffffffffffff", b"+1", b"0x1", b"1_0"),
    *(b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"GET / ", b"POST ", b"CONNECT ", b"OPTIONS *", b"http://x", b"200 OK"),
    *(b"Host: x\r\n", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"Transfer-Encoding: gzip\r\n", b"Connection: close\r\n", b"Connection: upgrade\r\n", b"Upgrade: h2c\r\n"),
    *(
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 101 S\r\n",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"1;x=y\r\n",
        b" folded",
    ),
    *(b"data: ", b"data: [DONE]\n\n", b"\n\n", b"event: x\n", b"END\n", b'{"temp_conversation_id": "temp_1"}\n'),
    *(b'{"final_conversation_id": "c"}\n', b'{"done": true}', b'"id": 1', b'{"conversationId": "c"}', b'"requestId"'),
    *(b"request.json:/", b"stream.json:/a", b"cancel.json:/", b"request.header:X", b" ~ ^(.*)$", b"${TOKEN}", b"${"),
    *(b"[chat.capture]\n", b"[[chat]]\n", b"[upstream]\n", b'url = "${URL}"\n', b'path = "/{id}"\n', b"= [1]\n"),
    *(b"Fri, 31 Dec 1999 23:59:59 GMT", b"\x1f\x8b\x08", b"\x78\x9c", b'"items": [{"id": "1"}, 2]', b"conversation_id"),
)


def mutate(data: bytes, others: Sequence[bytes], chance: Random) -> bytes:
    """Give a changed input."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, CHANGES_MAX)):
        _change(changed, others, chance)
    return bytes(changed[:BYTES_MAX])


def _change(data: bytearray, others: Sequence[bytes], chance: Random) -> None:
    at = chance.randint(0, len(data))
    until = min(len(data), at + chance.choice((1, 1, 2, 4, 16, 64)))
    match chance.randrange(8):
        case 0 if at < len(data):
            data[at] = chance.randrange(256)
        case 1 if at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        case 2:
            del data[at:until]
        case 3:
            data[at:at] = data[at:until] * chance.choice((1, 2, 30))
        case 4:
            other = chance.choice(others) if others else b""
            start = chance.randint(0, len(other))
            data[at:until] = other[start : start + chance.choice((4, 32, 256))]
        case 5:
            data[at:at] = chance.randbytes(chance.choice((1, 2, 8)))
        case _:
            data[at : at if chance.randrange(2) else until] = chance.choice(WORDS)
