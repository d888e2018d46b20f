"""Values checked against each other: what is well-formed by itself, and yet cannot work together. Pure.

Each rule is a generator of problems; a problem names the places that the rule looked at (`relies_on`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.capture.route import compile_path
from sidecar.capture.sources import REQUEST_PLACES, Place
from sidecar.capture.template import names_in, names_in_json
from sidecar.config.address import TcpAddress, parse_address
from sidecar.config.leaving import MAY_RETURN
from sidecar.config.problems import Problem
from sidecar.config.routes import check_routes
from sidecar.config.upstream import ClientTls
from sidecar.config.urls import is_https
from sidecar.config.values import OFF, OWN_NAMES
from sidecar.turn.state import Cause, Policy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.config.problems import Loc
    from sidecar.config.settings import Call, Chat, Settings

_VERIFY: Final = "verify"


def check_meaning(settings: Settings) -> Iterator[Problem]:
    """Give every problem between values that are each well-formed."""
    yield from _check_calls(settings)
    yield from _check_pace(settings)
    yield from _check_tls(settings)
    for index, chat in enumerate(settings.chat):
        yield from _check_begins(settings, chat, ("chat", index))
        yield from _check_captures(chat, ("chat", index))
        yield from _check_leaving(chat, ("chat", index, "on"))
    yield from check_routes(settings)
    yield from _check_console(settings)


def _check_calls(settings: Settings) -> Iterator[Problem]:
    admin = settings.admin
    calls = {
        "cancel": admin.cancel,
        "rollback": admin.rollback,
        "confirm": admin.confirm,
        "rollback_turn": admin.rollback_turn,
        _VERIFY: admin.verify,
    }
    captured = _captured_names(settings)
    for name, call in calls.items():
        if not call:
            continue
        loc = ("admin", name)
        # `verify` is also asked before there is a turn.
        known = captured if name == _VERIFY else (*captured, *OWN_NAMES)
        yield from _check_names(call, loc, known, len(settings.chat))
        if both := sorted(call.done & call.gone):
            problem = f"{', '.join(map(str, both))} is in done as well; let a status be in one of the two"
            yield Problem((*loc, "gone"), problem, relies_on=((*loc, "done"), (*loc, "gone")))


def _captured_names(settings: Settings) -> tuple[str, ...]:
    names = [name for chat in settings.chat for name in (*chat.capture, *compile_path(chat.path).names)]
    return tuple(dict.fromkeys(names or ("request_id", "conversation_id")))


def _check_names(call: Call, loc: Loc, known: tuple[str, ...], chats: int) -> Iterator[Problem]:
    parts = {(*loc, "path"): names_in(call.path), (*loc, "json"): names_in_json(call.json_)}
    parts |= {(*loc, "headers", name): names_in(value) for name, value in call.headers.items()}
    for part, names in parts.items():
        for name in sorted(names.difference(known)):
            relied = [("chat", index, *below) for index in range(chats) for below in (("capture", name), ("path",))]
            yield Problem(part, *_unknown_name(name, known), relies_on=(part, *relied))


def _unknown_name(name: str, known: tuple[str, ...]) -> tuple[str, str]:
    choice = f"write one of {', '.join(f'{{{one}}}' for one in known)}"
    if name in OWN_NAMES:
        return f"'{{{name}}}' is not known yet when this call is made", choice
    return f"'{{{name}}}' is captured nowhere", f"{choice}, or add chat.capture.{name}"


def _check_pace(settings: Settings) -> Iterator[Problem]:
    admin, loc = settings.admin, ("admin", "backoff_first_s")
    if admin.backoff_first_s > admin.backoff_max_s:
        what = f"the first wait is longer than the longest, {admin.backoff_max_s:g} s"
        yield Problem(
            loc, what, "write a shorter one, or raise admin.backoff_max_s", relies_on=(loc, ("admin", "backoff_max_s"))
        )


def _check_tls(settings: Settings) -> Iterator[Problem]:
    """Check that what is asked of TLS can be had: over https, with a key that has its certificate."""
    sections = (
        ("upstream", settings.upstream.url, settings.upstream.tls),
        ("admin", settings.admin_url, settings.admin.tls or ClientTls()),
    )
    for section, url, tls in sections:
        loc, urls = (section, "tls"), (("upstream", "url"), ("admin", "url"))
        if tls != ClientTls() and not is_https(url):
            what, mend = f"is of no effect: {section}.url is not https", "write an https URL, or leave this section out"
            yield Problem(loc, what, mend, relies_on=(loc, *urls))
        if tls.key is not None and tls.cert is None:
            yield Problem((*loc, "key"), "has no certificate", f"write {section}.tls.cert, too", (loc,))
        if tls.ca is not None and not tls.verify:
            what = "is of no effect with verify = false"
            yield Problem((*loc, "ca"), what, "leave verify out, and the server is known by it", (loc,))


def _check_begins(settings: Settings, chat: Chat, loc: Loc) -> Iterator[Problem]:
    if chat.begins == "probe" and not settings.admin.verify:
        mend = "add admin.verify, or write 'absent' or 'always'"
        relied = ((*loc, "begins"), ("admin", "verify"))
        yield Problem((*loc, "begins"), "'probe' asks by admin.verify, which is not set", mend, relied)
    if not isinstance(chat.begins, str) and chat.begins.place is Place.REQUEST_PATH:
        yield from _check_path_name(chat, chat.begins.name, (*loc, "begins"), loc)


def _check_captures(chat: Chat, loc: Loc) -> Iterator[Problem]:
    for name, sources in chat.capture.items():
        for index, source in enumerate(sources):
            at = (*loc, "capture", name, index)
            if source.place is Place.REQUEST_PATH:
                yield from _check_path_name(chat, source.name, at, loc)
            if name == "request_id" and source.place not in REQUEST_PLACES:
                what = f"{source.place} comes too late: the request is sent on with its id"
                yield Problem(at, what, "use sources of the request, such as request.header:X-Request-Id", (at,))
    for name in compile_path(chat.path).names:
        if name in OWN_NAMES:
            path = (*loc, "path")
            yield Problem(path, f"{{{name}}} is the sidecar's own value", "give the segment another name", (path,))


def _check_path_name(chat: Chat, name: str, at: Loc, loc: Loc) -> Iterator[Problem]:
    if name not in compile_path(chat.path).names:
        what = f"{chat.path!r} has no segment {{{name}}}"
        yield Problem(at, what, f"write {{{name}}} into the path of this [[chat]]", relies_on=(at, (*loc, "path")))


def _check_leaving(chat: Chat, loc: Loc) -> Iterator[Problem]:
    """Check that only for who may come back is waited, and for no time where it is waited to the end."""
    returning = f"a client that may come back ({', '.join(MAY_RETURN)})"
    for cause in Cause:
        at, reaction = (*loc, cause.value), chat.reaction(cause)
        grace = (*at, "grace_s")
        completes, waits = reaction.policy is Policy.COMPLETE, reaction.grace_s > 0
        if completes and cause not in MAY_RETURN:
            yield Problem(at, f"'complete' is for {returning}", "write 'cancel' or 'keep'", relies_on=(at,))
        if waits and cause not in MAY_RETURN:
            yield Problem(grace, f"a time of grace is for {returning}", "leave it out", relies_on=(grace,))
        elif waits and completes:
            what = "'complete' lets the answer run to its end, however long it takes"
            yield Problem(grace, what, "leave this out, or let the policy be 'cancel' or 'keep'", relies_on=(at,))


def _check_console(settings: Settings) -> Iterator[Problem]:
    console, loc = settings.console, ("console", "address")
    if console.address == OFF:
        return
    address, ours = parse_address(console.address), parse_address(settings.listen.address)
    if not address.is_loopback and not console.token:
        mend = "set console.token, or listen on 127.0.0.1"
        what = f"{address} can be reached from other machines, and no token is set"
        yield Problem(loc, what, mend, relies_on=(loc, ("console", "token")))
    shared = address == ours and not (isinstance(address, TcpAddress) and address.port == 0)
    if shared:
        what = "is listen.address too, where the clients come in"
        yield Problem(loc, what, "give the console a port of its own", relies_on=(loc, ("listen", "address")))
