"""Voucherify's envelopes: full (E3), or only the bare data object (E4).

Both forms of an event must have the same identity. So the identity uses only the data object. A bare object does not
name its event: the connection names it, or its keys do if they are unambiguous.

The organisation is always "-". Ids are unique across Voucherify's projects, and the bare object names no project. With
the project of the full envelope, the two forms would be different events. To keep two projects separate, use two
ledgers. Within a ledger, their cards, customers and rewards never share an id.
"""

from functools import partial
from typing import Any, NamedTuple

from ledger.parsing import Document
from ledger.vendors.fields import as_time
from ledger.vendors.json_path import id_at, value_at
from ledger.vendors.vendor import NO_ORG, Identity, ParsedEvent
from ledger.vendors.voucherify.names import canonical_name

KIND_CHARACTERS_MAX = 100

# Kinds of events without a name, see ledger/intake/identify.py. A later interpretation may find the name.
UNNAMED_KINDS = frozenset({"unknown", "unreadable"})

# Customer, holder and campaign with their state at dispatch. It may change between two deliveries of an event.
MUTABLE_KEYS = frozenset({"customer", "holder", "campaign"})


class IdentityPaths(NamedTuple):
    """Paths in a kind's data object: ids that identify the event, and times at which it happened.

    The first id is required.
    """

    ids: tuple[str, ...]
    times: tuple[str, ...]


TRANSACTION = IdentityPaths(("transaction.id",), ("transaction.created_at",))
REWARD_REDEMPTION = IdentityPaths(
    ("reward_redemption.id", "reward_redemption.state"),
    ("reward_redemption.updated_at", "reward_redemption.created_at"),
)
REDEMPTION = IdentityPaths(("redemption.id",), ("redemption.date",))
ROLLBACK = IdentityPaths(("redemption_rollback.id",), ("redemption_rollback.date",))
PROMISE_MADE = IdentityPaths(("pending_points.id",), ("pending_points.created_at",))
PROMISE_CHANGED = IdentityPaths(("pending_points.id", "pending_points.updated_at"), ("pending_points.updated_at",))
PROMISE_CANCELLED = IdentityPaths(("pending_points.id",), ("voucher.updated_at",))  # it has no time of its own
PUBLICATION = IdentityPaths(("publication.id",), ("publication.created_at",))
PUBLISHED = IdentityPaths(("publication.id", "voucher.id"), ("publication.created_at", "created_at"))
TIER = IdentityPaths(("customer.id", "campaign.id", "loyalty_tier.id", "created_at"), ("created_at",))
TIER_MOVE = IdentityPaths(
    ("customer.id", "campaign.id", "loyalty_tier_from.id", "loyalty_tier_to.id", "created_at"), ("created_at",)
)

IDENTITY_PATHS: dict[str, IdentityPaths] = {
    "customer.rewarded.loyalty_points": IdentityPaths(
        ("event.id", "earning_rule.id", "voucher.id"), ("event.created_at",)
    ),
    "customer.rewarded": IdentityPaths(("redemption.id", "voucher.id", "customer.id"), ("redemption.date",)),
    "customer.reward_redemptions.created": REWARD_REDEMPTION,
    "customer.reward_redemptions.pending": REWARD_REDEMPTION,
    "customer.reward_redemptions.completed": REWARD_REDEMPTION,
    "customer.reward_redemptions.rolledback": REWARD_REDEMPTION,
    "voucher.loyalty_card.transaction.created": TRANSACTION,
    "voucher.loyalty_card.points_added": TRANSACTION,
    "voucher.loyalty_card.points_expired": TRANSACTION,
    "voucher.loyalty_card.pending_points.activated": TRANSACTION,
    "voucher.loyalty_card.pending_points.added": PROMISE_MADE,
    "voucher.loyalty_card.pending_points.updated": PROMISE_CHANGED,
    "voucher.loyalty_card.pending_points.canceled": PROMISE_CANCELLED,
    "customer.voucher.loyalty_card.points_added": TRANSACTION,
    "customer.voucher.loyalty_card.points_expired": TRANSACTION,
    "customer.voucher.loyalty_card.pending_points.activated": TRANSACTION,
    "customer.voucher.loyalty_card.pending_points.added": PROMISE_MADE,
    "customer.voucher.loyalty_card.pending_points.updated": PROMISE_CHANGED,
    "customer.voucher.loyalty_card.pending_points.canceled": PROMISE_CANCELLED,
    "redemption.succeeded": REDEMPTION,
    "redemption.rollback.succeeded": ROLLBACK,
    "customer.redemption.succeeded": REDEMPTION,
    "customer.redemption.rollback.succeeded": ROLLBACK,
    "publication.succeeded": PUBLICATION,
    "customer.publication.succeeded": PUBLISHED,
    "voucher.published": PUBLISHED,
    "customer.loyalty.tier.joined": TIER,
    "customer.loyalty.tier.left": TIER,
    "customer.loyalty.tier.prolonged": TIER,
    "customer.loyalty.tier.upgraded": TIER_MOVE,
    "customer.loyalty.tier.downgraded": TIER_MOVE,
}

KIND_NAMES = tuple(IDENTITY_PATHS)


def parse_envelope(document: Document, kind: str | None) -> list[ParsedEvent] | None:
    """Return the single event of a body. `kind` is the kind that the connection names, for bare objects."""
    value = document.value
    if not isinstance(value, dict):
        return None
    data, event = value.get("data"), value.get("event")
    if isinstance(data, dict) and isinstance(event, dict):
        inferred = (
            _canonical_kind(event.get("type")) or _known_kind(_canonical_kind(value.get("type"))) or infer_kind(data)
        )
        return [_parsed_event(inferred, data, event)] if inferred else None
    inferred = _canonical_kind(kind) or infer_kind(value)
    return [_parsed_event(inferred, value, {})] if inferred else None


def _canonical_kind(kind: Any) -> str | None:
    """Return an event's name as the table of kinds spells it, None if the text names no event."""
    if not isinstance(kind, str) or kind in UNNAMED_KINDS:
        return None
    return canonical_name(kind, KIND_NAMES)[:KIND_CHARACTERS_MAX] or None


def _known_kind(kind: str | None) -> str | None:
    """Return a kind of the table, else None. The `type` of a distribution is the operator's own text, so only a known
    name counts.
    """
    return kind if kind in IDENTITY_PATHS else None


def _parsed_event(kind: str, data: dict[str, Any], event: dict[str, Any]) -> ParsedEvent:
    paths = IDENTITY_PATHS.get(kind, IdentityPaths((), ()))
    times = (*(value_at(data, path) for path in paths.times), event.get("created_at"))
    occurred_at = next((time for time in map(as_time, times) if time is not None), None)
    return ParsedEvent(kind, NO_ORG, occurred_at, data, partial(_identity, paths, data))


def _identity(paths: IdentityPaths, data: dict[str, Any]) -> Identity:
    ids = [id_at(data, path) for path in paths.ids]
    if not ids or ids[0] is None:
        return Identity(("data",), data)
    return Identity(("id", *(identifier or "" for identifier in ids)), _without_mutable_keys(data))


def _without_mutable_keys(value: Any) -> Any:
    """Return the value without the keys that may differ between two deliveries of an event, at every depth."""
    if type(value) is list:
        return [_without_mutable_keys(part) for part in value]
    if type(value) is not dict:
        return value
    return {
        name: _without_mutable_keys(part) if type(part) is dict or type(part) is list else part
        for name, part in value.items()
        if name not in MUTABLE_KEYS
    }


def infer_kind(data: dict[str, Any]) -> str | None:
    """Return the kind of a bare data object by its keys, None if several kinds are possible.

    Some kinds have the same keys, so their connections must name the event:

    - pending points added, updated and cancelled;
    - tier joined, prolonged and left;
    - tier upgraded and downgraded.

    Some events exist for the voucher and for the customer. The voucher's event is returned.
    """
    if _is_failure(data) or _is_gift_card(data):
        return None
    not_null = {name for name, part in data.items() if part is not None}
    for pattern in KEY_PATTERNS:
        if pattern.not_null <= not_null and pattern.present <= data.keys() and not pattern.absent & data.keys():
            return pattern.kind
    state = str(value_at(data, "reward_redemption.state")).lower().replace("_", "")
    return _known_kind(f"customer.reward_redemptions.{state}")


def _is_failure(data: dict[str, Any]) -> bool:
    return "FAILED" in (value_at(data, "redemption.status"), value_at(data, "redemption_rollback.status"))


def _is_gift_card(data: dict[str, Any]) -> bool:
    return str(value_at(data, "transaction.type")).startswith("CREDITS")


class KeyPattern(NamedTuple):
    """Keys that identify a kind: keys with a value, keys that are present or null, and keys that are absent."""

    kind: str
    not_null: frozenset[str]
    present: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()


KEY_PATTERNS: tuple[KeyPattern, ...] = (  # first match wins
    KeyPattern(
        "customer.rewarded.loyalty_points",
        not_null=frozenset({"balance", "earning_rule"}),
        absent=frozenset({"transaction", "pending_points"}),
    ),
    KeyPattern("voucher.loyalty_card.pending_points.activated", not_null=frozenset({"transaction", "pending_points"})),
    KeyPattern(
        "voucher.loyalty_card.points_expired", not_null=frozenset({"transaction"}), present=frozenset({"buckets"})
    ),
    KeyPattern(
        "voucher.loyalty_card.transaction.created", not_null=frozenset({"transaction"}), present=frozenset({"holder"})
    ),
    KeyPattern("voucher.loyalty_card.points_added", not_null=frozenset({"transaction", "balance"})),
    KeyPattern("redemption.rollback.succeeded", not_null=frozenset({"redemption_rollback"})),
    KeyPattern("customer.rewarded", not_null=frozenset({"redemption"}), present=frozenset({"referral_tier"})),
    KeyPattern("redemption.succeeded", not_null=frozenset({"redemption"}), present=frozenset({"promotion_tier"})),
)
