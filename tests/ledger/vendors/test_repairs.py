"""The report of repairs: it lists all damage of domain §1.2 in the samples, and nothing else."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from ledger.events import Origin
from ledger.intake.identify import identify
from ledger.vendors import VENDORS
from ledger.vendors import repair_report as rules
from ledger.vendors.repair_report import Repair, list_repairs
from tests.support.golden import samples
from tests.support.payloads import sample

SPOILT_KEYS = {
    *("or gId", " timeStamp", "timeSta mp", "loyaltyProgram Details", "apiRequestId ", "apiRe questId", "e ventName"),
    *("mobi le", "em ail", "email ", " enteredAt", "name ", "identifiers ", "po ints", "points Redeemed", "ke y"),
    *(" programId", "tierName ", "consumerGroupId ", "newExpiryDate ", "oldExpir yDate", "orgId ", "thumbnailId "),
    *("vendorRedemptionDetails ", " vendorRewardDetails", "star tDate", "actionT ype", "erro rMessage"),
    *("previousVal ue", "currentE ventTargetValue", "target PeriodName"),
}
ALL = [path for path in samples() if path.parent.name in VENDORS]


def repairs_of(source: str, body: bytes) -> list[Repair]:
    """Return the repairs of a delivery's first event, from its stored payload."""
    delivery = identify(Origin("ledger", "connection", source, None, b"mask"), body)
    return list_repairs(VENDORS[source], delivery.events[0].kind, delivery.payload)


def of(name: str) -> list[Repair]:
    source, stem = name.split("/")
    return repairs_of(source, sample(source, stem))


def points_issued(**data: Any) -> list[tuple[str, str, str | None]]:
    """Return (place inside data, before, after) of the repairs of an event with this data."""
    body = {"eventName": "pointsIssued", "eventId": "1", "data": data}
    found = repairs_of("capillary", msgspec.json.encode(body))
    assert all(one.path.startswith("/data/") for one in found)
    return [(one.path.removeprefix("/data/"), one.before, one.after) for one in found]


def everywhere(rule: str) -> list[tuple[str, str | None]]:
    """Return (before, after) of every repair by a rule, in all samples."""
    return [
        (one.before, one.after)
        for path in ALL
        for one in repairs_of(path.parent.name, path.read_bytes())
        if one.rule == rule
    ]


def test_every_damaged_key_of_the_samples_is_found() -> None:
    found = everywhere(rules.BLANK_IN_KEY)

    assert {before for before, _ in found} == SPOILT_KEYS
    assert all(after == before.replace(" ", "") for before, after in found)


def test_every_damaged_word_of_the_samples_is_found() -> None:
    assert sorted(set(everywhere(rules.BLANK_IN_WORD))) == [
        (" START", "START"),
        (" SUSPENDED", "SUSPENDED"),
        ("DELIV ERED", "DELIVERED"),
        ("ST ART", "START"),
        ("STA RT", "START"),
        ("STAR T", "START"),
        ("START ", "START"),
        ("bill Id", "billId"),
    ]


def test_every_damaged_id_of_the_samples_is_found() -> None:
    assert sorted(everywhere(rules.BLANK_IN_ID)) == [
        ("1000006_9m QMu01tPA6me2X", "1000006_9mQMu01tPA6me2X"),
        ("150956_tJV GuVbhdB", "150956_tJVGuVbhdB"),
        ("151193_a261d029212a09eea3e99a18024d 76a9", "151193_a261d029212a09eea3e99a18024d76a9"),
        ("151197_C3zPfmvsZL ", "151197_C3zPfmvsZL"),
        ("68421c2fbcbe ead306651eeb514ef109", "68421c2fbcbeead306651eeb514ef109"),
        ("6f2131aeb479a10e5987a f16c915904b", "6f2131aeb479a10e5987af16c915904b"),
        ("db7191805a6375e51cb0443 19f378178", "db7191805a6375e51cb044319f378178"),
        ("eb93e66d-5efa-44f7-9f47-ffcd1 a91dd78", "eb93e66d-5efa-44f7-9f47-ffcd1a91dd78"),
        ("kanmo.idn.mother care.rpm", "kanmo.idn.mothercare.rpm"),
    ]


def test_names_are_trimmed_and_keep_their_inner_blanks() -> None:
    assert sorted(set(everywhere(rules.BLANK_AT_EDGE))) == [
        (" INTOUCH Enabled", "INTOUCH Enabled"),
        (" Platinum", "Platinum"),
        (" Riders", "Riders"),
        (" Silver", "Silver"),
        ("Drivers ", "Drivers"),
        ("card_balance ", "card_balance"),
    ]


def test_the_nine_damaged_times_of_a_reward_redemption_are_found() -> None:
    found = of("voucherify/customer.reward_redemptions.completed")

    assert [one.path for one in found] == [
        "/voucher/created_at",
        "/voucher/updated_at",
        "/campaign/created_at",
        "/reward_redemption/created_at",
        "/reward/voucher/created_at",
        "/reward_assignment/created_at",
        "/publication/created_at",
        "/publication/voucher/created_at",
        "/publication/voucher/updated_at",
    ]
    assert {one.rule for one in found} == {rules.BLANK_IN_TIME}
    assert (found[0].before, found[0].after) == ("2024-05-13T10: 24: 01.084Z", "2024-05-13T10:24:01.084Z")


def test_the_repairs_of_points_issued_are_in_the_order_of_its_text() -> None:
    tier = "/attributes/data/loyaltyProgramDetails/tiers/4/tierName"
    points = "/attributes/data/regularPointsBreakup/0/po ints"

    assert of("capillary/pointsIssued") == [
        ("/ timeStamp", rules.BLANK_IN_KEY, " timeStamp", "timeStamp"),
        (tier, rules.BLANK_AT_EDGE, " Platinum", "Platinum"),
        (points, rules.BLANK_IN_KEY, "po ints", "points"),
        ("/attributes/refId", rules.BLANK_IN_ID, "150956_tJV GuVbhdB", "150956_tJVGuVbhdB"),
    ]


def test_ids_and_times_spelt_with_a_fraction_are_found_and_points_are_not() -> None:
    found = {one.path: (one.before, one.after) for one in of("capillary/tierUpgraded")}

    assert found["/data/customerIdentifiers/customerId"] == ("379499720.0", "379499720")
    assert found["/createdAt"] == ("1720440349027.0", "1720440349027")
    assert points_issued(programCurrentPoints=msgspec.Raw(b"165.0"), loyaltyProgramId=msgspec.Raw(b"8.38E2")) == [
        ("loyaltyProgramId", "8.38E2", "838")
    ]


def test_an_impossible_time_is_read_as_none() -> None:
    assert [one for one in of("capillary/pointsExpired") if one.path == "/createdAt"] == [
        ("/createdAt", rules.IMPOSSIBLE_TIME, "156474848484", None)
    ]


def test_words_for_none_and_redacted_values_count_as_absent() -> None:
    assert set(everywhere(rules.WORD_FOR_NONE)) == {("-1", None), ("null", None)}
    assert set(everywhere(rules.REDACTED_VALUE)) == {("[email protected]", None), (" [email protected]", None)}


def test_another_spelling_of_an_event_s_name_is_found() -> None:
    assert everywhere(rules.EVENT_ALIAS) == [("issuedalternateCurrenciesReversed", "issuedAlternateCurrenciesReversed")]
    assert repairs_of("capillary", b'{"eventName": "points TransferInitiated", "data": {}}') == [
        ("/eventName", rules.EVENT_ALIAS, "points TransferInitiated", "pointsTransferredInitiated")
    ]


def test_blanks_in_addresses_are_found() -> None:
    assert [before for before, _ in everywhere(rules.BLANK_IN_ADDRESS)] == [
        "https://s3.eu -west-1.amazonaws.com/eucrm-solutions/CAMPAIGNSAUTO/EXDR12987R?signed",
        "https://s3.eu-west-1.amazonaws.com/eucrm-solutions/CAMP AIGNSAUTO/EXDR12987U?signed",
    ]


def test_a_damaged_key_beside_the_undamaged_key_is_left_out_with_its_value() -> None:
    body = b'{"eventName": "pointsIssued", "data": {"loyaltyProgramId": 1, "loyaltyProgram Id": "2 "}}'

    assert repairs_of("capillary", body) == [
        ("/data/loyaltyProgram Id", rules.KEY_TWICE, "loyaltyProgram Id", None),
    ]


def test_a_spelling_that_may_be_intended_is_no_damage() -> None:
    assert points_issued(streakStartData=[{"startDate": "2024-08-05 01:30:00"}]) == []
    assert points_issued(loyaltyProgramDetails={"name": "Tata 1mg"}, unheardOf=" x y ", loyaltyProgramId="") == []
    assert points_issued(metadata={"po ints": " 1", "loyaltyProgramId": "1 2"}, regularPointsIssued="600.000") == []


def test_numbers_and_days_in_texts_are_read_without_their_blanks() -> None:
    breakup = [{"points": "6 0.5", "expiryAt": "2024 -05-31"}]

    assert points_issued(regularPointsBreakup=breakup) == [
        ("regularPointsBreakup/0/points", "6 0.5", "60.5"),
        ("regularPointsBreakup/0/expiryAt", "2024 -05-31", "2024-05-31"),
    ]


def test_a_path_is_a_json_pointer() -> None:
    assert points_issued(**{"a/b~c": [{"loyaltyProgramId": "1 2"}]}) == [("a~1b~0c/0/loyaltyProgramId", "1 2", "12")]


def test_no_personal_value_is_listed() -> None:
    body = b'{"eventName": "pointsIssued", "data": {"customerIdentifiers": {"instore": {"mobi le": "91 8900003219"}}}}'

    (found,) = repairs_of("capillary", body)

    assert found.before == "mobi le"


@pytest.mark.parametrize("source", VENDORS)
def test_an_unknown_or_unreadable_payload_has_no_repairs(source: str) -> None:
    assert repairs_of(source, b'{"a b": "c d"}') == repairs_of(source, b"po ints") == repairs_of(source, b"[]") == []


@pytest.mark.parametrize("path", ALL, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_repair_of_a_sample_points_at_its_value(path: Path) -> None:
    document = msgspec.json.decode(path.read_bytes())

    for one in repairs_of(path.parent.name, path.read_bytes()):
        value, key = document, ""
        for step in one.path.removeprefix("/").split("/"):
            key = step.replace("~1", "/").replace("~0", "~")
            value = value[int(key)] if isinstance(value, list) else value[key]
        if one.rule == rules.BLANK_IN_KEY:
            assert key == one.before
        elif isinstance(value, str):
            assert value == one.before
        else:
            assert float(one.before) == value
