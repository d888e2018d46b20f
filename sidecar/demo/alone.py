"""`sidecar demo --backend-only`: the legacy backend by itself, for whoever wants to put a sidecar before it.

What it prints is all that is needed: its admin API's calls, a configuration that fits, and questions to ask.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from rich.console import Console

from sidecar.demo.backend import BackendKnobs, LegacyBackend
from sidecar.demo.process import BACKEND_PORT, end_on_signals, free_or_any
from sidecar.errors import OperatorError

KNOBS: Final = BackendKnobs(words=60, word_s=0.25, think_s=0.5)
"""A pace that leaves a person the time to press Stop."""

CONFIG: Final = """\
[upstream]
url = "{url}"

[admin]
cancel        = {{ method = "POST",   path = "/admin/requests/{{request_id}}/cancel" }}
rollback      = {{ method = "DELETE", path = "/admin/conversations/{{conversation_id}}" }}
rollback_turn = {{ method = "DELETE", path = "/admin/conversations/{{conversation_id}}/turns/{{request_id}}" }}
confirm       = {{ method = "POST",   path = "/admin/conversations/{{conversation_id}}/confirm" }}
verify        = {{ method = "GET",    path = "/admin/conversations/{{conversation_id}}" }}
verify_after_s = [2]  # only to see the end sooner; by default it is looked for a minute

[[chat]]
path = "/api/ai-coach/chat"
cancel_path = "/api/ai-coach/cancel"

[chat.capture]
request_id      = ["request.header:X-Request-Id"]
conversation_id = ["request.json:/conversationId", "response.header:X-Conversation-Id", "cancel.json:/conversationId"]
"""
_TEXT: Final = """\
A legacy chat backend listens at {url}   Ctrl-C ends it, and all that it keeps goes.

Once a question is in, it generates to the end and saves the conversation, whether or not anyone is still there.
Only its admin API (docs/admin-api.openapi.yaml) stops it. A sidecar.toml to put a sidecar before it:

{config}
Then, in another terminal: sidecar run -c sidecar.toml

Ask through the sidecar, and press Ctrl-C amid the answer (take a new id for each question):
  curl -N http://127.0.0.1:8080/api/ai-coach/chat -H 'X-Request-Id: req_try_1' \\
       -H 'Content-Type: application/json' -d '{body}'

See what the backend keeps:
  curl {url}/api/ai-coach/conversations

In a chat's query, these change how it behaves: words=20 word_ms=50 think_ms=2000 (its pace), announce=1 (ids in the
stream), id_in=stream|none, sse=1, ndjson=1, saves_late=1 (stop and delete are answered, and yet it saves), status=500,
die_after=3, stall_after=3.
"""
_BODY: Final = '{"messages": [{"role": "user", "content": "How do I calm down?"}], "stream": true}'


def serve_alone(*, port: int | None) -> int:
    """Serve until Ctrl-C; give the exit code. Raises OperatorError where the port that was asked for is in use."""
    try:
        return asyncio.run(_serve(port))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 0


async def _serve(port: int | None) -> int:
    end_on_signals()
    chosen = free_or_any(BACKEND_PORT) if port is None else port
    with TemporaryDirectory(prefix="sidecar-demo-") as folder:
        try:
            async with LegacyBackend.serve(KNOBS, path=Path(folder) / "backend.db", port=chosen) as backend:
                text = _TEXT.format(url=backend.url, config=CONFIG.format(url=backend.url), body=_BODY)
                Console(highlight=False).print(text, markup=False, soft_wrap=True)
                await asyncio.Event().wait()
        except OSError as error:
            why = os.strerror(error.errno or 0).lower()
            raise OperatorError(f"cannot listen on port {chosen} ({why}); name another with --port") from None
    return 0
