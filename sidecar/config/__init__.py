"""The operator's settings: typed, with defaults, read from one TOML file; all its problems are told at once.

`settings`, `section` and `leaving` have the tables of the file, `values`, `meaning` and `routes` the checks, `preset`
what is known of some backends, `load` reads, `explain` and `problems` word, `show` writes it all out again; `in_force`
and `changes` are for the configuration of a running sidecar.
"""

from sidecar.config.address import Address, AddressSyntaxError, TcpAddress, UnixAddress, parse_address
from sidecar.config.changes import changed_keys, held_back, waiting_for_start
from sidecar.config.in_force import InForce
from sidecar.config.leaving import Leaving, Reaction
from sidecar.config.load import load, load_table, read_table
from sidecar.config.preset import preset_about, preset_names, preset_table, preset_text
from sidecar.config.problems import Problem
from sidecar.config.section import Section
from sidecar.config.settings import (
    CANCEL,
    CAPTURE,
    ROLLBACK,
    Admin,
    Call,
    CallOrNone,
    Chat,
    Console,
    Guard,
    JournalSettings,
    Listen,
    Log,
    Settings,
    Tls,
)
from sidecar.config.show import effective_toml
from sidecar.config.tracing import Tracing
from sidecar.config.upstream import ClientTls, Drain, Upstream
from sidecar.config.values import OFF, OWN_NAMES, Begins, Seconds, Sources

__all__ = [
    "CANCEL",
    "CAPTURE",
    "OFF",
    "OWN_NAMES",
    "ROLLBACK",
    "Address",
    "AddressSyntaxError",
    "Admin",
    "Begins",
    "Call",
    "CallOrNone",
    "Chat",
    "ClientTls",
    "Console",
    "Drain",
    "Guard",
    "InForce",
    "JournalSettings",
    "Leaving",
    "Listen",
    "Log",
    "Problem",
    "Reaction",
    "Seconds",
    "Section",
    "Settings",
    "Sources",
    "TcpAddress",
    "Tls",
    "Tracing",
    "UnixAddress",
    "Upstream",
    "changed_keys",
    "effective_toml",
    "held_back",
    "load",
    "load_table",
    "parse_address",
    "preset_about",
    "preset_names",
    "preset_table",
    "preset_text",
    "read_table",
    "waiting_for_start",
]
