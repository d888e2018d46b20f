"""Every problem at once, each a line: the key, what is wrong, the mend; never a secret."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import pytest

from sidecar.config import Settings, load_table
from sidecar.config.explain import keys_of
from sidecar.config.problems import Problem, key_text, touches
from sidecar.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.config.problems import Loc

UPSTREAM = '\n[upstream]\nurl = "http://127.0.0.1:9000"\n'


def problems_of(text: str, env: Mapping[str, str] | None = None) -> list[str]:
    """Give the problems of a TOML text, to which the upstream is added where it has none."""
    table = tomllib.loads(text)
    if "upstream" not in table:
        table = tomllib.loads(text + UPSTREAM)
    with pytest.raises(ConfigError) as caught:
        load_table(table, env or {})
    return caught.value.problems


ENDED_FOR_GOOD = ("upload_cut", "requested", "operator", "upstream_failed", "restarted", "expired", "shutdown")
ONE_EACH = [
    # unknown keys
    ("[listn]", "listn: is no setting; did you mean listen?"),
    ('listen.adress = "x"', "listen.adress: is no setting; did you mean address?"),
    ("listen.ADDRESS = 1", "listen.ADDRESS: is no setting; did you mean address?"),
    ("listen.idle_timeout_s = 5", "listen.idle_timeout_s: is no setting; did you mean upstream.idle_timeout_s?"),
    ("log.zzz = 1", "log.zzz: is no setting; known here: format, level"),
    ('admin.rollback = {method = "PUT", path = "/", jsn = 1}', "admin.rollback.jsn: is no setting; did you mean json?"),
    (
        'admin.rollback = {method = "PUT", path = "/", json_ = 1}',
        "admin.rollback.json_: is no setting; did you mean json?",
    ),
    ('[[chat]]\n"my key" = 1', 'chat[0]."my key": is no setting; known here: path, methods, cancel_path, '),
    ("[admin.rolback_turn]", "admin.rolback_turn: is no setting; did you mean rollback_turn?"),
    ("[[chat]]\non.resett = 1", "chat[0].on.resett: is no setting; did you mean reset?"),
    (
        '[[chat]]\non.zzz = "keep"',
        "chat[0].on.zzz: is no setting; known here: reset, closed, vanished, stalled, upload_",
    ),
    ("[[chat]]\non.closed = {grace = 5}", "chat[0].on.closed.grace: is no setting; did you mean grace_s?"),
    ("log.path = 5", "log.path: is no setting; known here: format, level"),
    ('[[chat]]\nclosed = "keep"', "chat[0].closed: is no setting; did you mean chat.on.closed?"),
    ('[[guard]]\npath = "/{conversation_id}"\nlst = "/x"', "guard[0].lst: is no setting; did you mean list?"),
    # wrong types
    ("listen.address = 8080", "listen.address: must be text, is a number; write it in quotes"),
    ("journal.path = 1979-05-27", "journal.path: must be text, is a date or time; write it in quotes"),
    ('listen.head_timeout_s = "ten"', "listen.head_timeout_s: must be a number, is text; write it without quotes"),
    ("listen.head_timeout_s = []", "listen.head_timeout_s: must be a number, is an array; write it without quotes"),
    ("listen.head_timeout_s = true", "listen.head_timeout_s: must be a number, is true; write it without quotes"),
    ("admin.attempts_max = 1.5", "admin.attempts_max: must be a whole number, is a number with a fraction; "),
    ("admin.attempts_max = false", "admin.attempts_max: must be a number, is false; write it without quotes"),
    ('admin.attempts_max = "many"', "admin.attempts_max: must be a whole number, is text; write it without quotes"),
    ('[[chat]]\nannounce = "perhaps"', "chat[0].announce: must be true or false, is text; write it without quotes"),
    ("[[chat]]\nannounce = []", "chat[0].announce: must be true or false, is an array; write it without quotes"),
    ('[[chat]]\nmethods = "POST"', "chat[0].methods: must be an array, is text; enclose it in [ ]"),
    ('[[chat]]\nterminal = "x"', "chat[0].terminal: must be an array, is text; enclose it in [ ]"),
    (
        '[chat]\npath = "/"',
        "chat: must be an array, is a table; enclose it in [ ]; a section that may come several times is",
    ),
    ("chat = [5]", "chat[0]: must be a table, is a number; "),
    ('listen = "x"', "listen: must be a table, is text; "),
    ('admin.headers = ["A: b"]', "admin.headers: must be a table, is an array; "),
    ("[[chat]]\ncapture = 5", "chat[0].capture: must be a table, is a number; "),
    ("[[chat]]\ncapture.x = 5", "chat[0].capture.x: must be an array, is a number; "),
    ("[[chat]]\ncapture.x = [5]", "chat[0].capture.x[0]: must be a source in quotes, is a number; "),
    ("[[chat]]\nbegins = true", "chat[0].begins: must be a source in quotes, is true or false; "),
    ("upstream = 5", "upstream: must be a table, is a number; "),
    ("[[guard]]", 'guard[0].path: is missing; write for example path = "/api/conversations/{conversation_id}"'),
    ("guard = [5]", "guard[0]: must be a table, is a number; "),
    ('[guard]\npath = "/"', "guard: must be an array, is a table; "),
    ('[[guard]]\npath = "/x"\nlist = 5', "guard[0].list: must be text, is a number; write it in quotes"),
    # calls
    (
        "admin.cancel = true",
        "admin.cancel: must be a call or false, is true; write { method = ..., path = ... }, or false",
    ),
    (
        'admin.cancel = "/x"',
        "admin.cancel: must be a call or false, is text; write { method = ..., path = ... }, or false",
    ),
    ('admin.cancel.path = "/x"', 'admin.cancel.method: is missing; write for example method = "POST"'),
    ('admin.confirm.method = "PUT"', "admin.confirm.path: is missing; write for example path = "),
    # out of range
    ("listen.write_timeout_s = 0", "listen.write_timeout_s: must be greater than 0, is 0; write such a number"),
    ("listen.shutdown_grace_s = -0.5", "listen.shutdown_grace_s: must be at least 0, is -0.5; write such a number"),
    (
        "journal.retention_s = 1e12",
        "journal.retention_s: must be at most 315360000, is 1000000000000; write such a number",
    ),
    ("admin.attempts_max = 0", "admin.attempts_max: must be at least 1, is 0; write such a number"),
    (f"admin.attempts_max = {'9' * 4000}", f"admin.attempts_max: must be at most 2147483647, is {'9' * 40}..."),
    ("admin.timeout_s = inf", "admin.timeout_s: must be a finite number, is inf or nan; "),
    ("admin.timeout_s = nan", "admin.timeout_s: must be a finite number, is inf or nan; "),
    ("listen.workers = 0", "listen.workers: must be at least 1, is 0"),
    ("listen.workers = true", "listen.workers: must be a number, is true; write it without quotes"),
    ('log.level = "loud"', "log.level: must be 'debug', 'info', 'warning' or 'error'; write one of these"),
    ("admin.verify_after_s = [2, 2]", "admin.verify_after_s: is not ascending; write the seconds in order, each once"),
    ("admin.verify_after_s = [0, 2]", "admin.verify_after_s[0]: must be greater than 0, is 0; write such a number"),
    ("admin.verify_after_s = 2", "admin.verify_after_s: must be an array, is a number; enclose it in [ ]"),
    (
        'listen.half_close = "keep"',
        "listen.half_close: a client that has finished sending cannot be told from one that ",
    ),
    ('[[chat]]\nconfirm_on = "seen"', "chat[0].confirm_on: must be 'delivered' or 'sent'; write one of these"),
    # causes and policies
    (
        '[[chat]]\non.closed = "finish"',
        "chat[0].on.closed: 'finish' is none of cancel, complete, keep; write one, or { policy = ..., grace_s = ... }",
    ),
    (
        "[[chat]]\non.closed = 5",
        "chat[0].on.closed: must be a policy or a table, is a number; write one of cancel, complete, keep, or { policy",
    ),
    (
        '[[chat]]\non.closed.policy = "finish"',
        "chat[0].on.closed.policy: must be 'cancel', 'complete' or 'keep'; write one of these",
    ),
    ("[[chat]]\non.closed.grace_s = -1", "chat[0].on.closed.grace_s: must be at least 0, is -1; write such a number"),
    ("[[chat]]\non = 5", "chat[0].on: must be a table, is a number; "),
    *(
        (
            f'[[chat]]\non.{cause} = "complete"',
            f"chat[0].on.{cause}: 'complete' is for a client that may come back (reset, closed, vanished, stalled); ",
        )
        for cause in ENDED_FOR_GOOD
    ),
    *(
        (
            f"[[chat]]\non.{cause}.grace_s = 5",
            f"chat[0].on.{cause}.grace_s: a time of grace is for a client that may come back (reset, closed, ",
        )
        for cause in ENDED_FOR_GOOD
    ),
    (
        '[[chat]]\non.closed = {policy = "complete", grace_s = 5}',
        "chat[0].on.closed.grace_s: 'complete' lets the answer run to its end, however long it takes; leave this out, ",
    ),
    # addresses and URLs
    ('listen.address = "8080"', "listen.address: '8080' is not host:port; write for example '127.0.0.1:8080'"),
    ('console.address = "on"', "console.address: 'on' is not host:port; write for example 'on:8080'"),
    (
        'console.address = "0.0.0.0:1"',
        "console.address: 0.0.0.0:1 can be reached from other machines, and no token is set; ",
    ),
    ('console.address = "127.0.0.1:8080"', "console.address: is listen.address too, where the clients come in; "),
    ('console.token = "a b"', "console.token: has spaces, control or non-ASCII characters; "),
    ('upstream.url = "ftp://x"', "upstream.url: is no http or https URL with a host; "),
    ('upstream.url = "127.0.0.1:9000"', "upstream.url: is no http or https URL with a host; "),
    ('upstream.url = "http://"', "upstream.url: is no http or https URL with a host; "),
    ('upstream.url = "http://x:99999"', "upstream.url: has no valid host or port; "),
    ('upstream.url = "http://x:http"', "upstream.url: has no valid host or port; "),
    ('upstream.url = "http://[::1"', "upstream.url: has no valid host or port; "),
    ('upstream.url = "http://x:0"', "upstream.url: has port 0, "),
    ('upstream.url = "http://ä.de"', "upstream.url: is empty, or has spaces, control or non-ASCII characters; "),
    ('upstream.url = "http://x\\n"', "upstream.url: is empty, or has spaces, control or non-ASCII characters; "),
    ('upstream.url = ""', "upstream.url: is empty, or has spaces, control or non-ASCII characters; "),
    ('upstream.url = "http://x/api"', "upstream.url: has a path, but the request target is relayed as it is; "),
    ('upstream.url = "http://x?a"', "upstream.url: has a query or fragment; leave out "),
    ('upstream.url = "http://x#"', "upstream.url: has a query or fragment; leave out "),
    ('admin.url = "http://x/api?"', "admin.url: has a query or fragment; leave out "),
    ('admin.url = "http://u:pw@x"', "admin.url: carries a user or password; "),
    (
        'listen.trusted_proxies = ["10.1.0.0/8"]',
        "listen.trusted_proxies[0]: '10.1.0.0/8' names an address within a network",
    ),
    ('listen.trusted_proxies = ["x"]', "listen.trusted_proxies[0]: 'x' is no network; "),
    ("listen.trusted_proxies = [10]", "listen.trusted_proxies[0]: must be a network in quotes, is a number; "),
    # methods, headers, paths
    (
        '[[chat]]\nmethods = ["post"]',
        "chat[0].methods[0]: 'post' is not in capitals, and methods tell case apart; write 'POST'",
    ),
    ('[[chat]]\nmethods = ["PO ST"]', "chat[0].methods[0]: 'PO ST' is no HTTP method (a token of RFC 9110); "),
    ("[[chat]]\nmethods = []", "chat[0].methods: is empty; write at least one, "),
    ('[[chat]]\nidentity = ["A:"]', "chat[0].identity[0]: 'A:' is no header's name (a token of RFC 9110); "),
    ('admin.headers."a b" = "x"', "admin.headers.\"a b\": 'a b' is no header's name (a token of RFC 9110); "),
    ('admin.headers.A = "x\\r\\nB: c"', "admin.headers.A: has a line break or other control characters; remove them"),
    ('admin.headers.A = "x "', "admin.headers.A: begins or ends with white space; remove it"),
    ("admin.headers.A = 5", "admin.headers.A: must be text, is a number; write it in quotes"),
    ('admin.confirm = {method = "PUT", path = "x"}', "admin.confirm.path: does not begin with '/'; "),
    ('admin.confirm = {method = "PUT", path = "/a b"}', "admin.confirm.path: has '#', spaces, control or non-ASCII "),
    ('admin.confirm = {method = "PUT", path = "/a#b"}', "admin.confirm.path: has '#', spaces, control or non-ASCII "),
    ('admin.confirm = {method = "PUT", path = "/{"}', "admin.confirm.path: a lone '{' in '/{'; write '{{' for a brace"),
    ('[[chat]]\npath = "x"', "chat[0].path: the path 'x' does not begin with '/'; write '/x'"),
    ('[[chat]]\npath = "/x{y}"', "chat[0].path: 'x{y}' in '/x{y}' is a name and more; "),
    ('[[chat]]\ncancel_path = "/x?"', "chat[0].cancel_path: '/x?' is more than a path; "),
    # statuses
    ('admin.confirm = {method = "PUT", path = "/", done = []}', "admin.confirm.done: is empty; "),
    (
        'admin.confirm = {method = "PUT", path = "/", done = [99]}',
        "admin.confirm.done[0]: must be at least 100, is 99; ",
    ),
    (
        'admin.confirm = {method = "PUT", path = "/", gone = [600]}',
        "admin.confirm.gone[0]: must be at most 599, is 600; ",
    ),
    (
        'admin.confirm = {method = "PUT", path = "/", done = [404, 410, 200]}',
        "admin.confirm.gone: 404, 410 is in done as well; let a status be in one of the two",
    ),
    # JSON
    (
        'admin.confirm = {method = "PUT", path = "/", json = {a = [1979-05-27]}}',
        "admin.confirm.json: holds a date or time",
    ),
    ('admin.confirm = {method = "PUT", path = "/", json = {a = inf}}', "admin.confirm.json: holds inf or nan, "),
    (
        'admin.confirm = {method = "PUT", path = "/", json = {a = "{"}}',
        "admin.confirm.json: has a brace that belongs to no",
    ),
    ('admin.confirm = {method = "PUT", path = "/", headers = {A = "}"}}', "admin.confirm.headers.A: has a brace that "),
    # names
    (
        'admin.cancel = {method = "POST", path = "/{reqest_id}"}',
        "admin.cancel.path: '{reqest_id}' is captured nowhere; write one of {request_id}, {conversation_id}, ",
    ),
    ('admin.cancel = {method = "POST", path = "/", json = ["{x}"]}', "admin.cancel.json: '{x}' is captured nowhere; "),
    (
        'admin.cancel = {method = "POST", path = "/", headers = {A = "{x}"}}',
        "admin.cancel.headers.A: '{x}' is captured nowhere; ",
    ),
    (
        'admin.verify = {method = "GET", path = "/{turn_id}"}',
        "admin.verify.path: '{turn_id}' is not known yet when this call is made; write one of {request_id}, ",
    ),
    (
        'admin.rollback_turn = {method = "DELETE", path = "/{turn_id}/{message_id}"}',
        "admin.rollback_turn.path: '{message_id}' is captured nowhere; write one of {request_id}, {conversation_id}, ",
    ),
    ("[[chat]]\ncapture.a-b = []", "chat[0].capture.a-b: is no name that a template can use; "),
    (
        "[[chat]]\ncapture.turn_id = []",
        "chat[0].capture.turn_id: is the sidecar's own value, which templates can use as",
    ),
    ('[[chat]]\npath = "/{principal}"', "chat[0].path: {principal} is the sidecar's own value; "),
    # sources
    ('[[chat]]\ncapture.x = ["x"]', "chat[0].capture.x[0]: 'x' is not PLACE:NAME; "),
    ('[[chat]]\ncapture.x = ["request.json:/a", "x:y"]', "chat[0].capture.x[1]: 'x' is no place to look at; "),
    ('[[chat]]\ncapture.x = ["request.path:y"]', "chat[0].capture.x[0]: '/api/ai-coach/chat' has no segment {y}; "),
    (
        '[[chat]]\ncapture.request_id = ["request.query:r", "response.header:R"]',
        "chat[0].capture.request_id[1]: response.header comes too late: the request is sent on with its id; ",
    ),
    (
        '[[chat]]\nbegins = "abset"',
        "chat[0].begins: 'abset' is none of absent, always, probe; write one, or a request source",
    ),
    ('[[chat]]\nbegins = "x:y"', "chat[0].begins: 'x' is no place to look at; "),
    (
        '[[chat]]\nbegins = "stream.json:/x"',
        "chat[0].begins: stream.json is not known before the request is forwarded; ",
    ),
    ('[[chat]]\nbegins = "request.path:x"', "chat[0].begins: '/api/ai-coach/chat' has no segment {x}; "),
    (
        '[[chat]]\nbegins = "probe"',
        "chat[0].begins: 'probe' asks by admin.verify, which is not set; add admin.verify, or ",
    ),
    ('[[chat]]\nterminal = ["stream.json:x"]', "chat[0].terminal[0]: 'x' is no JSON pointer (RFC 6901); "),
    ('[[chat]]\nterminal = [""]', "chat[0].terminal[0]: '' is not one line; "),
    # values against each other
    ("admin.backoff_first_s = 301", "admin.backoff_first_s: the first wait is longer than the longest, 300 s; "),
    (
        '[[chat]]\n[[chat]]\ncancel_path = "/c"',
        "chat[1].path: chat[0] already has POST /api/ai-coach/chat; merge the two, ",
    ),
    (
        '[[chat]]\npath = "/{a}/x"\n[[chat]]\npath = "/{b}/%78"\nmethods = ["PUT", "POST"]',
        "chat[1].path: chat[0] already has POST /{a}/x; merge the two, ",
    ),
    (
        '[[chat]]\npath = "/a"\ncancel_path = "/b"\n[[chat]]\npath = "/b"\ncancel_path = "/c"',
        "chat[0].cancel_path: POST /b is the chat endpoint of chat[1]; ",
    ),
    ('[[chat]]\npath = "/a"\ncancel_path = "/a"', "chat[0].cancel_path: POST /a is the chat endpoint of chat[0]; "),
    # guards
    (
        '[[guard]]\npath = "/{conversationId}"',
        "guard[0].path: '/{conversationId}' has no {conversation_id}, and no list is named: nothing tells what to ",
    ),
    ('[[guard]]\npath = "/x"\nid = "/key"', "guard[0].path: '/x' has no {conversation_id}, and no list is named: "),
    ('[[guard]]\npath = "/x"\nlist = "items"', "guard[0].list: is no JSON pointer (RFC 6901): 'items' does not begin "),
    ('[[guard]]\npath = "x"\nlist = ""', "guard[0].path: the path 'x' does not begin with '/'; write '/x'"),
    ('[[guard]]\npath = "/x"\nlist = ""\nmethods = ["get"]', "guard[0].methods[0]: 'get' is not in capitals, "),
    (
        '[[guard]]\npath = "/x"\nlist = ""\nmethods = ["GET", "PUT"]\n[[chat]]\npath = "/x"\nmethods = ["PUT"]',
        "guard[0].path: PUT /x is the chat endpoint of chat[0]; guard reads of conversations, by another path ",
    ),
    (
        '[[guard]]\npath = "/api/ai-coach/cancel"\nlist = ""\nmethods = ["POST"]',
        "guard[0].path: POST /api/ai-coach/cancel is the cancel endpoint of chat[0]; guard reads of conversations, ",
    ),
    (
        '[[guard]]\npath = "/{conversation_id}"\n[[guard]]\npath = "/{id}"\nlist = ""',
        "guard[1].path: guard[0] already has GET /{conversation_id}; merge the two, or give one another path or method",
    ),
    # the journal
    ('journal.path = ""', "journal.path: is empty or has a NUL; name a file, "),
    ('journal.path = ":memory:"', "journal.path: is no file's path, but what is owed must outlive the process; "),
]


@pytest.mark.parametrize(("text", "line"), ONE_EACH, ids=[line[:60] for _, line in ONE_EACH])
def test_each_mistake_has_its_line_and_no_other(text: str, line: str) -> None:
    [problem] = problems_of(text)
    assert problem.startswith(line)
    assert "; " in problem or problem.endswith("?")


GOOD = [
    'console.address = "off"',
    'console.address = "0.0.0.0:9901"\nconsole.token = "abc"',
    'console.address = "unix:/run/console.sock"',
    'console.address = "127.0.0.1:0"\nlisten.address = "127.0.0.1:0"',
    'admin.url = "https://[::1]:9000/a/b"',
    'admin.confirm = {method = "PUT", path = "/{turn_id}?p={principal}", headers = {A = "{conversation_id} {{x}}"}}',
    'admin.confirm = {method = "PUT", path = "/{app}"}\n[[chat]]\npath = "/{app}/c"\ncapture.x = ["request.path:app"]',
    '[[chat]]\npath = "/a"\nmethods = ["PUT"]\ncancel_path = "/a"',
    '[[chat]]\npath = "/a"\n[[chat]]\npath = "/a"\nmethods = ["PUT"]',
    '[[chat]]\nbegins = "request.json:/isNew"',
    '[[chat]]\nbegins = "probe"\n[admin.verify]\nmethod = "GET"\npath = "/{conversation_id}"',
    '[[chat]]\nterminal = ["data: [DONE]", "stream.json:/event ~ ^(message_end)$"]',
    "chat = []",
    '[[chat]]\non = {reset = "complete", closed = {policy = "complete"}, vanished = {grace_s = 5}, stalled = "keep"}',
    '[[chat]]\non.stalled = {policy = "keep", grace_s = 5}',
    *(f'[[chat]]\non.{cause} = {{policy = "keep", grace_s = 0}}' for cause in ENDED_FOR_GOOD),
    '[[chat]]\nconfirm_on = "sent"\nfence_timeout_s = 0',
    "admin.verify_after_s = []",
    'listen.half_close = "cancel"',
    'admin.rollback_turn = {method = "DELETE", path = "/{m}/{turn_id}"}\n[[chat]]\ncapture.m = ["stream.json:/m"]',
    '[[guard]]\npath = "/c/{conversation_id}"\n[[guard]]\npath = "/c"\nlist = ""\nid = ""',
    '[[guard]]\npath = "/c/{conversation_id}"\nlist = "/items"\nid = "/key"\nmethods = ["GET", "HEAD"]',
    '[[guard]]\npath = "/c/{conversation_id}"\nid = "/never looked at"',
    '[[guard]]\npath = "/api/ai-coach/chat"\nlist = ""',
    "listen.shutdown_grace_s = 0\nadmin.backoff_first_s = 300",
    'listen.trusted_proxies = ["10.0.0.0/8", "::1/128", "192.168.1.7"]',
]


@pytest.mark.parametrize("text", GOOD)
def test_what_is_right_loads(text: str) -> None:
    assert load_table(tomllib.loads(text + UPSTREAM), {}).upstream.url == "http://127.0.0.1:9000"


def test_all_problems_come_at_once_in_the_order_of_the_sections() -> None:
    text = """
        [log]
        level = "loud"
        [[chat]]
        path = "/a"
        identity = ["A B"]
        [[chat]]
        path = "/a"
        on.expired = "complete"
        [[guard]]
        path = "/x"
        list = 5
        [[guard]]
        path = "/y"
        [upstream]
        [admin]
        url = "${NOWHERE}"
        backoff_first_s = 999
        cancel = { method = "post", path = "/{x}" }
        rollback = { method = "POST", path = "/{y}" }
        [listn]
        """
    assert [line.split(":")[0] for line in problems_of(text)] == [
        "listn",
        "upstream.url",
        "admin.url",
        "admin.cancel.method",
        "admin.rollback.path",
        "admin.backoff_first_s",
        "chat[0].identity[0]",
        "chat[1].on.expired",
        "chat[1].path",
        "guard[0].list",
        "guard[1].path",
        "log.level",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('admin.cancel = {method = "POST", path = "/{x}"}\n[[chat]]\ncapture.x = ["?"]', "chat[0].capture.x[0]: "),
        ('[[chat]]\npath = "a"\n[[chat]]', "chat[0].path: "),
        ('[[chat]]\nbegins = "probe"\n[admin]\nverify = true', "admin.verify: "),
        ("admin.backoff_first_s = 999\nadmin.backoff_max_s = true", "admin.backoff_max_s: "),
        ('console.address = "0.0.0.0:1"\nconsole.token = " "', "console.token: "),
        ('[[chat]]\npath = "?"\ncapture.x = ["request.path:y"]', "chat[0].path: "),
        ('[[guard]]\npath = "/x"\nlist = 5', "guard[0].list: "),
        ('[[guard]]\npath = "?"\n[[guard]]\npath = "/{conversation_id}"', "guard[0].path: "),
        ('[[chat]]\non.requested = {policy = "finish", grace_s = 0}', "chat[0].on.requested.policy: "),
    ],
)
def test_what_only_follows_from_a_mistake_is_not_told(text: str, line: str) -> None:
    [problem] = problems_of(text)
    assert problem.startswith(line)


SECRET = "hunter2-correct-horse"


@pytest.mark.parametrize(
    "text",
    [
        'console.token = "? ${S}"',
        'console.token = ["${S}"]',
        'admin.headers.A = "${S}\\n"',
        'admin.headers.A = ["${S}"]',
        'admin.headers."a b" = "${S}"',
        'admin.confirm = {method = "PUT", path = "/", headers = {A = "{${S}"}}',
        'admin.confirm = {method = "PUT", path = "/", json = {a = "{ ${S}"}}',
        'admin.confirm = {method = "PUT", path = "/", json = "${S}", done = 5}',
        'admin.confirm = "${S}"',
        'upstream.url = "http://u:${S}@x"',
        'admin.url = "http://x/?key=${S}"',
    ],
)
def test_no_secret_shows_be_it_written_out_or_from_the_environment(text: str) -> None:
    for env, written in (({"S": SECRET}, text), ({}, text.replace("${S}", SECRET))):
        lines = problems_of(written, env)
        assert SECRET not in "\n".join(lines)


def test_what_came_from_the_environment_shows_as_its_name() -> None:
    assert problems_of('listen.address = "${S}"', {"S": SECRET})[0].startswith(
        "listen.address: '${S}' is not host:port; "
    )
    awkward = "it's a\tsecret"
    [line] = problems_of('[[chat]]\npath = "${S}"', {"S": awkward})
    assert "secret" not in line
    assert "${S}" in line


def test_the_mend_of_an_unknown_name_is_whole() -> None:
    [line] = problems_of('admin.cancel = {method = "POST", path = "/{a}"}')
    assert line.endswith("write one of {request_id}, {conversation_id}, {turn_id}, {principal}, or add chat.capture.a")


def test_pieces_of_the_file_are_kept_on_one_line() -> None:
    [line] = problems_of('[[chat]]\npath = "a\\nb"')
    assert line == "chat[0].path: the path 'a\\nb' does not begin with '/'; write '/a\\nb'"
    assert problems_of('"a\\nb" = 1')[0].startswith(r'"a\nb": is no setting')


def test_every_key_is_suggested_for_a_slip_of_it() -> None:
    for section, table in keys_of(Settings).items():
        for key in keys_of(table) if table else ():
            slip = f"{key}x"
            head = f"[[{section}]]" if section in {"chat", "guard"} else f"[{section}]"
            text = f"{head}\n{slip} = 1"
            lines = problems_of(text + ("\nurl = 'http://x'" if section == "upstream" else ""))
            assert any(f"{slip}: is no setting; did you mean {key}?" in line for line in lines), lines


@pytest.mark.parametrize(
    ("loc", "text"),
    [((), ""), (("a",), "a"), (("a", 0, "b-c", 12, "d"), "a[0].b-c[12].d"), (("a", "b c", ""), 'a."b c".""')],
)
def test_keys_are_written_as_in_toml(loc: Loc, text: str) -> None:
    assert key_text(loc) == text


def test_a_place_touches_what_holds_it_and_what_it_holds() -> None:
    assert touches(("a", "b"), ("a",))
    assert touches(("a",), ("a", "b"))
    assert touches(("a", 1), ("a", 1))
    assert not touches(("a", 1), ("a", 2, "x"))


def test_short_values_are_not_masked() -> None:
    assert Problem(("k",), "a1 and abcd", "mend it").line({"A": "a", "B": "abcd"}) == "k: a1 and ${B}; mend it"


def test_what_a_terminal_might_obey_is_escaped() -> None:
    (problem,) = problems_of('[[chat]]\nbegins = "request.json:\\u001b[31mred"')
    assert problem.isprintable()
    assert "\\x1b[31mred" in problem
