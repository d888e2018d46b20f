"""What a reload leaves behind: nothing, once the exchanges that began before it are over."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from tests.fakes.scene import Scene

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def test_an_earlier_pool_is_gone_with_its_last_exchange(running: Scene) -> None:
    sidecar = running.sidecar
    client = await running.client()
    await client.get("/slow")
    peer, _ = await running.upstream.request()
    for number in range(5):
        settings = sidecar.in_force.settings
        upstream = settings.upstream.model_copy(update={"connect_timeout_s": number + 1.0})
        await sidecar.use(settings.model_copy(update={"upstream": upstream}))
    gc.collect()
    assert len(sidecar.pools) == 2  # the one in use, and the one of the exchange under way
    await peer.send(OK)
    assert (await client.answer()).body == b"ok"
    await peer.gone()  # nobody keeps the connection for later

    def only_one_is_left() -> bool:
        gc.collect()
        return len(sidecar.pools) == 1

    await eventually(only_one_is_left)
