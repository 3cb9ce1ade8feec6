"""The description of a programme in Voucherify's events: a campaign and its name."""

from collections.abc import Iterator, Mapping
from typing import Any

from ledger.vendors.fields import as_text
from ledger.vendors.json_path import id_at, value_at
from ledger.vendors.vendor import ProgrammeDescription


def describe_programmes(body: Mapping[str, Any]) -> Iterator[ProgrammeDescription]:
    """Yield the campaign of an event: the campaign itself, or that of the voucher."""
    campaign, name = id_at(body, "campaign.id"), value_at(body, "campaign.name")
    if campaign is None:
        campaign, name = id_at(body, "voucher.campaign_id"), value_at(body, "voucher.campaign")
    if campaign is not None and isinstance(name, str):
        yield ProgrammeDescription(campaign, as_text(name))
