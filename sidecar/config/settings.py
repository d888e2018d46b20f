"""The settings, typed: what a user may write into the TOML file, with its defaults.

Everything has a default but `upstream.url`. A value by itself is checked in `values`, values against each other in
`meaning`; a Settings that `load` gives has passed both. Units stand last in a name: `_s` is seconds.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from pydantic import BeforeValidator, Field, PlainValidator

from sidecar.capture.sources import Place, Source, parse_source
from sidecar.capture.template import names_in, names_in_json
from sidecar.config.explain import kind_of
from sidecar.config.files import FilePath, JournalPath, UnixMode
from sidecar.config.leaving import Leaving, Reaction
from sidecar.config.section import Section
from sidecar.config.tracing import Tracing
from sidecar.config.upstream import ClientTls, Upstream
from sidecar.config.urls import AdminUrl
from sidecar.config.values import (
    OWN_NAMES,
    Ascending,
    Begins,
    CallPath,
    CaptureName,
    ConsoleAddress,
    Count,
    CountOrNone,
    Frame,
    HalfClose,
    HeaderName,
    HeaderTemplate,
    HeaderValue,
    HostName,
    JsonTemplate,
    ListenAddress,
    Method,
    Network,
    Pointer,
    PresetName,
    RoutePath,
    Seconds,
    SecondsOrNone,
    Sources,
    Status,
    Token,
    Workers,
)
from sidecar.turn.retry import Backoff
from sidecar.turn.state import Cause, Plan, StepKind
from sidecar.wire.request_head import HeadLimits


class Tls(Section):
    """`[listen.tls]`: the certificate that clients are shown."""

    cert: FilePath
    key: FilePath | None = None
    minimum_version: Literal["1.2", "1.3"] = "1.2"

    @property
    def key_path(self) -> str:
        """The key's file: by default the certificate's, which then holds both."""
        return self.key or self.cert


class Listen(Section):
    """`[listen]`: the address towards the clients."""

    address: ListenAddress = "127.0.0.1:8080"
    unix_mode: UnixMode = "660"
    head_timeout_s: Seconds = 10
    body_timeout_s: Seconds = 60
    write_timeout_s: Seconds = 30
    keepalive_timeout_s: Seconds = 75
    shutdown_grace_s: SecondsOrNone = 30
    tunnel_idle_timeout_s: Seconds = 3600
    line_bytes_max: Count = 8190
    field_bytes_max: Count = 8190
    fields_max: Count = 128
    head_bytes_max: Count = 65_536
    buffer_bytes_max: Annotated[Count, Field(ge=4096)] = 65_536
    connections_max: Count = 16_384
    connections_per_address_max: CountOrNone = 0
    half_close: HalfClose = "cancel"
    workers: Workers = 1
    trusted_proxies: tuple[Network, ...] = ()
    tls: Tls | None = None

    @property
    def unix_permissions(self) -> int:
        """The permissions of a Unix socket's file, as chmod(2) takes them."""
        return int(self.unix_mode, 8)

    @property
    def head_limits(self) -> HeadLimits:
        """The limits of a request's head."""
        return HeadLimits(
            line_bytes_max=self.line_bytes_max,
            field_bytes_max=self.field_bytes_max,
            fields_max=self.fields_max,
            head_bytes_max=self.head_bytes_max,
        )


class Call(Section):
    """A call of the admin API: `{names}` in path, header values and JSON strings are captured values."""

    method: Method
    path: CallPath
    headers: dict[HeaderName, HeaderTemplate] = Field(default_factory=dict, repr=False)
    json_: JsonTemplate = Field(default=None, alias="json", repr=False)
    done: Annotated[frozenset[Status], Field(min_length=1)] = frozenset({200, 202, 204})
    gone: frozenset[Status] = frozenset({404, 410})

    @property
    def names(self) -> frozenset[str]:
        """Every name that the call's templates use."""
        return names_in(self.path).union(*map(names_in, self.headers.values()), names_in_json(self.json_))

    @property
    def needs(self) -> frozenset[str]:
        """The captured values without which the call cannot be made."""
        return self.names - frozenset(OWN_NAMES)


def _call_or_none(value: object) -> Call | Literal[False]:
    if value is False:
        return False
    if isinstance(value, Call | dict):
        return Call.model_validate(value)
    given = "true" if value is True else kind_of(value)
    raise ValueError(f"must be a call or false, is {given}; write {{ method = ..., path = ... }}, or false for no call")


CallOrNone: TypeAlias = Annotated[Call | Literal[False], PlainValidator(_call_or_none)]
CANCEL: Final = Call(method="POST", path="/admin/requests/{request_id}/cancel")
ROLLBACK: Final = Call(method="DELETE", path="/admin/conversations/{conversation_id}")


class Admin(Section):
    """`[admin]`: the backend's small admin API. `cancel = false` and `rollback = false` say that there is none."""

    url: AdminUrl | None = None
    tls: ClientTls | None = None
    timeout_s: Seconds = 5
    attempts_max: Count = 20
    concurrency_max: Count = 64
    backoff_first_s: Seconds = 0.5
    backoff_max_s: Seconds = 300
    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict, repr=False)
    cancel: CallOrNone = CANCEL
    rollback: CallOrNone = ROLLBACK
    confirm: CallOrNone = False
    rollback_turn: CallOrNone = False
    verify: CallOrNone = False
    verify_after_s: Ascending = (2, 10, 60)

    @property
    def backoff(self) -> Backoff:
        """The pace of retries."""
        return Backoff(first_s=self.backoff_first_s, max_s=self.backoff_max_s, attempts_max=self.attempts_max)

    @property
    def calls(self) -> dict[StepKind, Call]:
        """The configured calls that a turn can owe."""
        named = {
            StepKind.CONFIRM: self.confirm,
            StepKind.CANCEL: self.cancel,
            StepKind.ROLLBACK: self.rollback,
            StepKind.ROLLBACK_TURN: self.rollback_turn,
            StepKind.VERIFY: self.verify,
        }
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


def _over_defaults(value: object) -> object:
    """Lay a `[chat.capture]` over the default one: a turn always needs its two ids."""
    return {**CAPTURE, **value} if isinstance(value, dict) else value


class Chat(Section):
    """`[[chat]]`: a streamed chat endpoint, whose requests are turns. `{names}` in its path are captured."""

    path: RoutePath = "/api/ai-coach/chat"
    methods: Annotated[frozenset[Method], Field(min_length=1)] = frozenset({"POST"})
    cancel_path: RoutePath = "/api/ai-coach/cancel"
    identity: tuple[HeaderName, ...] = ("Authorization",)
    begins: Begins = "absent"
    announce: bool = False
    cancel_grace_s: SecondsOrNone = 30
    fence_timeout_s: SecondsOrNone = 5
    confirm_on: Literal["delivered", "sent"] = "delivered"
    stream_ids: Literal["anywhere", "before_text"] = "anywhere"
    terminal: tuple[Frame, ...] = ()
    inspect_bytes_max: CountOrNone = 1_048_576
    turns_per_principal_max: CountOrNone = 1000
    cancels_per_minute_max: CountOrNone = 600
    on: Leaving = Leaving()
    capture: Annotated[dict[CaptureName, Sources], BeforeValidator(_over_defaults)] = CAPTURE

    def reaction(self, cause: Cause) -> Reaction:
        """Say what a cause of an early end means."""
        return self.on.reaction(cause)

    @property
    def route(self) -> str:
        """Its name in journal and log: the path, with the methods where these are not just POST."""
        return self.path if self.methods == {"POST"} else f"{','.join(sorted(self.methods))} {self.path}"


class Guard(Section):
    """`[[guard]]`: a read that must not show a cancelled conversation (M11).

    Its path has `{conversation_id}`, or its answer is JSON with a list, or both: `list` is the pointer to the list,
    `id` the pointer within an entry. An answer of more than `bytes_max` is not looked into.
    """

    path: RoutePath
    methods: Annotated[frozenset[Method], Field(min_length=1)] = frozenset({"GET"})
    list_: Pointer | None = Field(default=None, alias="list")
    id: Pointer = "/id"
    bytes_max: CountOrNone = 4_194_304


class JournalSettings(Section):
    """`[journal]`: the SQLite file and how long it remembers."""

    path: JournalPath = "sidecar.db"
    temp_ttl_s: Seconds = 600
    retention_s: Seconds = 604_800
    tombstone_ttl_s: Seconds = 600
    tombstones_per_principal_max: CountOrNone = 1000


class Console(Section):
    """`[console]`: the operator's address, and the names by which it may be asked for besides."""

    address: ConsoleAddress = "127.0.0.1:9901"
    token: Token = ""
    hosts: tuple[HostName, ...] = ()
    outbox_age_max_s: Seconds = 3600


class Log(Section):
    """`[log]`."""

    format: Literal["auto", "json", "console"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(Section):
    """The whole file."""

    preset: PresetName = ""
    listen: Listen = Listen()
    upstream: Upstream
    admin: Admin = Admin()
    chat: tuple[Chat, ...] = (Chat(),)
    guard: tuple[Guard, ...] = ()
    journal: JournalSettings = JournalSettings()
    console: Console = Console()
    log: Log = Log()
    tracing: Tracing = Tracing()

    @property
    def admin_url(self) -> str:
        """Where the admin API is: by default at the upstream."""
        return self.admin.url or self.upstream.url

    @property
    def admin_tls(self) -> ClientTls:
        """How the admin API is known: at the upstream's own address, by default, as the upstream is."""
        return self.admin.tls or (ClientTls() if self.admin.url else self.upstream.tls)

    def plan(self, chat: Chat | None) -> Plan:
        """Say what can be owed for a route's turns (None: a route that is no longer configured)."""
        calls = self.admin.calls
        needed = calls[StepKind.ROLLBACK].needs if StepKind.ROLLBACK in calls else frozenset()
        sources = [source for name in needed for source in (chat.capture if chat else {}).get(name, ())]
        return Plan(
            needs={kind: call.needs for kind, call in calls.items()},
            cancel_tells=any(source.place is Place.CANCEL_JSON for source in sources),
            keeps=chat.on.keeps if chat else frozenset(),
            looks_after_s=(0.0, *self.admin.verify_after_s),
        )
