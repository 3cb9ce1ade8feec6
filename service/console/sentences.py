"""Sentences about points: for the support agent, and for the customer. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from service.console.formats import format_day, format_points

SPENDABLE = "available"

# The agent's sentence by the kind of a statement line: the points, and their fate.
FATES = {
    "Redeemed": "were spent",
    "Lapsed": "lapsed unspent",
    "Expired": "expired, as the source reported",
    "IssueReversed": "were taken back, because the bill that earned them was returned",
    "TransferSent": "were sent to another customer",
    "Removed": "were removed by hand in the source's system",
    "AdjustmentMade": "were taken off by an operator of this ledger",
    "AdjustmentReversed": "were taken off again, because an adjustment was reversed",
    "MergedAway": "moved to another customer, because the two customers were merged",
    "UnmergedAway": "went back to another customer, because a merge was undone",
}
FATE_OTHERWISE = "left the account"

# The customer's sentence: what happened to "you".
FOR_CUSTOMER = {
    "Redeemed": "you spent {points} points",
    "Lapsed": "{points} of your points expired",
    "Expired": "{points} of your points expired",
    "IssueReversed": "{points} points were taken back, because the purchase that earned them was returned",
    "TransferSent": "you sent {points} points to another member",
    "TransferReceived": "you received {points} points from another member",
    "Issued": "you earned {points} points",
    "PromisedConverted": "{points} promised points became available to you",
    "PromiseKept": "{points} promised points became available to you",
    "RedemptionReversed": "{points} points that you had spent were given back",
    "HoldRefunded": "{points} points were given back for an item of your order",
    "AdjustmentMade": "your balance was corrected by {signed} points",
    "AdjustmentReversed": "a correction of your balance was undone: {signed} points",
    "Opening": "your balance began with {points} points",
    "Merged": "{points} points of your other membership were added",
    "MergedAway": "{points} points moved to your other membership",
    "Unmerged": "{points} points came back from your other membership",
    "UnmergedAway": "{points} points went back to another membership",
    "Removed": "{points} points were removed from your balance",
}
FOR_CUSTOMER_OTHERWISE = "your balance changed by {signed} points"


class LossOfLot(NamedTuple):
    """Points that one lot lost in a statement line, and the lot."""

    points: Decimal
    lot_id: str
    lot: Mapping[str, Any] | None


class Loss(NamedTuple):
    """A statement line that took points, as a sentence with the lots that it took them from."""

    line: Mapping[str, Any]
    sentence: str
    lots: Sequence[LossOfLot]


def losses_of(lines: Sequence[Mapping[str, Any]], lots: Mapping[str, Mapping[str, Any]]) -> Iterator[Loss]:
    """Yield the lines that took points from the account, in order."""
    for line in lines:
        if line["points"] < 0:
            taken = [LossOfLot(points, lot_id, lots.get(lot_id)) for lot_id, points in points_of_lots(line).items()]
            days = [one.lot["expires_on"] for one in taken if one.lot is not None]
            yield Loss(line, _loss_sentence(line, days[0] if days else None), taken)


def points_of_lots(line: Mapping[str, Any]) -> dict[str, Decimal]:
    """Return the points that a line took from each lot."""
    taken: dict[str, Decimal] = {}
    for posting in line["postings"]:
        lot_id = posting["lot"]
        if lot_id is not None and posting["from"] == SPENDABLE:
            taken[lot_id] = taken.get(lot_id, Decimal(0)) + Decimal(posting["points"])
    return taken


def _loss_sentence(line: Mapping[str, Any], last_day: date | None) -> str:
    fate = FATES.get(line["kind"], FATE_OTHERWISE)
    return f"{_when(line, last_day)}, {format_points(-line['points'])} points {fate}."


def customer_sentence(line: Mapping[str, Any], last_day: date | None = None) -> str:
    """Return one sentence about a statement line that can be sent to the customer. It holds no internal word.

    `last_day` is that of a lot that lapsed.
    """
    if not line["points"]:
        return "Nothing changed in your balance."
    return f"{_when(line, last_day)}, {_text(line)}. Your balance was then {format_points(line['balance'])}."


def line_for_customer(line: Mapping[str, Any]) -> str:
    """Return what happened in a statement line, in words of the customer, without the day and the balance."""
    text = _text(line)
    return f"{text[0].upper()}{text[1:]}"


def _text(line: Mapping[str, Any]) -> str:
    points = line["points"]
    signed = f"{'+' if points > 0 else ''}{format_points(points)}"
    template = FOR_CUSTOMER.get(line["kind"], FOR_CUSTOMER_OTHERWISE)
    return template.format(points=format_points(abs(points)), signed=signed)


def _when(line: Mapping[str, Any], last_day: date | None) -> str:
    """Return the day of a line. A lapse is named by the last day of its lot, not by the midnight after it."""
    if line["kind"] == "Lapsed":
        return f"At the end of {format_day(last_day or (line['occurred_at'] - timedelta(microseconds=1)).date())}"
    return f"On {format_day(line['occurred_at'].date())}"
