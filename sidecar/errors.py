"""Whose fault an error is stands in its type.

`SidecarError` is whatever the sidecar itself raises on purpose. Below it: the operator's mistakes (shown as they are,
without a traceback), the peers' failures (mapped once, at the edge where they occur), and our own bugs.
"""


class SidecarError(Exception):
    """Anything the sidecar raises on purpose."""


class OperatorError(SidecarError):
    """The operator can mend it; the message says what is wrong and how."""


class ConfigError(OperatorError):
    """The configuration cannot be used. `problems` has a line for each problem: the key, what is wrong, the mend."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class JournalRefusedError(OperatorError):
    """The journal file is in use, damaged, or from a newer version: it is left as it is."""


class PeerError(SidecarError):
    """A peer, or the way to it, failed; it can happen to a sidecar without a bug."""


class UpstreamUnreachableError(PeerError):
    """No connection to the upstream could be made, so it heard nothing of the request (502)."""


class UpstreamBusyError(PeerError):
    """No connection to the upstream was free in time, so it heard nothing of the request (503)."""


class UpstreamTimeoutError(PeerError):
    """The upstream was silent past its limit (504)."""


class UpstreamProtocolError(PeerError):
    """The upstream's answer broke HTTP, or broke off (502 while nothing of it was relayed)."""


class MalformedError(PeerError):
    """A message broke HTTP's grammar, or two readers could understand it differently (400, or 502)."""


class TargetTooLongError(MalformedError):
    """A request line is longer than its limit (414)."""


class HeadTooLargeError(MalformedError):
    """A head, or a field of it, is larger than its limit, or has too many fields (431; 502)."""


class UnsupportedError(MalformedError):
    """Well-formed, but nothing that is done here (501)."""


class HeadTimeoutError(PeerError):
    """A request's head did not come in time (408)."""


class BodyTimeoutError(PeerError):
    """Downstream was silent past its limit while its request's body was awaited (408)."""


class OverloadedError(PeerError):
    """Something that is bounded is full; the same request may well succeed later (503)."""


class TooManyError(PeerError):
    """Whoever asks has too much under way already, or asks too often (429)."""


class DownstreamGoneError(PeerError):
    """Downstream left while its request was being read."""


class JournalUnavailableError(PeerError):
    """The journal could not take a change: disk full, input/output error, closed."""


class ForestalledError(SidecarError):
    """The turn was cancelled before its request came; it must not go upstream (law 6)."""


class InProgressError(SidecarError):
    """A request with the same id, of the same principal, is still under way."""


class RollbackPendingError(SidecarError):
    """What an earlier turn left upstream is not undone yet, and this request would get into its way."""


class ConversationGoneError(SidecarError):
    """The request wants to read a conversation that was cancelled (M11)."""


class BugError(SidecarError):
    """Our own mistake: no peer and no operator can cause it."""
