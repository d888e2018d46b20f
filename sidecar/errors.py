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


class UpstreamTimeoutError(PeerError):
    """The upstream was silent past its limit (504)."""


class UpstreamProtocolError(PeerError):
    """The upstream's answer broke HTTP, or broke off (502 while nothing of it was relayed)."""


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
