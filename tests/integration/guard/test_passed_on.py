"""What cannot be looked into is passed on unchanged, as it comes, and said once."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from tests.fakes.scene import scene
from tests.integration.chat.talk import CHUNKED, END, chunk, head
from tests.integration.guard.reading import CLOSE, GUARDS, HISTORY, JSON, LISTED, abandon, ask, listed, read

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.scene import Scene

LONG = b'{"items": [{"id": "c1"}], "x": "' + b"x" * 100_000 + b'"}'
ZIPPED = gzip.compress(LISTED, mtime=0)


def whys(running: Scene) -> list[str]:
    told = [line for line in running.logs if line["event"] == "guard_passed"]
    assert all((line["log_level"], line["route"]) == ("warning", HISTORY) for line in told)
    return [line["why"] for line in told]


def typed(content_type: str, body: bytes = LISTED) -> bytes:
    return head(f"Content-Type: {content_type}", CLOSE, f"Content-Length: {len(body)}") + body


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (listed(ZIPPED, "Content-Encoding: gzip"), "encoded"),
        (listed(LISTED, "Content-Encoding: identity", "Content-Encoding: br"), "encoded"),
        (typed("text/html"), "no JSON by its media type"),
        (typed("application/x-ndjson"), "no JSON by its media type"),
        (head(JSON, CLOSE, f"Content-Length: {len(LISTED)}", status="201 Created") + LISTED, "status 201"),
        (head(JSON, CLOSE, f"Content-Length: {len(LISTED)}", status="404 No") + LISTED, "status 404"),
        (head(CLOSE, status="304 Not Modified"), "status 304"),
        (listed(LONG), "longer than 100000 bytes"),
        (listed(b'{"items": {"c1": 1}}'), "no list where the pointer leads"),
        (listed(b'["c1"]'), "no list where the pointer leads"),
        (listed(LISTED[:-1]), "neither ',' nor '}' at 87"),
        (listed(b'{"items": [{"id": "c1"}]}x'), "something follows the JSON text at 25"),
        (listed(b""), "Expecting value: line 1 column 1 (char 0)"),
        (listed(b'{"items": ["\xff"]}'), "'utf-8' codec can't decode byte 0xff in position 12: invalid start byte"),
        (listed(b'{"items": ' + b"[" * 50_000), "nested too deeply"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_unchanged_and_said_once(running: Scene, answer: bytes, why: str) -> None:
    await abandon(running)
    got = await read(running, answer)
    head_came, _, body = answer.partition(b"\r\n\r\n")
    assert got.body == body
    came = [line for line in head_came.split(b"\r\n")[1:] if line != CLOSE.encode()]
    assert [b"%b: %b" % field for field in got.fields] == came
    assert whys(running) == [why]


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", "TEXT/JSON", "application/hal+json", "text/plain"],
)
async def test_what_may_be_json_is_looked_into(running: Scene, content_type: str) -> None:
    await abandon(running)
    assert b"c1" not in (await read(running, typed(content_type))).body
    assert whys(running) == []


async def test_a_list_without_a_media_type_is_looked_into(running: Scene) -> None:
    await abandon(running)
    answer = await read(running, head(CLOSE, "Content-Encoding: identity", f"Content-Length: {len(LISTED)}") + LISTED)
    assert b"c1" not in answer.body


async def test_what_is_known_to_be_too_long_is_not_held(running: Scene) -> None:
    peer, _ = await ask(running, HISTORY)
    await peer.send(head(JSON, "Content-Length: 100001"), LISTED)
    assert (await running.clients[-1].head()).status == 200
    assert await running.clients[-1].exactly(len(LISTED)) == LISTED


async def test_what_turns_out_too_long_goes_on_as_it_comes(running: Scene) -> None:
    await abandon(running)
    peer, _ = await ask(running, HISTORY)
    client = running.clients[-1]
    first, second = chunk(LONG[:90_000]), chunk(LONG[90_000:])
    await peer.send(head(JSON, CHUNKED, CLOSE), first)
    assert client.nothing_came()
    await peer.send(second)
    assert (await client.head()).get("Transfer-Encoding") == b"chunked"
    assert await client.exactly(len(first + second)) == first + second, "before the answer has ended"
    await peer.send(chunk(b" "), END)
    assert await client.exactly(6 + len(END)) == chunk(b" ") + END
    assert whys(running) == ["longer than 100000 bytes"]


async def test_what_turns_out_too_long_with_its_last_byte(running: Scene) -> None:
    await abandon(running)
    peer, _ = await ask(running, HISTORY)
    await peer.send(head(JSON) + LONG)
    peer.close()
    assert (await running.clients[-1].answer()).body == LONG
    assert whys(running) == ["longer than 100000 bytes"]


async def test_what_is_too_long_and_comes_at_once(tmp_path: Path) -> None:
    async with scene(tmp_path, guard=[{**GUARDS[1], "bytes_max": len(LISTED) - 1}]) as running:
        await abandon(running)
        answer = await read(running, head(JSON, CHUNKED, CLOSE) + chunk(LISTED) + END)
        assert answer.body == LISTED
        assert whys(running) == [f"longer than {len(LISTED) - 1} bytes"]


async def test_a_stream_is_not_held(running: Scene) -> None:
    peer, _ = await ask(running, HISTORY)
    client = running.clients[-1]
    await peer.send(head("Content-Type: text/event-stream", CHUNKED), chunk(b"data: 1\n\n"))
    await client.head()
    assert (await client.chunk())[1] == b"data: 1\n\n"
