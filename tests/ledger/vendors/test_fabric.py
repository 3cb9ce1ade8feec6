from typing import Any

import pytest

from ledger.facts.redemption_records import RedemptionRecordDeleted, RedemptionRecordUpdated
from tests.support.interpretation import deliver, sample

KINDS = [
    f"offers.redemption.{of}.{verb}" for of in ("coupon", "promotion") for verb in ("created", "updated", "deleted")
]


def deleted() -> Any:
    return sample("fabric/offers.redemption.coupon.deleted")


def test_all_six_published_samples_share_their_ids_and_are_six_events() -> None:
    keys = {deliver("fabric", sample(f"fabric/{kind}"))[0].draft.event_key for kind in KINDS}

    assert len(keys) == 6


def test_a_coupon_and_a_promotion_of_one_id_are_two_records() -> None:
    records = {deliver("fabric", sample(f"fabric/{kind}"))[0].facts[0].subject for kind in KINDS}

    assert records == {
        "fabric:63a123070cf218e178efda30:coupon~642babcd3ebd250008455701",
        "fabric:63a123070cf218e178efda30:promotion~642babcd3ebd250008455701",
    }


def test_a_delivery_holds_one_event_for_each_member_of_its_list() -> None:
    delivered = deliver("fabric", sample("fabric/offers.redemption.promotion.updated-2"))

    assert [draft.ordinal for draft, _ in delivered] == [0, 1]
    assert [type(fact) for one in delivered for fact in one.facts] == [RedemptionRecordUpdated] * 2
    assert len({draft.event_key for draft, _ in delivered}) == 2


def test_an_unreadable_event_does_not_stop_the_others_of_its_delivery() -> None:
    document = deleted()
    document["events"] = [None, {"id": "e1"}, *document["events"], "text"]

    delivered = deliver("fabric", document)

    assert [one.meaning.status for one in delivered] == ["unrecognised", "unrecognised", None, "unrecognised"]
    assert isinstance(delivered[2].facts[0], RedemptionRecordDeleted)


def test_a_record_without_an_event_id_is_identified_by_its_content() -> None:
    document = deleted()
    document["events"][0]["id"] = None

    (first,), (again,) = deliver("fabric", document), deliver("fabric", document)
    document["events"][0]["data"]["id"] = "642babcd3ebd250008455799"
    (other,) = deliver("fabric", document)

    assert first.draft.event_key == again.draft.event_key != other.draft.event_key
    assert first.facts


def test_callback_addresses_are_not_content() -> None:
    document = deleted()
    (first,) = deliver("fabric", document)
    document["events"][0]["data"]["callbackUrls"] = ["https://stg02.copilot.fabric.inc/api-offers/priceList/2"]

    (again,) = deliver("fabric", document)

    assert (again.draft.event_key, again.draft.content) == (first.draft.event_key, first.draft.content)


def test_the_organisation_is_the_tenant_if_one_is_named() -> None:
    document = deleted()
    document["tenantid"] = None

    assert deliver("fabric", document)[0].draft.org == "-"
    assert deliver("fabric", deleted())[0].draft.org == "63a123070cf218e178efda30"


@pytest.mark.parametrize("identifier", [None, "", {}, 1.5])
def test_a_record_without_an_id_is_unrecognised(identifier: Any) -> None:
    document = deleted()
    document["events"][0]["data"]["id"] = identifier

    assert deliver("fabric", document)[0].meaning.status == "unrecognised"


@pytest.mark.parametrize("events", [None, {}, [], "events"])
def test_a_delivery_without_a_list_of_events_is_unknown(events: Any) -> None:
    (delivered,) = deliver("fabric", {**deleted(), "events": events})

    assert (delivered.draft.kind, delivered.meaning.status) == ("unknown", "unrecognised")


def test_an_unknown_event_is_unrecognised_and_keeps_its_name() -> None:
    (delivered,) = deliver("fabric", {**deleted(), "type": "offers:price:updated"})

    assert (delivered.draft.kind, delivered.meaning.status) == ("offers:price:updated", "unrecognised")
