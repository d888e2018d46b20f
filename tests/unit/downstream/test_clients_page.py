"""docs/CLIENTS.md says what the sidecar answers, in its own words."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

from sidecar import errors
from sidecar.downstream import answers
from sidecar.downstream.answers import answer_for, json_answer
from sidecar.engine.cancellation import CancelOutcome
from sidecar.wire.answer_head import parse_head

PAGE: Final = (Path(__file__).parents[3] / "docs" / "CLIENTS.md").read_text(encoding="utf-8")
REFUSALS: Final = (
    errors.ForestalledError,
    errors.InProgressError,
    errors.RollbackPendingError,
    errors.ConversationGoneError,
    errors.JournalUnavailableError,
)


def test_the_example_is_the_answer() -> None:
    example = re.findall(r"^```http\n(HTTP/1\.1 409 .*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[0]
    head, _, body = example.partition("\n\n")
    answer = answer_for(errors.RollbackPendingError("x"))
    told = json_answer(answer.status, answer.body, added=answer.fields, close=False)
    said, _, words = told.partition(b"\r\n\r\n")
    fields = parse_head(said + b"\r\n\r\n").fields
    assert head.splitlines()[0] == said.split(b"\r\n")[0].decode()
    assert json.loads(body) == json.loads(words)
    for line in head.splitlines()[1:]:
        name, _, value = line.partition(": ")
        assert name == "X-Request-Id" or (name.encode(), value.encode()) in fields


def test_every_refusal_is_on_the_page() -> None:
    for error in REFUSALS:
        answer = answer_for(error("x"))
        assert re.search(rf"`{answer.status} ({answer.error}`|{{\"error\": \"{answer.error}\")", PAGE), answer.error


def test_every_answer_of_our_own_is_in_its_table() -> None:
    table = PAGE.partition("## What the sidecar answers itself")[2].partition("\n## ")[0]
    known = [*answers._ANSWERS.values(), answers._BAD_REQUEST]
    assert set(re.findall(r"`(\d{3} \w+)`", table)) == {f"{answer.status} {answer.error}" for answer in known}
    for row in re.findall(r"^\| `.*$", table, re.MULTILINE):
        waits = {answer.retry_after_s is not None for answer in known if f"{answer.status} {answer.error}" in row}
        assert ("Retry-After" in row) == any(waits), row


def test_every_outcome_of_a_cancel_is_on_the_page() -> None:
    said = {json.loads(body)["status"] for body in re.findall(r'`20[02] ({"status": [^}]*})`', PAGE)}
    assert said == {outcome.value for outcome in CancelOutcome} - {CancelOutcome.REMEMBERED.value}
