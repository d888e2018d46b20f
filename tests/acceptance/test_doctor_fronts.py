"""A real `sidecar doctor` behind fronts that do as they should, and behind those that spoil the sidecar's work."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.ward import LEAVABLE, LEAVING, SLOW, ward
from tests.deploy.fronts import Front, HAProxy, Nginx
from tests.deploy.visitor import CERTIFICATE
from tests.fakes.buffering_proxy import BufferingProxy
from tests.fakes.holding_proxy import HoldingProxy

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.timeout(120), pytest.mark.long]


def url_of(front: Front) -> str:
    return f"https://localhost:{front.port}"


async def test_a_front_that_keeps_a_leaving_to_itself(tmp_path: Path) -> None:
    async with (
        ward(tmp_path, LEAVABLE) as running,
        HoldingProxy.before(running.sidecar.port, passes_ends=False) as front,
    ):
        told = await running.doctor(front.url, timeout_s=2)
    assert told.code == 1
    assert told.graded("fail") >= set(LEAVING), told.text
    for check in LEAVING:
        assert "nginx: proxy_ignore_client_abort off" in told.mends(check)
        assert "POST /api/ai-coach/cancel" in told.mends(check)
    assert told.findings["cancel_endpoint"]["grade"] == "ok", "said, it gets through"


async def test_a_front_that_holds_answers_back(tmp_path: Path) -> None:
    async with ward(tmp_path, SLOW) as running, BufferingProxy.before(running.sidecar.url) as front:
        told = await running.doctor(front.url)
    assert told.code == 1
    assert told.graded("fail") == {"buffered"}, told.text
    assert "nginx: proxy_buffering off" in told.mends("buffered")
    assert told.graded("ok") >= set(LEAVING), "it leaves before the answer comes, and that is passed on"


@pytest.mark.parametrize("kind", [Nginx, HAProxy])
async def test_all_is_well_behind_the_fronts_of_deploy(kind: type[Front], tmp_path: Path) -> None:
    async with ward(tmp_path, SLOW) as running:
        front = kind(tmp_path, running.sidecar.port)
        async with front.running():
            told = await running.doctor(url_of(front), SSL_CERT_FILE=str(CERTIFICATE))
    assert (told.code, told.graded("fail")) == (0, set()), told.text
    assert told.graded("ok") >= {"public_url", "buffered", "keep_alive", "cancel_endpoint", *LEAVING}, told.text
    assert "by TLSv1." in told.findings["public_url"]["what"]


async def test_a_setting_that_hides_who_left_is_found_and_named(tmp_path: Path) -> None:
    async with ward(tmp_path, replace(LEAVABLE, think_s=1.5)) as running:
        front = HAProxy(tmp_path, running.sidecar.port, {"    option abortonclose\n": ""})
        async with front.running():
            told = await running.doctor(url_of(front), timeout_s=10, SSL_CERT_FILE=str(CERTIFICATE))
    assert told.code == 1
    assert told.findings["close_before_first_byte"]["grade"] == "fail", told.text
    assert "HAProxy: option abortonclose" in told.mends("close_before_first_byte")


async def test_buffering_is_found_and_a_certificate_that_nobody_trusts(tmp_path: Path) -> None:
    async with ward(tmp_path, SLOW) as running:
        front = Nginx(tmp_path, running.sidecar.port, {"proxy_buffering off": "proxy_buffering on"})
        async with front.running():
            told = await running.doctor(url_of(front))
    assert told.graded("fail") == {"buffered", "public_url"}, told.text
    assert told.mends("buffered").startswith("nginx: proxy_buffering off;"), "it is recognised"
    assert "its certificate was refused" in told.findings["public_url"]["what"]
    assert told.graded("ok") >= set(LEAVING), "it is examined all the same"
