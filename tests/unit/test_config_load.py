"""From a file to settings: the ways a file can fail before its values are looked at, defaults, the environment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.capture.sources import parse_source
from sidecar.config import CAPTURE, Call, Chat, Leaving, Reaction, Settings, Upstream, load, load_table
from sidecar.config.environment import Environment
from sidecar.config.explain import keys_of
from sidecar.config.leaving import MAY_RETURN
from sidecar.errors import ConfigError
from sidecar.turn.state import Cause, Policy, StepKind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

URL = "http://127.0.0.1:9000"
LEAST = f'[upstream]\nurl = "{URL}"\n'


def load_text(text: str | bytes, tmp_path: Path, env: Mapping[str, str] | None = None) -> Settings:
    path = tmp_path / "sidecar.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load(path, env or {})


def problems_of(text: str | bytes, tmp_path: Path, env: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_text(text, tmp_path, env)
    assert str(caught.value).splitlines() == caught.value.problems
    return [problem.removeprefix(f"{tmp_path}/") for problem in caught.value.problems]


def test_the_url_alone_gives_all_defaults(tmp_path: Path) -> None:
    assert load_text(LEAST, tmp_path) == Settings(upstream=Upstream(url=URL))


@pytest.mark.parametrize("empty", ["", "[upstream]\n", "[listen]\n", "upstream = {}"])
def test_the_url_is_missed_by_its_full_name(empty: str, tmp_path: Path) -> None:
    assert problems_of(empty, tmp_path) == [f'upstream.url: is missing; write for example url = "{URL}"']


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    assert load_text(b"\xef\xbb\xbf" + LEAST.replace("\n", "\r\n").encode(), tmp_path).upstream.url == URL


def test_a_missing_file_a_folder_and_an_impossible_name(tmp_path: Path) -> None:
    for path, reason in (
        (tmp_path / "none.toml", "no such file"),
        (tmp_path, "cannot be read (Is a directory)"),
        (tmp_path / "a\0b", "cannot be read ("),
    ):
        with pytest.raises(ConfigError) as caught:
            load(path, {})
        assert caught.value.problems[0].startswith(f"{path}: {reason}")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "secret.toml"
    path.write_text(LEAST)
    path.chmod(0)
    with pytest.raises(ConfigError, match="cannot be read"):
        load(path, {})


def test_what_is_not_utf_8_is_told_with_its_line(tmp_path: Path) -> None:
    found = problems_of(b"# one\n# t\xe4st\n", tmp_path)
    assert found == ["sidecar.toml, line 2: is not UTF-8; save the file in that encoding"]


def test_a_file_that_is_too_long_is_not_read_whole(tmp_path: Path) -> None:
    [problem] = problems_of(b"#" * 2_000_000, tmp_path)
    assert "is longer than 1048576 bytes" in problem


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[listen]\naddress\n", "line 2, column 8"),
        ("[listen]\n[listen]\n", "line 2, column 8"),
        ('a = "b\n', "line 1, column 7"),
        ("a = [", "end of document"),
    ],
)
def test_a_syntax_error_is_told_with_its_place(text: str, place: str, tmp_path: Path) -> None:
    [problem] = problems_of(text, tmp_path)
    assert problem.startswith(f"sidecar.toml, {place}: is no TOML: ")


@pytest.mark.parametrize("text", [f"a = {'[' * 20_000}", f"a = {'9' * 5_000}"], ids=["too deep", "too many digits"])
def test_toml_that_python_cannot_hold_is_a_problem_too(text: str, tmp_path: Path) -> None:
    [problem] = problems_of(text, tmp_path)
    assert "is no TOML" in problem


def test_environment_variables_are_filled_in_everywhere(tmp_path: Path) -> None:
    text = """
        [upstream]
        url = "http://${HOST}:${PORT}"
        idle_timeout_s = "${IDLE}"
        [admin]
        headers = { Authorization = "Bearer ${TOKEN}", X = "$${TOKEN} costs $5" }
        rollback = { method = "POST", path = "/x", json = { deep = ["${TOKEN}"] } }
        [[chat]]
        terminal = ["${END}"]
        """
    env = {"HOST": "backend", "PORT": "81", "IDLE": "7.5", "TOKEN": "t0ken", "END": "data: [DONE]"}
    settings = load_text(text, tmp_path, env)
    assert settings.upstream.url == "http://backend:81"
    assert settings.upstream.idle_timeout_s == 7.5
    assert settings.admin.headers == {"Authorization": "Bearer t0ken", "X": "${TOKEN} costs $5"}
    assert isinstance(settings.admin.rollback, Call)
    assert settings.admin.rollback.json_ == {"deep": ["t0ken"]}
    assert settings.chat[0].terminal == ("data: [DONE]",)


def test_each_missing_variable_is_told_once_and_its_consequences_are_not(tmp_path: Path) -> None:
    text = '[upstream]\nurl = "${A}"\n[console]\ntoken = "${B}${B_2}"\n[listen]\naddress = "${9}"'
    assert problems_of(text, tmp_path) == [
        "listen.address: '${' begins no ${NAME}; write $${ if you mean the characters ${",
        "upstream.url: the environment variable A is not set; set it, or write $${A} if you mean the text",
        "console.token: the environment variable B is not set; set it, or write $${B} if you mean the text",
        "console.token: the environment variable B_2 is not set; set it, or write $${B_2} if you mean the text",
    ]


def test_a_value_from_the_environment_is_not_filled_in_again(tmp_path: Path) -> None:
    text = LEAST + '[console]\ntoken = "${A}"'
    assert load_text(text, tmp_path, {"A": "${B}", "B": "x"}).console.token == "${B}"


def test_capture_is_laid_over_the_defaults() -> None:
    table = {"upstream": {"url": URL}, "chat": [{"capture": {"task": ["stream.json:/task_id ~ (t.*)"]}}]}
    [chat] = load_table(table, {}).chat
    assert chat.capture == {**CAPTURE, "task": (parse_source("stream.json:/task_id ~ (t.*)"),)}
    table["chat"] = [{"capture": {"conversation_id": ["request.query:c"]}}]
    [chat] = load_table(table, {}).chat
    assert chat.capture == {**CAPTURE, "conversation_id": (parse_source("request.query:c"),)}


def test_a_call_can_be_none() -> None:
    settings = load_table({"upstream": {"url": URL}, "admin": {"cancel": False, "rollback": False}}, {})
    assert settings.admin.calls == {}


def test_needs_are_captured_values_only() -> None:
    call = Call(
        method="POST", path="/{a}/{turn_id}", headers={"X": "{principal} {b}"}, json={"k": ["{c}", {"d": "{{e}}"}]}
    )
    assert call.needs == {"a", "b", "c"}
    assert call.names == {"a", "b", "c", "principal", "turn_id"}


def test_the_plan_follows_the_calls() -> None:
    settings = Settings(upstream=Upstream(url=URL))
    plan = settings.plan(Chat())
    expected = {StepKind.CANCEL: frozenset({"request_id"}), StepKind.ROLLBACK: frozenset({"conversation_id"})}
    assert (plan.needs, plan.cancel_tells) == (expected, False)
    told = (parse_source("cancel.json:/x"),)
    assert not settings.plan(Chat(capture={**CAPTURE, "x": told})).cancel_tells, "no rollback needs it"
    assert settings.plan(Chat(capture={**CAPTURE, "conversation_id": told})).cancel_tells
    assert settings.plan(None).needs == expected


def test_the_plan_names_what_is_kept_and_when_it_is_looked_for() -> None:
    table = {
        "upstream": {"url": URL},
        "admin": {"verify_after_s": [1, 5.5]},
        "chat": [{"on": {"closed": "keep", "expired": {"policy": "keep"}, "reset": {"grace_s": 3}}}],
    }
    settings = load_table(table, {})
    plan = settings.plan(settings.chat[0])
    assert plan.keeps == {Cause.CLOSED, Cause.EXPIRED}
    assert plan.looks_after_s == (0.0, 1.0, 5.5)
    assert settings.plan(None).keeps == frozenset()


def test_a_cause_has_a_policy_by_word_or_by_table() -> None:
    table = {"upstream": {"url": URL}, "chat": [{"on": {"closed": "complete", "reset": {"grace_s": 3}}}]}
    [chat] = load_table(table, {}).chat
    assert chat.reaction(Cause.CLOSED) == Reaction(policy=Policy.COMPLETE)
    assert chat.reaction(Cause.RESET) == Reaction(policy=Policy.CANCEL, grace_s=3)
    assert chat.reaction(Cause.EXPIRED) == Reaction(policy=Policy.CANCEL, grace_s=0)


def test_every_cause_can_have_a_policy() -> None:
    assert list(keys_of(Leaving)) == [cause.value for cause in Cause]
    assert set(MAY_RETURN) < set(Cause)


def test_the_admin_api_is_at_the_upstream_unless_it_is_elsewhere() -> None:
    assert load_table({"upstream": {"url": f"{URL}/"}}, {}).admin_url == URL
    table = {"upstream": {"url": URL}, "admin": {"url": "https://admin/api/"}}
    assert load_table(table, {}).admin_url == "https://admin/api"


def test_secrets_do_not_show_in_a_representation() -> None:
    headers = {"Authorization": "Bearer hunter2"}
    call = {"method": "POST", "path": "/x", "headers": headers, "json": {"key": "hunter2"}}
    table = {
        "upstream": {"url": URL},
        "admin": {"headers": headers, "cancel": call},
        "console": {"token": "hunter2"},
    }
    assert "hunter2" not in repr(load_table(table, {}))


# Whatever stands in a file, it is either settings or problems, each a line.

SECTIONS = st.sampled_from(
    ["listen", "upstream", "admin", "chat", "guard", "journal", "console", "log", "drain", "capture", "on"]
)
CALLS = st.sampled_from(["cancel", "verify", "verify_after_s", "method", "path", "headers", "json", "done"])
CAUSES = st.sampled_from(["closed", "requested", "policy", "grace_s"])
OTHERS = st.sampled_from(["address", "url", "request_id", "begins", "terminal", "timeout_s", "list", "id", "X", ""])
KEYS = SECTIONS | CALLS | CAUSES | OTHERS
TEXTS = st.sampled_from(
    [
        "",
        "/",
        "/{a}",
        "{",
        "http://x",
        "probe",
        "stream.json:/a",
        "request.path:a",
        "${",
        "${A}",
        "$${A}",
        "POST",
        "keep",
        "complete",
        "x\ny",
    ]
) | st.text(max_size=8)
LEAVES = st.booleans() | st.integers() | st.floats() | TEXTS | st.dates() | st.times()
TABLES = st.dictionaries(
    KEYS,
    st.recursive(LEAVES, lambda below: st.lists(below, max_size=3) | st.dictionaries(KEYS, below, max_size=4)),
    max_size=7,
)


@given(table=TABLES)
@example(table={"upstream": 5, "chat": [5, {"capture": 5}], "admin": {"cancel": {"method": 5}}})
@example(table={"chat": {"path": "/a"}, "admin": []})
@example(table={"guard": [5, {"path": 5}, {"list": 5}, [{"path": "${B}"}]], "chat": [{"on": {"closed": []}}]})
@example(table={"guard": {"path": "/a"}, "chat": [{"on": {"expired": {"policy": "complete", "grace_s": 5}}}]})
@example(table={"upstream": {"url": "http://[", "drain": []}, "chat": [{"capture": {"request_id": [5]}}]})
def test_any_table_gives_settings_or_lines(table: dict[str, object]) -> None:
    lines = None
    try:
        load_table(table, {"A": "a"})
    except ConfigError as error:
        lines = error.problems
    assert lines is None or lines
    for line in lines or ():
        assert ": " in line
        assert line.isprintable() or not line.isascii()
        assert "pydantic" not in line
        assert "Value error" not in line


@given(text=st.text(st.sampled_from("${}Aa\n") | st.characters(), max_size=40))
def test_dollar_dollar_brace_escapes_any_text(text: str) -> None:
    environment = Environment({})
    assert environment.fill([{"k": text.replace("${", "$${")}]) == [{"k": text}]
    assert not environment.problems
