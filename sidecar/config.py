"""The settings, typed: what a user may write into the TOML file, with its defaults.

`load` finds every problem at once; each names the key, what is wrong, and the mend. Everything has a default but
`upstream.url`. `${NAME}` in a string is an environment variable. Units stand last in a name: `_s` is seconds.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from sidecar.capture.sources import Place, Source, parse_source
from sidecar.capture.template import names_in, names_in_json
from sidecar.turn.retry import Backoff
from sidecar.turn.state import Plan, StepKind

Seconds: TypeAlias = Annotated[float, Field(gt=0)]
Sources: TypeAlias = tuple[Annotated[Source, BeforeValidator(parse_source)], ...]


class Section(BaseModel):
    """A table of the file: unknown keys are errors, values do not change."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, strict=False)


class Listen(Section):
    """`[listen]`: the address towards the clients."""

    address: str = "127.0.0.1:8080"
    head_timeout_s: Seconds = 10
    write_timeout_s: Seconds = 30
    keepalive_timeout_s: Seconds = 75
    shutdown_grace_s: Annotated[float, Field(ge=0)] = 30
    workers: Literal[1] = 1
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()


class Drain(Section):
    """`[upstream.drain]`: limits of reading an abandoned answer on for ids that it has not yet told (law 4)."""

    timeout_s: Seconds = 30
    bytes_max: Annotated[int, Field(ge=0)] = 1_048_576
    streams_max: Annotated[int, Field(ge=0)] = 1000


class Upstream(Section):
    """`[upstream]`: the legacy backend."""

    url: str
    connect_timeout_s: Seconds = 5
    response_timeout_s: Seconds = 120
    idle_timeout_s: Seconds = 120
    drain: Drain = Drain()


class Call(Section):
    """A call of the admin API: `{names}` in path, header values and JSON strings are captured values."""

    method: str
    path: str
    headers: dict[str, str] = {}
    json_: Annotated[JsonValue, Field(alias="json")] = None
    done: frozenset[int] = frozenset({200, 202, 204})
    gone: frozenset[int] = frozenset({404, 410})

    @property
    def needs(self) -> frozenset[str]:
        """The captured values without which the call cannot be made."""
        return names_in(self.path).union(*map(names_in, self.headers.values()), names_in_json(self.json_))


CANCEL: Final = Call(method="POST", path="/admin/requests/{request_id}/cancel")
ROLLBACK: Final = Call(method="DELETE", path="/admin/conversations/{conversation_id}")


class Admin(Section):
    """`[admin]`: the backend's small admin API. `cancel = false` and `rollback = false` say that there is none."""

    url: str | None = None
    timeout_s: Seconds = 5
    attempts_max: Annotated[int, Field(ge=1)] = 20
    concurrency_max: Annotated[int, Field(ge=1)] = 64
    backoff_first_s: Seconds = 0.5
    backoff_max_s: Seconds = 300
    headers: dict[str, str] = {}
    cancel: Call | Literal[False] = CANCEL
    rollback: Call | Literal[False] = ROLLBACK
    confirm: Call | Literal[False] = False
    verify: Call | Literal[False] = False

    @property
    def backoff(self) -> Backoff:
        """The pace of retries."""
        return Backoff(first_s=self.backoff_first_s, max_s=self.backoff_max_s, attempts_max=self.attempts_max)

    @property
    def calls(self) -> dict[StepKind, Call]:
        """The configured calls that a turn can owe."""
        named = {StepKind.CONFIRM: self.confirm, StepKind.CANCEL: self.cancel, StepKind.ROLLBACK: self.rollback}
        return {kind: call for kind, call in named.items() if call}


CAPTURE: Final[dict[str, tuple[Source, ...]]] = {
    "request_id": (parse_source("request.header:X-Request-Id"),),
    "conversation_id": (
        parse_source("request.json:/conversationId"),
        parse_source("response.header:X-Conversation-Id"),
        parse_source("stream.json:/temp_conversation_id"),
        parse_source("stream.json:/final_conversation_id"),
    ),
}


class Chat(Section):
    """`[[chat]]`: a streamed chat endpoint, whose requests are turns. `{names}` in its path are captured."""

    path: str = "/api/ai-coach/chat"
    methods: frozenset[str] = frozenset({"POST"})
    cancel_path: str = "/api/ai-coach/cancel"
    identity: tuple[str, ...] = ("Authorization",)
    begins: str = "absent"
    announce: bool = False
    cancel_grace_s: Annotated[float, Field(ge=0)] = 30
    terminal: tuple[str, ...] = ()
    inspect_bytes_max: Annotated[int, Field(ge=0)] = 1_048_576
    capture: dict[str, Sources] = CAPTURE


class JournalSettings(Section):
    """`[journal]`: the SQLite file and how long it remembers."""

    path: str = "sidecar.db"
    temp_ttl_s: Seconds = 600
    retention_s: Seconds = 604_800
    tombstone_ttl_s: Seconds = 600


class Console(Section):
    """`[console]`: the operator's address."""

    address: str = "127.0.0.1:9901"
    token: str = ""


class Log(Section):
    """`[log]`."""

    format: Literal["auto", "json", "console"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(Section):
    """The whole file."""

    listen: Listen = Listen()
    upstream: Upstream
    admin: Admin = Admin()
    chat: tuple[Chat, ...] = (Chat(),)
    journal: JournalSettings = JournalSettings()
    console: Console = Console()
    log: Log = Log()

    def plan(self, chat: Chat | None) -> Plan:
        """Say what can be owed for a route's turns (None: a route that is no longer configured)."""
        sources = [source for named in (chat.capture if chat else {}).values() for source in named]
        return Plan(
            needs={kind: call.needs for kind, call in self.admin.calls.items()},
            cancel_tells=any(source.place is Place.CANCEL_JSON for source in sources),
        )
