"""A request's body: held until somebody takes it, and waited for by nobody once the request is over."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.downstream.request import RequestBody
from sidecar.errors import DownstreamGoneError
from sidecar.wire.framing import LengthBody


def body_of(length: int) -> RequestBody:
    return RequestBody(LengthBody(length), lambda: None, held_max=65_536)


async def test_a_whole_body_is_gathered_and_stays_held() -> None:
    body = body_of(5)
    gathering = asyncio.ensure_future(body.gather(100))
    await asyncio.sleep(0)
    assert body.feed(b"he") == b""
    assert body.feed(b"llo!") == b"!"
    assert await gathering == (b"hello", True)
    assert body.take() == b"hello"


async def test_whoever_waits_for_a_body_is_told_when_the_request_is_over() -> None:
    body = body_of(5)
    gathering = asyncio.ensure_future(body.gather(100))
    await asyncio.sleep(0)
    body.abandon()
    with pytest.raises(DownstreamGoneError):
        await gathering


def test_an_abandoned_body_for_which_nobody_waits_goes_on() -> None:
    body = body_of(5)
    body.abandon()
    body.feed(b"hello")
    assert body.complete
    assert body.error is None
