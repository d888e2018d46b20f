"""A connection to the upstream: one request at a time out, and its answer's bytes in, without a task in between.

After `begin`, the receiver hears an end or a failure exactly once, and after `abort` nothing. From that moment on the
connection is no longer its receiver's: it is kept for another request or dropped, and whoever began may not touch it
again. Where the upstream switched protocols, the connection is a tunnel's from then on, to its end.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from sidecar.errors import BugError, UpstreamTimeoutError
from sidecar.upstream.answer import Answer
from sidecar.upstream.requester import Requester, TunnelEnd
from sidecar.upstream.sockets import Probe, ended_in_order, is_tls, read_leftover, tune
from sidecar.wire.framing import NoBody

if TYPE_CHECKING:
    from sidecar.config import Upstream
    from sidecar.upstream.requester import Keeper

__all__ = ["Requester", "TunnelEnd", "UpstreamConnection"]


class UpstreamConnection(asyncio.Protocol):
    """A connection, made by the pool, its keeper."""

    def __init__(self, settings: Upstream, keeper: Keeper) -> None:
        self._settings = settings
        self._keeper = keeper
        self._loop = asyncio.get_running_loop()
        self._answer: Answer | None = None
        self._requester: Requester | TunnelEnd | None = None
        self._tunnel: TunnelEnd | None = None
        self._probe: Probe | None = None  # once it is used again
        self._said_bye = False
        self._hung_up = False
        self._whole = False  # the request
        self._surplus = False
        self._bodiless = False  # the last answer: there are upstreams that send a body where none may be
        self._gone = False
        self._tls = False
        self._paused = False
        self._lost = False
        self._loss: asyncio.Event | None = None  # where it is waited for: an event weighs as much as the rest of this
        self._since = 0.0  # when the upstream last showed life, or was last not the one to be waited for
        self._unsent = 0

    # -- the request ---------------------------------------------------------------------------------------------------

    def begin(self, requester: Requester, *, method: str, offers_upgrade: bool = False) -> None:
        """Begin a request, whose answer goes to the requester. On a closed connection, `answer_failed` follows soon."""
        if self._answer is not None:
            raise BugError("a second request was begun on a connection that is busy")
        self._answer = Answer(requester, method, offers_upgrade=offers_upgrade)
        self._requester = requester
        if self._probe is not None:
            self._probe.begin(encrypted=self._tls)
        self._whole = False
        self._since = self._loop.time()
        if self._gone:
            self._loop.call_soon(self._end_input)
        else:
            self._keeper.silences.start(self)

    def send(self, data: bytes) -> None:
        """Send bytes of the request as they are; nothing happens where the connection is closed."""
        if not self._gone:
            self._since = self._loop.time()
            if self._probe is not None:
                self._probe.sent += len(data)
            self._transport.write(data)

    def request_sent(self) -> None:
        """Say that the request is whole: the upstream's time to answer begins, and the connection may be used again."""
        self._whole = True
        self._since = self._loop.time()

    def end_sending(self) -> None:
        """Say that nothing more will be sent through the tunnel; the upstream may still send."""
        if not self._gone and self._transport.can_write_eof():
            with suppress(OSError):  # a peer that reset a moment ago is about to be told of
                self._transport.write_eof()

    def become_tunnel(self, end: TunnelEnd) -> None:
        """Pass bytes on as they are from now on; whoever has the tunnel sees to its time. For use within `switched`."""
        self._requester = self._tunnel = end
        self._answer = None
        self._keeper.silences.stop(self)

    def pause_reading(self) -> None:
        """Let the upstream wait. Harmless when done twice."""
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on. Harmless when done twice."""
        if self._paused:
            self._paused = False
            self._since = self._loop.time()
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def close(self) -> None:
        """Drop the connection once what was sent is out; for a tunnel that is over."""
        self._requester = self._tunnel = None
        self._mark_gone()
        self._transport.close()

    def hang_up(self) -> None:
        """Let an upstream that is at work know, at once, that it is about to be aborted."""
        if not (self._hung_up or self._gone or self._transport.is_closing()):
            self._hung_up = True
            self._look().hang_up()

    def abort(self) -> None:
        """Drop the connection at once; the receiver hears nothing any more. Harmless when done twice."""
        if self._answer is not None:
            self.hang_up()
            self._answer.forget()
            self._answer = None
        self._requester = self._tunnel = None
        self._mark_gone()
        self._transport.abort()

    @property
    def reusable(self) -> bool:
        """Whether it can take another request when this answer, whose head is in, has ended."""
        answer = self._answer
        if answer is None or not answer.keeps_alive or answer.surplus:
            return False
        return self._whole and not self._gone and self._transport.get_write_buffer_size() == 0

    @property
    def surplus(self) -> bool:
        """Whether the upstream sent bytes that belong to no answer."""
        return self._surplus or (self._answer is not None and self._answer.surplus)

    @property
    def unheard(self) -> bool:
        """Whether the upstream provably heard no byte of this request: on another connection it may be sent again.

        Asks the kernel, so it has to be asked within `answer_failed`. True only where the connection was reused.
        """
        return self._gone and self._probe is not None and self._probe.unheard(ended_in_order=self._said_bye)

    @property
    def as_good_as_new(self) -> bool:
        """Whether `unheard` will be able to tell (not over a Unix socket), and nothing can come of the last answer."""
        return not self._bodiless and self._look().tells

    def reuse(self, *, look: bool) -> bool:
        """Make ready for another request; say whether it is open and, unless `unheard` would tell, quiet."""
        if self._gone or self._transport.is_closing():
            return False
        probe = self._look()
        return (not look and not self._bodiless and probe.tells and not self._tls) or probe.is_quiet

    @property
    def reused(self) -> bool:
        """Whether it carried a request before: the upstream may close it at any moment without hearing this one."""
        return self._probe is not None

    @property
    def is_lost(self) -> bool:
        """Whether the transport is closed."""
        return self._lost

    async def wait_lost(self) -> None:
        """Wait until the transport is closed."""
        if not self._lost:
            self._loss = self._loss or asyncio.Event()
            await self._loss.wait()

    # -- what the transport calls --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self._tls = is_tls(self._transport)
        tune(self._transport)

    def data_received(self, data: bytes) -> None:
        """Hand on what came."""
        if self._tunnel is not None:
            self._tunnel.upstream_received(data)
            return
        answer = self._answer
        if answer is None:
            self._surplus = True
            self.abort()
            return
        interims = answer.informational
        answer.feed(data)
        if answer.framing is not None or answer.informational > interims:  # half a head is no sign of life
            self._since = self._loop.time()
        if answer.over:
            self._release(answer)

    def eof_received(self) -> bool:
        """End the answer: an upstream that sends no more is of no more use, unless it is in a tunnel."""
        if self._tunnel is not None:
            self._tunnel.upstream_ended()
            return not self._tls  # which has no half-closed connections
        self._said_bye = True
        self._end_input(broken=not ended_in_order(self._transport))
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """End the answer, after what the kernel still holds of it."""
        self._mark_gone()
        tunnel, self._tunnel = self._tunnel, None
        if tunnel is not None:
            tunnel.upstream_lost()
        leftover = read_leftover(self._transport) if error is not None and self._answer is not None else b""
        if leftover:
            self.data_received(leftover)
        self._end_input(broken=error is not None or self._tls)
        if self._probe is not None:
            self._probe.close()
        self._lost = True
        if self._loss is not None:
            self._loss.set()
        self._keeper.forget(self)

    def pause_writing(self) -> None:
        """Have the requester wait."""
        if self._requester is not None:
            self._requester.upload_full()

    def resume_writing(self) -> None:
        """Let the requester go on."""
        self._since = self._loop.time()
        if self._requester is not None:
            self._requester.upload_drained()

    # -- the end -------------------------------------------------------------------------------------------------------

    def _end_input(self, *, broken: bool = True) -> None:
        """Nothing more will come: let the answer judge what that makes of it."""
        self._mark_gone()
        answer = self._answer
        if answer is None:
            self._transport.abort()
        else:
            answer.end(broken=broken)
            self._release(answer)

    def _release(self, answer: Answer) -> None:
        """Keep the connection for another request, or drop it; whichever, this answer is over."""
        self._surplus = self.surplus or answer.surplus
        self._bodiless = isinstance(answer.framing, NoBody)
        if self._answer is not answer:
            return  # the receiver aborted
        reusable, self._answer, self._requester = self.reusable, None, None
        if reusable:
            self.resume_reading()
            self._keeper.keep(self)
        else:
            self.abort()

    def _look(self) -> Probe:
        if self._probe is None:
            self._probe = Probe(self._transport)
        return self._probe

    def _mark_gone(self) -> None:
        self._gone = True
        self._keeper.silences.stop(self)

    # -- time (Awaited) ------------------------------------------------------------------------------------------------

    def time_left_s(self) -> float | None:
        """Give the seconds for which the upstream may still be silent; None while the connection is idle."""
        answer = self._answer
        if answer is None:
            return None  # that is the pool's to time; the next request begins anew
        now = self._loop.time()
        if not self._upstream_dawdles():
            self._since = now
        return self._since + self._limit_s(answer) - now

    def give_up(self) -> None:
        """Fail: the upstream was silent for too long."""
        answer = self._answer
        assert answer is not None
        where = "before answering" if answer.framing is None else "mid-answer"
        answer.fail(UpstreamTimeoutError(f"silent for {self._limit_s(answer):g} s {where}"))
        self._release(answer)

    def _limit_s(self, answer: Answer) -> float:
        return self._settings.response_timeout_s if answer.framing is None else self._settings.idle_timeout_s

    def _upstream_dawdles(self) -> bool:
        """Say whether it is the upstream that is awaited: it got all there was to send, or takes none of it."""
        before, self._unsent = self._unsent, self._transport.get_write_buffer_size()
        return not self._paused and (self._whole or self._unsent > 0) and self._unsent >= before
