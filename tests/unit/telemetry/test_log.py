"""Logs: what a line looks like, that nothing is lost but what cannot be written, and that nothing secret slips in."""

from __future__ import annotations

import io
import json
import logging
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pytest
import structlog

from sidecar.config import Log
from sidecar.telemetry.log import Lines, set_up_logging

if TYPE_CHECKING:
    from collections.abc import Iterator


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines_of(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def fail_with_a_secret_at_hand() -> None:
    secret = "2retnuh"[::-1]
    raise ValueError(f"a secret of {len(secret)} characters")


def test_off_a_terminal_a_line_is_a_json_object() -> None:
    stream = io.StringIO()
    set_up_logging(Log(), stream)
    structlog.get_logger().info("exchange", request_id="req_1", status=499, bytes=12, note="ä\n\x1b[31m")
    [line] = lines_of(stream)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line.pop("timestamp"))
    assert line == {
        "event": "exchange",
        "level": "info",
        "request_id": "req_1",
        "status": 499,
        "bytes": 12,
        "note": "ä\n\x1b[31m",
    }


@pytest.mark.parametrize(
    ("log_format", "stream", "is_json"),
    [
        ("auto", io.StringIO, True),
        ("auto", Terminal, False),
        ("json", Terminal, True),
        ("console", io.StringIO, False),
    ],
)
def test_the_format(log_format: Literal["auto", "json", "console"], stream: type[io.StringIO], is_json: bool) -> None:
    out = stream()
    set_up_logging(Log(format=log_format), out)
    structlog.get_logger().info("listening", address="127.0.0.1:8080")
    assert out.getvalue().startswith("{") is is_json
    assert "127.0.0.1:8080" in out.getvalue()
    assert ("\x1b[" in out.getvalue()) is (stream is Terminal and not is_json)


def test_a_second_set_up_changes_the_loggers_in_use() -> None:
    stream = io.StringIO()
    set_up_logging(Log(level="error"), stream)
    log = structlog.get_logger()
    log.info("a")
    log.error("b")
    set_up_logging(Log(level="debug"), stream)
    log.debug("c")
    set_up_logging(Log(level="warning", format="console"), stream)
    log.info("d")
    log.warning("e")
    lines = stream.getvalue().splitlines()
    assert [json.loads(line)["event"] for line in lines[:-1]] == ["b", "c"]
    assert "e" in lines[-1]
    assert not lines[-1].startswith("{")


@pytest.mark.parametrize(("level", "count"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_the_level(level: Literal["debug", "info", "warning", "error"], count: int) -> None:
    stream = io.StringIO()
    set_up_logging(Log(level=level), stream)
    log = structlog.get_logger()
    log.debug("a")
    log.info("b")
    log.warning("c")
    log.error("d")
    assert [line["event"] for line in lines_of(stream)] == ["a", "b", "c", "d"][-count:]


def test_the_standard_librarys_loggers_go_the_same_way_from_warnings_up() -> None:
    stream = io.StringIO()
    set_up_logging(Log(level="debug"), stream)
    logging.getLogger("asyncio").warning("took %.1f s", 0.25)
    logging.getLogger("aiohttp.access").info("GET /")
    [line] = lines_of(stream)
    assert (line["event"], line["level"], line["logger"]) == ("took 0.2 s", "warning", "asyncio")


def test_the_standard_librarys_loggers_keep_to_the_level_too() -> None:
    stream = io.StringIO()
    set_up_logging(Log(level="error"), stream)
    logging.getLogger("asyncio").warning("a")
    logging.getLogger("asyncio").error("b")
    assert [line["event"] for line in lines_of(stream)] == ["b"]


def test_a_record_that_cannot_be_formatted_leaves_a_line_and_no_more() -> None:
    stream = io.StringIO()
    set_up_logging(Log(), stream)
    logging.getLogger("careless").warning("%d pieces", "no")
    [line] = lines_of(stream)
    assert (line["event"], line["logger"]) == ("log_record_unreadable", "careless")


@pytest.mark.parametrize("through", ["structlog", "logging"])
def test_an_exception_is_a_field_of_its_line_without_local_variables(through: str) -> None:
    for log_format, stream in (("json", io.StringIO()), ("console", Terminal())):
        set_up_logging(Log.model_validate({"format": log_format}), stream)
        try:
            fail_with_a_secret_at_hand()
        except ValueError:
            if through == "structlog":
                structlog.get_logger().exception("failed")
            else:
                logging.getLogger("aiohttp").exception("failed")
        structlog.reset_defaults()
        text = stream.getvalue()
        assert "ValueError: a secret of 7 characters" in text
        assert "hunter2" not in text
        if log_format == "json":
            [line] = lines_of(stream)
            assert line["exception"].startswith("Traceback")


def test_on_a_terminal_a_strangers_value_steers_nothing() -> None:
    stream = Terminal()
    set_up_logging(Log(), stream)
    structlog.get_logger().info("exchange", request_id="\x1b[2J\r\nforged")
    assert "\x1b[2J" not in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == 1


def test_a_value_that_json_has_not_is_shown_somehow() -> None:
    stream = io.StringIO()
    set_up_logging(Log(), stream)
    structlog.get_logger().info("odd", value=object, lone="\ud800")
    [line] = lines_of(stream)
    assert line["value"] == "<class 'object'>"


@dataclass
class Pipe:
    reader: int
    writer: io.TextIOWrapper


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb", buffering=0) as raw:
        stream = io.TextIOWrapper(raw, write_through=True)
        yield Pipe(reader, stream)
        stream.detach()


def test_a_broken_pipe_hurts_nobody(pipe: Pipe) -> None:
    set_up_logging(Log(), pipe.writer)
    log = structlog.get_logger()
    log.info("read")
    assert json.loads(os.read(pipe.reader, 4096))["event"] == "read"
    os.close(pipe.reader)
    log.info("unread")
    logging.getLogger("asyncio").error("unread")


def test_a_full_pipe_loses_lines_and_recovers(pipe: Pipe) -> None:
    os.set_blocking(pipe.writer.fileno(), False)
    set_up_logging(Log(), pipe.writer)
    log = structlog.get_logger()
    for _ in range(100):
        log.info("much", text="x" * 4000)
    while len(os.read(pipe.reader, 1 << 20)) == 1 << 20:
        pass
    log.info("again")
    assert b'"again"' in os.read(pipe.reader, 1 << 20)
    os.close(pipe.reader)


def test_a_closed_stream_and_none_hurt_nobody() -> None:
    stream = io.StringIO()
    set_up_logging(Log(), stream)
    log = structlog.get_logger()
    stream.close()
    log.info("unread")
    Lines(None).msg("unread")


def test_stderr_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(Log(format="json"))
    structlog.get_logger().info("here")
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err)["event"] == "here"


def test_without_stderr_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)
    set_up_logging(Log())
    structlog.get_logger().error("unread")
