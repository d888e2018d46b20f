"""The way there: addresses, certificates, clocks."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from sidecar.doctor.findings import Finding, fail, ok, skip, time_text, warn

if TYPE_CHECKING:
    from sidecar.doctor.reach import Reach
    from sidecar.doctor.visit import Visit

DAYS_LEFT_MIN: Final = 14
SKEW_MAX_S: Final = 5.0
AHEAD_MAX_S: Final = 0.5


def public(url: str, reached: Reach) -> Finding:
    """Judge the way from here to the public URL."""
    check = "public_url"
    if reached.error is not None:
        return fail(check, f"{url} cannot be reached: {reached.error}", "start what stands in front, or mend --url")
    if reached.distrust is not None:
        mend = "renew the certificate with its whole chain, or use a --url that has its name; clients refuse it, too"
        return fail(check, f"{url} is reached, but {reached.distrust}", mend)
    if reached.tls is None:
        return ok(check, f"{url} is reached, without TLS")
    return _certificate(f"{url} is reached, by {reached.tls}", reached.days_left)


def _certificate(what: str, days_left: float | None) -> Finding:
    if days_left is None:
        return ok("public_url", what)
    told = f"{what}; its certificate is valid for {days_left:.0f} days"
    return ok("public_url", told) if days_left >= DAYS_LEFT_MIN else warn("public_url", told, "renew it now")


def listener(address: str, reached: Reach) -> Finding:
    """Judge whether the sidecar itself is there."""
    if reached.error is None:
        return ok("listen", f"a sidecar listens at {address}")
    mend = "start it with sidecar run -c FILE, or give the configuration with which it runs"
    return fail("listen", f"nothing listens at {address} (listen.address): {reached.error}", mend)


def backend(key: str, url: str, reached: Reach) -> Finding:
    """Judge whether the backend, or its admin API, can be reached from here."""
    check, what = key.replace(".", "_"), "the backend" if key == "upstream.url" else "the admin API"
    if reached.error is not None:
        return fail(check, f"{what} cannot be reached at {url}: {reached.error}", f"start it, or mend {key}")
    if reached.distrust is not None:
        return fail(check, f"{what} at {url}: {reached.distrust}", f"mend its certificate, or {key}")
    return ok(check, f"{what} is reached at {url}")


def clock(visit: Visit, created_at: float | None) -> Finding:
    """Judge the clocks of the sidecar, against ours, and of the front, by its answer's Date."""
    if created_at is not None and not -AHEAD_MAX_S <= created_at - visit.sent_at <= SKEW_MAX_S:
        apart = time_text(created_at - visit.sent_at)
        return fail("clock", f"the sidecar's clock is {apart} from this one", "run this beside the sidecar; mind NTP")
    try:
        skew = parsedate_to_datetime(visit.headers["Date"]).timestamp() - (visit.head_at or visit.sent_at)
    except (KeyError, ValueError):
        return skip("clock", "the answer has no Date to compare clocks by")
    if abs(skew) > SKEW_MAX_S:
        return warn("clock", f"the answer's Date is {time_text(skew)} off this clock", "mind NTP on both machines")
    return ok("clock", "clocks agree")
