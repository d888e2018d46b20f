"""Presets under the operator's file: what is laid over what, what is told of them, and that each of them is whole."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any, Final

import pytest

from sidecar.config import (
    Call,
    effective_toml,
    load_table,
    preset_about,
    preset_names,
    preset_table,
    preset_text,
)
from sidecar.config.preset import lay_over
from sidecar.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

UPSTREAM: Final = {"url": "http://127.0.0.1:9000"}
FACT: Final = re.compile(r"\bat [0-9a-f]{12}\b|https://")


class AnyKey(dict[str, str]):
    """An environment in which everything is set."""

    def __contains__(self, _: object) -> bool:
        return True

    def __missing__(self, name: str) -> str:
        return f"{name.lower()}-secret"


def problems_of(table: dict[str, Any], env: Mapping[str, str]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_table(table, env)
    return caught.value.problems


def shown(table: dict[str, Any], env: Mapping[str, str]) -> str:
    return effective_toml(load_table(table, env), table)


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_is_whole_and_names_its_sources(name: str) -> None:
    settings = load_table({"preset": name, "upstream": UPSTREAM}, AnyKey())
    assert settings.chat
    about, source = preset_about(name)
    assert len(about) <= 62, "a line of the list"
    assert source.startswith(("Source: ", "Sources: "))
    assert FACT.search(source), "a commit or an address"
    assert "***" not in shown({"preset": name, "upstream": UPSTREAM}, AnyKey()), "a preset holds no secret"
    assert [line for line in preset_text(name).splitlines() if len(line) > 120] == []


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_says_of_every_call_whether_there_is_one(name: str) -> None:
    assert {"cancel", "rollback", "confirm", "rollback_turn", "verify"} <= preset_table(name)["admin"].keys()


def test_an_unknown_preset_is_told_with_those_there_are() -> None:
    [problem] = problems_of({"preset": "dfy", "upstream": UPSTREAM}, {})
    assert problem == (
        f"preset: 'dfy' is none of the presets, which are {', '.join(preset_names())}; did you mean dify?"
    )
    [problem] = problems_of({"preset": 3, "upstream": UPSTREAM}, {})
    assert problem == "preset: must be text, is a number; write it in quotes"


def test_what_a_preset_lacks_is_told_as_its_own() -> None:
    [problem] = problems_of({"preset": "dify", "upstream": UPSTREAM}, {})
    assert problem.startswith(
        "admin.headers.Authorization: of the preset: the environment variable DIFY_API_KEY is not set; set it, "
    )
    assert problem.endswith("; or write the key yourself")
    own = {"headers": {"Authorization": "Bearer ${MINE}"}}
    [problem] = problems_of({"preset": "dify", "upstream": UPSTREAM, "admin": own}, {})
    assert problem.startswith("admin.headers.Authorization: the environment variable MINE is not set; ")


def test_tables_are_laid_over_key_by_key_and_all_else_is_replaced() -> None:
    table = {
        "preset": "dify",
        "upstream": UPSTREAM,
        "admin": {"headers": {"Authorization": "Bearer mine"}, "cancel": {"done": [200]}, "timeout_s": 9},
        "chat": [{"terminal": ["data: [DONE]"], "capture": {"user": ["request.header:X-User"]}}],
    }
    settings = load_table(table, {})
    assert settings.admin.headers == {"Authorization": "Bearer mine"}
    assert isinstance(settings.admin.cancel, Call)
    assert settings.admin.cancel.path == "/v1/chat-messages/{task_id}/stop"
    assert settings.admin.cancel.done == {200}
    [chat] = settings.chat
    assert chat.path == "/v1/chat-messages"
    assert chat.terminal == ("data: [DONE]",)
    assert [str(source) for source in chat.capture["user"]] == ["request.header:X-User"]
    assert [str(source) for source in chat.capture["task_id"]] == ["stream.json:/task_id"]


def test_a_call_that_names_its_path_is_another_call() -> None:
    own = {"cancel": {"method": "PUT", "path": "/stop"}, "rollback": False}
    settings = load_table({"preset": "dify", "upstream": UPSTREAM, "admin": own}, AnyKey())
    assert settings.admin.cancel == Call(method="PUT", path="/stop")
    assert settings.admin.rollback is False


def test_a_chat_lies_over_the_one_of_its_path_or_over_the_first() -> None:
    own = [{"path": "/api/generate", "announce": True}, {"path": "/mine"}, {"path": "/v1/chat/completions"}]
    settings = load_table({"preset": "ollama", "upstream": UPSTREAM, "chat": own}, {})
    assert [(chat.path, chat.announce) for chat in settings.chat] == [
        ("/api/generate", True),
        ("/mine", False),
        ("/v1/chat/completions", False),
    ]
    assert settings.chat[1].terminal == settings.chat[0].terminal
    assert settings.chat[2].terminal == ("data: [DONE]",)
    assert load_table({"preset": "ollama", "upstream": UPSTREAM, "chat": []}, {}).chat == ()


@pytest.mark.parametrize("own", [{"chat": 3}, {"chat": [4]}, {"admin": "x"}, {"admin": {"cancel": 5}}])
def test_what_is_no_table_is_a_problem_as_without_a_preset(own: dict[str, Any]) -> None:
    assert problems_of({"preset": "openai", "upstream": UPSTREAM, **own}, {}) == problems_of(
        {"upstream": UPSTREAM, **own}, {}
    )


def test_nothing_is_changed_in_place() -> None:
    preset, table = preset_table("dify"), {"admin": {"headers": {"X": "y"}}}
    lay_over(preset, table)
    assert (preset, table) == (preset_table("dify"), {"admin": {"headers": {"X": "y"}}})


def test_what_is_shown_can_be_loaded_again_and_is_the_same() -> None:
    table = {
        "preset": "dify",
        "upstream": {"url": "${URL}"},
        "listen": {"trusted_proxies": ["10.0.0.0/8"]},
        "chat": [{"on": {"closed": {"policy": "complete"}, "reset": {"grace_s": 2.5}}}],
        "guard": [{"path": "/c", "list": "/items"}],
        "console": {"token": "${TOKEN}"},
    }
    env = {"URL": "http://127.0.0.1:9000", "TOKEN": "hunter2", "DIFY_API_KEY": "k"}
    text = shown(table, env)
    assert "hunter2" not in text
    assert load_table(tomllib.loads(text), env) == load_table(table, env)


def test_each_key_is_shown_with_its_origin() -> None:
    text = shown({"preset": "dify", "upstream": UPSTREAM, "log": {"level": "debug"}}, AnyKey())
    origins = {line.partition(" = ")[0]: line.rpartition("  # ")[2] for line in text.splitlines() if " = " in line}
    assert origins["preset"] == origins["url"] == origins["level"] == "file"
    assert origins["cancel_path"] == origins["task_id"] == origins["Authorization"] == "preset dify"
    assert origins["format"] == origins["retention_s"] == "default"
    assert 'Authorization = "Bearer ${DIFY_API_KEY}"' in text


def test_secrets_of_the_file_are_masked_and_names_are_not() -> None:
    table = {
        "upstream": UPSTREAM,
        "console": {"token": "hunter2"},
        "admin": {
            "headers": {"Authorization": "Bearer hunter2", "X-User": "{principal}"},
            "cancel": {
                "method": "POST",
                "path": "/stop?key=hunter2&id={request_id}",
                "json": {"key": "hunter2", "deep": [{"pin": 4711, "id": "{request_id}", "now": True}]},
            },
        },
    }
    text = shown(table, {})
    assert "hunter2" not in text
    assert "4711" not in text
    assert 'path = "/stop?key=***&id={request_id}"' in text
    assert 'X-User = "{principal}"' in text
    assert 'deep = [{ pin = "***", id = "{request_id}", now = true }]' in text
