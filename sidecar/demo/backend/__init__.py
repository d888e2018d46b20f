"""A runnable legacy AI-coach backend: what the sidecar exists for, small enough to be embedded.

Once a question is in, it generates to the end and saves the conversation, whether or not anyone is still there to
read it. Only its admin API stops it. `sidecar demo` plays against it, and the tests use it as their upstream.

    chat ----question---> workshop --> generation --> store (SQLite)
    chat <----pieces-------------------+  ^               ^
    admin ----stop, delete, confirm-------+---------------+
"""

from sidecar.demo.backend.admin import AdminCall, AdminFault
from sidecar.demo.backend.generation import GenerationRecord
from sidecar.demo.backend.knobs import BackendKnobs
from sidecar.demo.backend.server import LegacyBackend
from sidecar.demo.backend.store import KeptConversation, read_database

__all__ = [
    "AdminCall",
    "AdminFault",
    "BackendKnobs",
    "GenerationRecord",
    "KeptConversation",
    "LegacyBackend",
    "read_database",
]
