"""Capillary: its envelopes, and one table of all its events. Deliveries carry a secret header of the brand's choice."""

from typing import Any

from ledger.vendors.capillary import (
    adjustments,
    badges,
    cards,
    coupons,
    currencies,
    customers,
    merges,
    partners,
    points,
    promotions,
    redemptions,
    requests,
    rewards,
    streaks,
    targets,
    tiers,
    transactions,
    transfers,
)
from ledger.vendors.capillary.envelope import Opener
from ledger.vendors.capillary.personal import PERSONAL
from ledger.vendors.repair import vocabulary
from ledger.vendors.vendor import Kind, Vendor

KINDS: dict[str, Kind[Any]] = {
    **points.KINDS,
    **redemptions.KINDS,
    **transfers.KINDS,
    **coupons.KINDS,
    **tiers.KINDS,
    **customers.KINDS,
    **merges.KINDS,
    **transactions.KINDS,
    **requests.KINDS,
    **cards.KINDS,
    **partners.KINDS,
    **rewards.KINDS,
    **targets.KINDS,
    **streaks.KINDS,
    **badges.KINDS,
    **promotions.KINDS,
    **currencies.KINDS,
    **adjustments.KINDS,
}

CAPILLARY = Vendor(
    name="capillary",
    open=Opener(KINDS, vocabulary(kind.shape for kind in KINDS.values()) | vocabulary([points.Converted])),
    kinds=KINDS,
    personal=PERSONAL,
    scheme="header",
    header="x-webhook-secret",
)
