"""`sidecar demo`, as a newcomer runs it: ghosts without the sidecar, none with it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from typing import IO, TYPE_CHECKING

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
