"""Voucherify: its two envelopes, and one table of all its events. Deliveries are signed over their body."""

from dataclasses import replace
from typing import Any

from ledger.vendors.vendor import EventType, Vendor
from ledger.vendors.voucherify import pending, points, publications, redemptions, rewards, tiers
from ledger.vendors.voucherify.envelope import parse_envelope
from ledger.vendors.voucherify.orders import with_order
from ledger.vendors.voucherify.pii import PERSONAL
from ledger.vendors.voucherify.programmes import describe_programmes

_KINDS: dict[str, EventType[Any]] = {
    **points.KINDS,
    **pending.KINDS,
    **redemptions.KINDS,
    **rewards.KINDS,
    **publications.KINDS,
    **tiers.KINDS,
}
KINDS = {name: replace(kind, facts=with_order(kind.facts)) for name, kind in _KINDS.items()}

VOUCHERIFY = Vendor(
    name="voucherify",
    parse_envelope=parse_envelope,
    kinds=KINDS,
    personal=PERSONAL,
    scheme="voucherify",
    header="x-voucherify-signature",
    describe_programmes=describe_programmes,
)
