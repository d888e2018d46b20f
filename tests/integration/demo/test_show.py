"""The demo's stage: friendly ports where they are free, and settings that differ from the defaults in little."""

from __future__ import annotations

import socket
from pathlib import Path

from sidecar.demo import process, show


def test_a_port_that_is_taken_makes_way_for_any_free_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert process.free_or_any(port) == 0
    assert process.free_or_any(port) == port


def test_the_settings_learn_the_conversation_from_the_answer_to_a_cancel() -> None:
    settings = show._settings("http://127.0.0.1:9", Path("x.db"), port=0)
    sources = [str(source) for source in settings.chat[0].capture["conversation_id"]]
    assert sources[-1] == "cancel.json:/conversationId"
    assert settings.plan(settings.chat[0]).cancel_tells
