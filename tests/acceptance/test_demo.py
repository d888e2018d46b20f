"""`sidecar demo`, as a newcomer runs it: ghosts without the sidecar, none with it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import tomllib
from http.client import HTTPConnection
from typing import IO, TYPE_CHECKING

from sidecar.config import load_table
from tests.acceptance.process import free_port

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = (sys.executable, "-m", "sidecar", "demo")


def environment(folder: Path) -> dict[str, str]:
    """Give an environment whose temporary files land in `folder`, so that what is left over shows."""
    return {**os.environ, "TMPDIR": str(folder), "COLUMNS": "80"}


def read_until(stream: IO[str], wanted: str) -> str:
    """Read lines up to the one that has what is wanted; all of them where none has."""
    text = ""
    for line in stream:
        text += line
        if wanted in line:
            break
    return text


def test_once_shows_the_table_and_ends_as_promised(tmp_path: Path) -> None:
    started_at = time.monotonic()
    result = subprocess.run(
        [*COMMAND, "--once"], env=environment(tmp_path), capture_output=True, text=True, timeout=30, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert time.monotonic() - started_at < 10
    assert result.stdout.count("kept: a ghost") == 2
    assert result.stdout.count("nothing left") == 2
    assert "Ghosts without the sidecar: 2, with it: 0." in result.stdout
    assert re.search(r"Tokens saved: (1\d|2\d) ", result.stdout)
    assert "Not as promised" not in result.stdout
    assert "\x1b" not in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_without_once_it_serves_on_until_interrupted(tmp_path: Path) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        with subprocess.Popen(COMMAND, env=environment(tmp_path), stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                text = read_until(process.stdout, "straight, press Ctrl-C again")
                url = re.search(r"Sidecar: (http://127\.0\.0\.1:\d+) ", text)
                assert url is not None
                assert f"curl -N {url.group(1)}/api/ai-coach/chat -H 'X-Request-Id: " in text
                process.send_signal(number)
                assert process.wait(timeout=10) == 0
            finally:
                process.kill()
        assert list(tmp_path.iterdir()) == []


def test_the_backend_alone_prints_a_configuration_that_fits(tmp_path: Path) -> None:
    command = [*COMMAND, "--backend-only", "--port", str(free_port())]
    with subprocess.Popen(command, env=environment(tmp_path), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            text = read_until(process.stdout, "stall_after=3")
            config = tomllib.loads(text[text.index("[upstream]") : text.index("Then, in another")])
            assert config["upstream"]["url"].endswith(command[-1])
            assert load_table(config, {}).admin.verify
            person = HTTPConnection(config["upstream"]["url"].removeprefix("http://"), timeout=10)
            person.request("GET", "/health")
            assert json.load(person.getresponse()) == {"status": "ok"}
            person.close()
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=10) == 0
        finally:
            process.kill()
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken_is_named_with_its_mend(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [*COMMAND, "--backend-only", "--port", port]
        result = subprocess.run(
            command, env=environment(tmp_path), capture_output=True, text=True, timeout=30, check=False
        )
    assert (result.returncode, result.stdout) == (2, "")
    expected = f"sidecar: cannot listen on port {port} (address already in use); name another with --port\n"
    assert result.stderr == expected
