"""A real `sidecar doctor` behind fronts that spoil the sidecar's work, and behind those that do not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from tests.acceptance.ward import LEAVING, QUICK, SLOW, ward
from tests.fakes.buffering_proxy import BufferingProxy
from tests.fakes.holding_proxy import HoldingProxy
from tests.fakes.nginx import needs_nginx, nginx_before

CERTIFICATE: Final = Path(__file__).parents[1] / "integration" / "upstream" / "localhost.pem"
REACHES_THE_SIDECAR: Final = 'proxy_buffering off; proxy_http_version 1.1; proxy_set_header Connection "";'

pytestmark = pytest.mark.timeout(120)


async def test_a_front_that_keeps_a_leaving_to_itself(tmp_path: Path) -> None:
    async with ward(tmp_path) as running, HoldingProxy.before(running.sidecar.port, passes_ends=False) as front:
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


@needs_nginx
async def test_behind_nginx_as_it_comes(tmp_path: Path) -> None:
    async with ward(tmp_path, SLOW) as running, nginx_before(running.sidecar.url, tmp_path / "nginx") as port:
        told = await running.doctor(f"http://127.0.0.1:{port}")
    assert told.graded("fail") == {"buffered"}, told.text
    assert told.mends("buffered").startswith("nginx: proxy_buffering off;"), "it is recognised"
    assert told.graded("ok") >= set(LEAVING), "nginx passes a leaving on by itself"


@needs_nginx
async def test_behind_nginx_as_it_should_be(tmp_path: Path) -> None:
    async with (
        ward(tmp_path, SLOW) as running,
        nginx_before(running.sidecar.url, tmp_path / "nginx", REACHES_THE_SIDECAR) as port,
    ):
        told = await running.doctor(f"http://127.0.0.1:{port}")
    assert (told.code, told.graded("fail")) == (0, set()), told.text
    assert told.graded("ok") >= {"buffered", "keep_alive", *LEAVING}


@needs_nginx
async def test_behind_an_nginx_that_ignores_who_left(tmp_path: Path) -> None:
    spoiled = f"{REACHES_THE_SIDECAR} proxy_ignore_client_abort on;"
    async with (
        ward(tmp_path, replace(QUICK, think_s=1.0)) as running,
        nginx_before(running.sidecar.url, tmp_path / "nginx", spoiled) as port,
    ):
        told = await running.doctor(f"http://127.0.0.1:{port}")
    assert told.code == 1
    assert "only once the backend had begun to answer" in told.findings["close_before_first_byte"]["what"]
    assert "nginx: proxy_ignore_client_abort off" in told.mends("close_before_first_byte")


@needs_nginx
async def test_behind_an_nginx_with_a_certificate_that_nobody_trusts(tmp_path: Path) -> None:
    tls = f"ssl_certificate {CERTIFICATE}; ssl_certificate_key {CERTIFICATE};"
    async with (
        ward(tmp_path) as running,
        nginx_before(running.sidecar.url, tmp_path / "nginx", REACHES_THE_SIDECAR, listen=" ssl", server=tls) as port,
    ):
        url = f"https://localhost:{port}"
        told = await running.doctor(url)
        assert told.graded("fail") == {"public_url"}, told.text
        assert "its certificate was refused" in told.findings["public_url"]["what"]
        assert told.graded("ok") >= set(LEAVING), "it is examined all the same"
        trusting = await running.doctor(url, SSL_CERT_FILE=str(CERTIFICATE))
    assert trusting.code == 0
    assert "by TLSv1." in trusting.findings["public_url"]["what"]
