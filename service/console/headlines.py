"""The headline of an object: a sentence about its state, and its main figures. Pure.

A person sees at once, for example, whether a coupon can still be used, or whether points are due back.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from service.console.formats import format_day, format_points
from service.console.links import customer_link

Fields = Mapping[str, Any]


class Figure(NamedTuple):
    """One figure of a headline. `kind` decides how it looks, as a column's kind does."""

    title: str
    value: Any
    kind: str = "any"
    href: str | None = None


class Headline(NamedTuple):
    """The sentence and the figures of an object."""

    sentence: str
    figures: Sequence[Figure]


def headline_of(table: str, fields: Fields) -> Headline | None:
    """Return the headline of an object by its table. None if the table has none."""
    write = HEADLINES.get(table)
    return None if write is None else write(fields)


def _coupon(coupon: Fields) -> Headline:
    code = coupon["code"] or coupon["id"]
    begins = f"Coupon {code} was issued{_on(coupon['issued_at'])}" if coupon["issued_at"] else f"Coupon {code}"
    if coupon["redeemed_count"]:
        bill = f" with bill {coupon['bill']}" if coupon["bill"] else ""
        times = "once" if coupon["redeemed_count"] == 1 else f"{coupon['redeemed_count']} times"
        fate = f"It was redeemed {times}, last{_on(coupon['redeemed_at'])}{bill}."
    elif coupon["status"] == "expired":
        fate = "It expired without being redeemed."
    else:
        fate = "It has not been redeemed."
    return Headline(
        f"{begins}. {fate}",
        (
            Figure("Status", coupon["status"], "state"),
            Figure("Valid until", coupon["valid_until"] or coupon["valid_through"]),
            Figure("Redeemed", coupon["redeemed_count"], "number"),
            Figure("Redemptions left", coupon["redemptions_left"], "number"),
            Figure("Discount", coupon["discount_value"], "points"),
        ),
    )


def _order_item(item: Fields) -> Headline:
    points = format_points(item["points_paid"])
    if item["status"] == "fulfilled":
        fate = f"The item arrived{_on(item['fulfilled_at'])}, so its {points} points are spent."
    elif item["status"] in ("failed", "cancelled"):
        word = "failed" if item["status"] == "failed" else "was cancelled"
        at = item["failed_at"] if item["status"] == "failed" else item["cancelled_at"]
        fate = f"The item {word}{_on(at)}. "
        if item["refund_due"]:
            fate += f"{format_points(item['refund_due'])} points are due back to the customer."
        else:
            fate += f"{format_points(item['refunded'])} points were given back{_on(item['refunded_at'])}."
    else:
        fate = f"{points} points are held until the item arrives or fails."
    if item["contested"]:
        fate += " Its reports contradict each other, so a person should look."
    return Headline(
        fate,
        (
            Figure("Status", item["status"], "state"),
            Figure("Points paid", item["points_paid"], "points"),
            Figure("Hold", item["hold"], "state"),
            Figure("Refund", item["refund"], "state"),
            Figure("Refund due", item["refund_due"], "points"),
        ),
    )


def _transfer(transfer: Fields) -> Headline:
    points = f"{format_points(transfer['points'])} {transfer['unit']}"
    if transfer["status"] == "completed":
        fate = f"{points} were sent{_on(transfer['initiated_at'])} and received{_on(transfer['received_at'])}."
    elif transfer["status"] == "initiated":
        fate = f"{points} were sent{_on(transfer['initiated_at'])}. The receiver's half has not arrived."
    else:
        fate = f"{points} were received{_on(transfer['received_at'])}. The sender's half has not arrived."
    if transfer["differs"]:
        fate += " The halves disagree."
    sender, receiver = transfer["sender"], transfer["receiver"] or transfer["sent_to"]
    return Headline(
        fate,
        (
            Figure("Status", transfer["status"], "state"),
            Figure("Points", transfer["points"], "points"),
            Figure("Sender", sender or transfer["received_from"], "short", customer_link(sender)),
            Figure("Receiver", receiver, "short", customer_link(receiver)),
        ),
    )


def _tier(tier: Fields) -> Headline:
    name = tier["tier_name"] or tier["tier"]
    if name is None:
        sentence = "The customer is in no tier of this programme now."
    else:
        until = f", until {format_day(tier['until'])}" if tier["until"] else ""
        sentence = f"The customer is in tier {name}{_since(tier['since'])}{until}."
    if tier["downgrade_on"]:
        sentence += f" A downgrade was announced for {format_day(tier['downgrade_on'])}."
    return Headline(
        sentence,
        (
            Figure("Tier", name),
            Figure("Since", tier["since"]),
            Figure("Until", tier["until"]),
            Figure("Renewed", tier["renewals"], "number"),
        ),
    )


def _reward_redemption(redemption: Fields) -> Headline:
    reward = redemption["reward_name"] or redemption["reward"] or "a reward"
    status = redemption["status"] or "reported"
    moments = {"completed": "completed_at", "failed": "failed_at", "rolled_back": "rolled_back_at"}
    at = redemption.get(moments.get(status, "created_at"))
    return Headline(
        f"The redemption of {reward} is {status.replace('_', ' ')}{_since(at)}.",
        (
            Figure("Status", redemption["status"], "state"),
            Figure("Price", redemption["points"], "points"),
            Figure("Quantity", redemption["quantity"], "number"),
            Figure("Code", redemption["coupon_code"], "code"),
        ),
    )


def _badge(badge: Fields) -> Headline:
    count = badge["earned_count"]
    times = "once" if count == 1 else f"{count} times"
    missing = f" {badge['missing_count']} more were never reported." if badge["missing_count"] else ""
    return Headline(
        f"The badge was earned {times}, last{_on(badge['last_earned_at'])}.{missing}",
        (
            Figure("Earned", count, "number"),
            Figure("First", badge["first_earned_at"]),
            Figure("Last", badge["last_earned_at"]),
        ),
    )


def _reward(reward: Fields) -> Headline:
    name = reward["name"] or reward["id"]
    cost = f" costs {format_points(reward['points_cost'])} points" if reward["points_cost"] is not None else ""
    word = {True: "can be redeemed", False: "cannot be redeemed", None: "is in the catalogue"}[reward["enabled"]]
    return Headline(
        f"{name}{cost + ' and' if cost else ''} {word}.",
        (
            Figure("Price", reward["points_cost"], "points"),
            Figure("From", reward["starts_at"]),
            Figure("To", reward["ends_at"]),
            Figure("Versions", reward["versions_count"], "number"),
        ),
    )


def _bill(bill: Fields) -> Headline:
    currency = f" {bill['currency']}" if bill["currency"] else ""
    amount: Decimal | None = bill["amount"]
    return Headline(
        f"Bill {bill['number'] or bill['id']} of {format_points(amount)}{currency}{_on(bill['entered_at'])}.",
        (
            Figure("Amount", amount, "points"),
            Figure("Discount", bill["discount"], "points"),
            Figure("Kind", bill["bill_type"]),
            Figure("Store", bill["store"]),
        ),
    )


def _on(at: datetime | None) -> str:
    return "" if at is None else f" on {format_day(at.date())}"


def _since(at: datetime | None) -> str:
    return "" if at is None else f" since {format_day(at.date())}"


HEADLINES: Mapping[str, Callable[[Fields], Headline]] = {
    "coupons": _coupon,
    "order_items": _order_item,
    "transfers": _transfer,
    "tiers": _tier,
    "reward_redemptions": _reward_redemption,
    "badges": _badge,
    "rewards": _reward,
    "bills": _bill,
}
