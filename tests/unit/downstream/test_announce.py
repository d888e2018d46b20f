"""Frames that announce ids: on a line of their own, or as an event of their own, wherever the body is cut."""

from __future__ import annotations

import itertools
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.downstream.announce import Announcement, announcement_for

LINES = (b"text/plain", b"application/x-ndjson", b"application/ndjson", b"application/jsonl", b"application/json-lines")
LINE_END = re.compile(rb"\r\n|\n|\r")
BODY = st.lists(st.sampled_from([b"\n", b"\r\n", b"\r", b"data: x", b"{}", b"x", b": ping"]), max_size=8).map(b"".join)
ID = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


def noted(body: bytes, cuts: list[int], *, events: bool) -> Announcement:
    announcement = Announcement(events=events)
    places = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    for start, stop in itertools.pairwise(places):
        announcement.note(body[start:stop])
        announcement.note(b"")
    return announcement


def events_of(stream: bytes) -> list[bytes]:
    """Read the data of the events in a stream (HTML, 9.2.6); what is not ended by an empty line is no event."""
    events, data = [], b""
    for line in LINE_END.split(stream)[:-1]:
        if line.startswith(b"data:"):
            data += line[5:].removeprefix(b" ") + b"\n"
        elif not line and data:
            events.append(data[:-1])
            data = b""
    return events


@given(BODY, st.lists(st.integers(0, 99), max_size=4), ID)
def test_the_last_frame_is_a_line_of_its_own(body: bytes, cuts: list[int], conversation_id: str) -> None:
    frame = noted(body, cuts, events=False).last(conversation_id)
    lines = (body + frame).split(b"\n")
    assert lines[-1] == b""
    assert json.loads(lines[-2]) == {"final_conversation_id": conversation_id}
    assert b"\n".join(lines[:-2]).rstrip(b"\n") == body.rstrip(b"\n")
    assert not frame.startswith(b"\n") or not body.endswith(b"\n")  # no line is added that need not be


@given(BODY, st.lists(st.integers(0, 99), max_size=4), ID)
def test_the_last_frame_is_an_event_of_its_own(body: bytes, cuts: list[int], conversation_id: str) -> None:
    frame = noted(body, cuts, events=True).last(conversation_id)
    *before, last = events_of(body + frame)
    assert json.loads(last) == {"final_conversation_id": conversation_id}
    assert before == events_of(body + b"\n\n")  # an event that was not ended is ended, not joined


@given(BODY, ID, st.booleans())
def test_the_first_frame_stands_before_everything(body: bytes, temp_id: str, events: bool) -> None:
    frame = Announcement(events=events).first(temp_id)
    if events:
        first, *rest = events_of(frame + body)
        assert rest == events_of(body)
    else:
        first, _, after = (frame + body).partition(b"\n")
        assert after == body
    assert json.loads(first) == {"temp_conversation_id": temp_id}


@pytest.mark.parametrize("events", [True, False])
def test_an_empty_answer_holds_just_the_two_frames(*, events: bool) -> None:
    announcement = Announcement(events=events)
    stream = announcement.first("temp_1") + announcement.last("c1")
    frames = events_of(stream) if events else stream.splitlines()
    assert list(map(json.loads, frames)) == [{"temp_conversation_id": "temp_1"}, {"final_conversation_id": "c1"}]
    assert b"\n\n\n" not in stream


@pytest.mark.parametrize("media_type", LINES)
@pytest.mark.parametrize("form", ["%s", "%s; charset=utf-8", "  %s ;x", "%s;"])
def test_formats_of_lines(media_type: bytes, form: str) -> None:
    announcement = announcement_for((form % media_type.decode()).upper().encode(), None)
    assert announcement is not None
    assert not announcement.events


@pytest.mark.parametrize("content_type", [b"text/event-stream", b"Text/Event-Stream;charset=utf-8"])
def test_an_event_stream(content_type: bytes) -> None:
    announcement = announcement_for(content_type, b" Identity ")
    assert announcement is not None
    assert announcement.events


@pytest.mark.parametrize(
    "content_type", [None, b"", b"application/json", b"text/html", b"text/plainly", b"image/png", b"; text/plain"]
)
def test_other_formats_have_no_room(content_type: bytes | None) -> None:
    assert announcement_for(content_type, None) is None


@pytest.mark.parametrize("encoding", [b"gzip", b"br", b"GZIP", b"identity, gzip"])
def test_what_is_encoded_has_no_room(encoding: bytes) -> None:
    assert announcement_for(b"text/plain", encoding) is None
    assert announcement_for(b"text/event-stream", encoding) is None
