"""Voucherify: its two envelopes, and one table of all its events. Deliveries are signed over their body."""

from typing import Any

from ledger.vendors.vendor import EventType, Vendor
from ledger.vendors.voucherify import pending, points, publications, redemptions, rewards, tiers
from ledger.vendors.voucherify.envelope import parse_envelope
from ledger.vendors.voucherify.pii import PERSONAL

KINDS: dict[str, EventType[Any]] = {
    **points.KINDS,
    **pending.KINDS,
    **redemptions.KINDS,
    **rewards.KINDS,
    **publications.KINDS,
    **tiers.KINDS,
}

VOUCHERIFY = Vendor(
    name="voucherify",
    parse_envelope=parse_envelope,
    kinds=KINDS,
    personal=PERSONAL,
    scheme="voucherify",
    header="x-voucherify-signature",
)
