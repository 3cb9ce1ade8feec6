"""Capillary's envelopes: the same few fields in five forms (domain §1.1, E5 to E11).

Names are compared without case and blanks, because headings, event names and bodies spell them differently.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from ledger.parsing import Document
from ledger.vendors.fields import OptionalId, Text, Time, VendorModel, as_id, as_time, squeeze
from ledger.vendors.key_repair import repair_keys
from ledger.vendors.vendor import NO_ORG, Identity, ParsedEvent

# Event names in headings and older pages (in lower case without blanks) -> the name in the event's body.
ALIASES = {
    "pointstransferinitiated": "pointsTransferredInitiated",
    "pointstransferreceived": "pointsTransferredReceived",
    "pointsexpiredreminder": "pointsExpiryReminder",
    "updatedsinglepointsexpiry": "singlePointsExpiryUpdated",
    "issuedalternatecurrencyreversed": "issuedAlternateCurrenciesReversed",
    "unifiedtargetachieved": "unifiedTargetsAchieved",
    "unifiedtargetunachieved": "unifiedTargetsUnAchieved",
    "targetvalueupdate": "targetValueUpdated",
    "targetperiodstart": "targetPeriodStarted",
    "targetperiodend": "targetPeriodCompleted",
    "targetenrolment": "targetCustomerEnrolment",
    "streaklevelachievement": "streakLevelAchieved",
    "streaklevelunachievement": "streakLevelUnAchieved",
    "streakenrolment": "streakCustomerEnrolment",
    "streakunenrolment": "streakCustomerUnEnrolment",
    "issuedloyaltypromotion": "promotionIssued",
    "earnedloyaltypromotion": "promotionEarned",
    "revokeissuedloyaltypromotion": "revokeIssuedPromotion",
    "revokeearnedloyaltypromotion": "revokeEarnedPromotion",
}
HEADING_SUFFIX = "event"  # many headings end with this word, few names do
KIND_CHARACTERS_MAX = 100

# The keys of the envelopes; the models add theirs. Only blanks inside these keys are damage.
ENVELOPE_KEYS = frozenset(
    (
        *("eventId", "eventType", "eventName", "consumerGroupId", "actionType", "timeStamp", "attributes", "createdAt"),
        *("data", "refId", "apiRequestId", "orgId", "loyaltyEventId", "event", "body", "requestTrackingId"),
        *("requestType", "requestBaseType", "status", "comments", "customerId"),
    )
)
UNUSED_KEYS = frozenset({"thumbnailId", "vendorRedemptionDetails"})  # in no model, but damaged in published samples

ACTIONS = frozenset({"START"})  # the only actionType that was seen
IDENTIFIERS = frozenset({"BILLID", "BILLNUMBER", "REDEMPTIONID"})  # of activities, see people.py


class OuterFields(VendorModel):
    """The fields around `data`, with their types."""

    event_id: OptionalId = None
    ref_id: OptionalId = None
    api_request_id: OptionalId = None
    loyalty_event_id: OptionalId = None
    org_id: OptionalId = None
    created_at: Time = None
    time_stamp: Time = None
    action_type: Text = None


# Keys of the thing that an event is about. They complete the identity of events without an id, or with a shared id.
_SUBJECT_KEYS = ("cardNumber", "requestId", "requestTrackingId", "rewardId", "badgeId", "earnId")


class EnvelopeParser:
    """Parser of a Capillary body, which holds one event. It recognises the names of kinds in any spelling."""

    def __init__(self, kinds: Iterable[str], known_keys: Iterable[str]) -> None:
        self._names = {name.lower(): name for name in kinds} | ALIASES
        self._known_keys = ENVELOPE_KEYS | frozenset(known_keys)

    def __call__(self, document: Document, _kind: str | None) -> list[ParsedEvent] | None:
        value = repair_keys(document.value, self._known_keys) if document.may_have_blank_in_key else document.value
        envelope = _flatten(value) if isinstance(value, dict) else None
        if envelope is None:
            return None
        name = squeeze(str(envelope["eventName"]))
        kind = self._canonical(name) or name[:KIND_CHARACTERS_MAX]
        data = envelope["data"]
        org = as_id_or_none(envelope.get("orgId")) or NO_ORG
        body = {**data, "envelope": envelope}
        for key in _OUTER_KEYS:  # a value that is null in `data` may be outside it
            if key in envelope and body.get(key) is None:
                body[key] = envelope[key]
        if "loyaltyEventId" in data and envelope.get("loyaltyEventId") is None:  # E10
            body["envelope"] = {**envelope, "loyaltyEventId": data["loyaltyEventId"]}
        return [ParsedEvent(kind, org, as_time(envelope.get("createdAt")), body, partial(_identity, envelope, data))]

    def _canonical(self, name: str) -> str | None:
        """Return the canonical name of an event, None if the name is unknown."""
        lowered = name.lower()
        return self._names.get(lowered) or self._names.get(lowered.removesuffix(HEADING_SUFFIX))


def _flatten(document: dict[str, Any]) -> dict[str, Any] | None:
    """Return the event inside its envelope, with eventName, data, createdAt, orgId, refId and eventId at the top.

    None if this is no Capillary envelope.
    """
    attributes = document.get("attributes")
    if isinstance(attributes, dict) and isinstance(attributes.get("data"), dict):  # E5
        name = attributes.get("eventName") or str(document.get("eventType") or "").lstrip("0123456789_")
        if name:
            return {**attributes, "eventId": document.get("eventId"), "eventName": name}
        return None
    if isinstance(document.get("data"), dict):
        if "eventName" in document:  # E6, E10, E11
            beside = {key: document[key] for key in _OUTER_KEYS if key in document}
            return {**document, "data": {**beside, **document["data"]}} if beside else document
        inner = document["data"]  # E9
        if "eventName" not in inner:
            return None
        return _flatten(inner) if isinstance(inner.get("data"), dict) else {**inner, "data": inner}
    event = document.get("event")
    if isinstance(event, dict) and isinstance(event.get("body"), dict):  # E7
        return _flatten(event["body"])
    if isinstance(document.get("body"), dict):  # E8
        return _flatten(document["body"])
    return None


def unwrap_capture(document: Any) -> Any:
    """Return the event without the capture around it (E7, E8). The captured headers differ in each delivery."""
    if not isinstance(document, dict) or isinstance(document.get("data"), dict) or "attributes" in document:
        return document
    event = document.get("event")
    inner = event.get("body") if isinstance(event, dict) else document.get("body")
    return unwrap_capture(inner) if isinstance(inner, dict) else document


_OUTER_KEYS = ("requestTrackingId", "requestType", "requestBaseType", "status", "comments", "customerId")


def _identity(envelope: Mapping[str, Any], data: Mapping[str, Any]) -> Identity:
    return Identity(_identity_parts(envelope, data), (envelope.get("createdAt"), data))


def _identity_parts(envelope: Mapping[str, Any], data: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the identity: the vendor's event id, else (refId, createdAt), and the customer or thing that the event is
    about.

    Published samples share ids between events of several kinds and customers. By the id alone, events would be lost.
    """
    event_id = as_id_or_none(envelope.get("eventId"))
    about = _subject_id(data)
    if event_id:
        return ("id", event_id, about)
    reference = as_id_or_none(envelope.get("refId"))
    created_at = envelope.get("createdAt")
    if reference:
        return ("ref", reference, str(created_at), about)
    return ("data", str(created_at), about)  # the hash of the content is added to the event key


def _subject_id(data: Mapping[str, Any]) -> str:
    identifiers = data.get("customerIdentifiers") or data.get("victimCustomerIdentifiers")
    if isinstance(identifiers, dict):
        customer = as_id_or_none(identifiers.get("customerId"))
        if customer:
            return customer
    for key in ("customerId", *_SUBJECT_KEYS):
        identifier = as_id_or_none(data.get(key))
        if identifier:
            return identifier
    return ""


def as_id_or_none(value: Any) -> str | None:
    """Parse an id. Return None for an invalid id, because no model has validated the envelope yet."""
    try:
        return as_id(value)
    except ValueError:
        return None
