"""Where a sidecar stands: by itself, as here, or as a worker among others (`worker`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.engine.peers import Alone
from sidecar.engine.share import Share

if TYPE_CHECKING:
    from sidecar.app.assemble import Sidecar
    from sidecar.engine.peer_desk import PeerDesk
    from sidecar.engine.peers import Peers


class Place:
    """A sidecar by itself: the journal is its own, and so are all turns, and the console."""

    whole = True

    def __init__(self) -> None:
        self.share = Share()
        self.peers: Peers = Alone()

    async def announce(self) -> None:
        """Be there for peers, before tombstones are read: there are none."""

    def serve(self, desk: PeerDesk, sidecar: Sidecar) -> None:
        """Answer peers from now on: there are none."""

    async def may_listen(self) -> None:
        """Wait until clients may be let in: now."""
