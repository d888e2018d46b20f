"""What a reload changes, what has to wait for a start, and who is told by the newest settings."""

from __future__ import annotations

import pytest

from sidecar.config import InForce, Settings, changed_keys, held_back, load_table, waiting_for_start
from sidecar.config.changes import AT_START
from sidecar.config.explain import keys_of
from sidecar.turn.state import StepKind


def settings(**tables: object) -> Settings:
    return load_table({"upstream": {"url": "http://127.0.0.1:9000"}, **tables}, {})


BASE = settings()


@pytest.mark.parametrize(
    ("tables", "keys"),
    [
        ({}, []),
        ({"listen": {"head_timeout_s": 3}, "log": {"level": "debug"}}, ["listen.head_timeout_s", "log.level"]),
        ({"upstream": {"url": "http://h:1", "drain": {"bytes_max": 7}}}, ["upstream.url", "upstream.drain.bytes_max"]),
        ({"admin": {"cancel": False}}, ["admin.cancel"]),
        ({"admin": {"cancel": {"method": "PUT", "path": "/x"}}}, ["admin.cancel.method", "admin.cancel.path"]),
        ({"chat": [{"path": "/v2"}]}, ["chat"]),
    ],
)
def test_what_differs_is_named(tables: dict[str, object], keys: list[str]) -> None:
    assert changed_keys(BASE, settings(**tables)) == keys
    assert changed_keys(settings(**tables), BASE) == keys


def test_what_only_a_start_can_change_is_named_and_held_back() -> None:
    wanted = settings(
        listen={"address": "127.0.0.1:1", "head_timeout_s": 3}, journal={"path": "b.db"}, console={"address": "off"}
    )
    assert waiting_for_start(BASE, wanted) == ["listen.address", "journal.path", "console.address"]
    held = held_back(BASE, wanted)
    assert changed_keys(BASE, held) == ["listen.head_timeout_s"]
    assert waiting_for_start(BASE, held) == []


def test_of_tls_only_whether_there_is_any_waits_for_a_start() -> None:
    plain, first, second = BASE, settings(listen={"tls": {"cert": "/1"}}), settings(listen={"tls": {"cert": "/2"}})
    assert waiting_for_start(plain, first) == waiting_for_start(first, plain) == ["listen.tls"]
    assert held_back(plain, first) == plain
    assert held_back(first, plain) == first
    assert waiting_for_start(first, second) == []
    assert changed_keys(first, held_back(first, second)) == ["listen.tls.cert"]


def test_every_setting_that_waits_for_a_start_is_one() -> None:
    for section, name in AT_START:
        table = keys_of(Settings)[section]
        assert table is not None
        assert name in keys_of(table)


def test_who_asks_by_route_is_told_by_the_newest() -> None:
    in_force = InForce(BASE)
    plan_of, sources_of = in_force.plan_of, in_force.sources_of
    assert StepKind.CANCEL in plan_of("/api/ai-coach/chat").needs
    in_force.use(settings(chat=[{"path": "/v2"}], admin={"cancel": False}))
    assert StepKind.CANCEL not in plan_of("/v2").needs
    assert StepKind.ROLLBACK in plan_of("/api/ai-coach/chat").needs  # no longer configured, and still owed
    assert "request_id" in sources_of("/v2")
    assert sources_of("/api/ai-coach/chat") == {}
