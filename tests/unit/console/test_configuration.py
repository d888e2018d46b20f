"""What may be a secret is masked, wherever it stands; what is none is shown as it is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sidecar.config import load_table
from sidecar.console.configuration import MASK, shown, shown_step
from sidecar.engine.ports import StepRow
from sidecar.turn.state import StepKind

if TYPE_CHECKING:
    from sidecar.config import Settings

SECRET = "s3cret"


def settings(**tables: object) -> Settings:
    return load_table({"upstream": {"url": "http://127.0.0.1:9000"}, **tables}, {})


def row(kind: StepKind) -> StepRow:
    return StepRow(
        id=7, turn_id="t", kind=kind, state="dead", attempts=20, due_at=2.0, created_at=1.0, error="answered 503"
    )


def test_header_values_bodies_tokens_and_queries_are_masked() -> None:
    call = {"method": "POST", "path": f"/x?key={SECRET}&id={{request_id}}", "headers": {"X-Key": SECRET}}
    table = shown(
        settings(
            admin={"headers": {"Authorization": SECRET}, "cancel": {**call, "json": {"a": [SECRET, {"b": SECRET}]}}},
            console={"token": SECRET},
        )
    )
    assert SECRET not in json.dumps(table)
    admin = table["admin"]
    assert isinstance(admin, dict)
    cancel = admin["cancel"]
    assert isinstance(cancel, dict)
    assert cancel["path"] == f"/x?key={MASK}&id={{request_id}}", "a name is no secret"
    assert cancel["headers"] == {"X-Key": MASK}


def test_what_is_not_set_is_seen_not_to_be() -> None:
    table = shown(settings())
    assert table["console"] == {
        "address": "127.0.0.1:9901",
        "token": "",
        "hosts": [],
        "outbox_age_max_s": 3600,
    }


def test_every_setting_is_shown_as_json() -> None:
    text = json.dumps(shown(settings(guard=[{"path": "/c/{conversation_id}"}])))
    assert '"request.header:X-Request-Id"' in text
    assert '"guard": [{"path": "/c/{conversation_id}"' in text


def test_a_step_names_its_call_and_whom_it_goes_to() -> None:
    step = shown_step(settings(admin={"url": "http://127.0.0.1:7"}), row(StepKind.ROLLBACK))
    assert (step.call, step.to) == ("DELETE /admin/conversations/{conversation_id}", "http://127.0.0.1:7")
    assert shown_step(settings(), row(StepKind.CONFIRM)).call is None, "not configured any more"
