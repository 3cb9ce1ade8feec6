"""The causes of open matters: each is derived from rows that exist and is the only candidate, or it is not known."""

import json
from typing import Any

import pytest

from ledger.store.append import append
from tests.service.reconciliation.test_open_lists import LATER, chosen, listed
from tests.support.client import TenantClient, serving
from tests.support.payloads import (
    VAULT,
    capillary,
    delivery,
    expired,
    issued,
    received,
    redeemed,
    redemption_reversed,
    sample,
    sent,
)

DAY = 86_400


async def told(acme: TenantClient, *bodies: bytes) -> None:
    for body in bodies:
        status, answer = await acme.deliver(body)
        assert status == 200, answer


async def cause(acme: TenantClient, name: str = "drift") -> str:
    [item] = await listed(acme, name)
    return str(item["cause"])


# ---- drift ----------------------------------------------------------------------------------------------------------


async def test_a_debit_beyond_what_was_left_says_that_a_credit_never_arrived(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await told(acme, issued("a", 0, 1, 100, programCurrentPoints=100), redeemed("b", DAY, 1, 130))

        [item] = await listed(acme, "drift")

        assert chosen(item, "points", "drift", "unseen") == ("30", "0", "30")
        assert item["cause"] == (
            "A credit of 30 never arrived, between 2023-11-14 22:13:20 UTC (position 1) and 2023-11-15 22:13:20 UTC "
            "(position 2), or a larger one: the debit at position 2 was larger than our balance."
        )


async def test_a_credit_that_the_claim_leaves_out_may_be_told_twice_so_the_cause_is_not_known(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await told(
            acme,
            issued("a", 0, 1, 100, programCurrentPoints=100),
            issued("b", 60, 1, 20),
            issued("b2", 60, 1, 20),
            redeemed("c", 120, 1, 50, programCurrentPoints=70),
        )

        text = await cause(acme)

        assert text.startswith("The cause is not known. Possible causes: (1) a debit of 20 never arrived, ")
        assert "(2) the credit of 20 at position 2 is not in the vendor's balance" in text


async def test_a_claim_made_before_our_last_lines_were_counted_leaves_the_cause_open(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await told(
            acme,
            issued("a", 0, 1, 100, programCurrentPoints=100),
            issued("b", 60, 1, 20, programCurrentPoints=120),
            issued("c", 120, 1, 7, programCurrentPoints=100),
        )

        text = await cause(acme)

        assert text.startswith("The cause is not known.")
        assert "the claim at position 3 does not include the last 2 lines of our statement" in text


async def test_points_that_lapsed_here_and_that_the_vendor_counts_are_one_of_two_candidates(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await told(
            acme,
            issued("a", 0, 1, 60, lapses="2023-11-16", programCurrentPoints=60),
            issued("b", 5 * DAY, 1, 10, programCurrentPoints=70),
        )

        text = await cause(acme)

        assert text.startswith("The cause is not known.")
        assert "a credit of 60 never arrived" in text
        assert "60 lapsed here that the vendor still counts (lapsed 2023-11-17)" in text


async def test_points_that_lapsed_at_the_vendor_before_their_day_here_are_a_candidate(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await told(
            acme,
            issued("a", 0, 1, 60, lapses="2024-11-16", programCurrentPoints=60),
            issued("b", 5 * DAY, 1, 10, programCurrentPoints=10),
        )

        text = await cause(acme)

        assert text.startswith("The cause is not known.")
        assert "the 60 that lapse here after 2024-11-16 lapsed at the vendor earlier" in text


async def test_points_told_for_another_programme_are_a_candidate(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await told(
            acme,
            issued("a", 0, 1, 60, programCurrentPoints=60),
            issued("b", 60, 1, 25, loyaltyProgramId=78),
            issued("c", 120, 1, 10, programCurrentPoints=95),
        )

        text = await cause(acme)

        assert text.startswith("The cause is not known.")
        assert "the event for programme 78 at position 2 belongs to this programme" in text


async def test_an_adjustment_of_ours_is_named_only_where_there_is_one(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await told(acme, issued("a", 0, 1, 100, programCurrentPoints=100))
        async with acme.database() as connection:
            made = await adjust_by(acme, connection, 50)

        text = await cause(acme)

        assert text.startswith(f"Our adjustment after the vendor's last claim (+50 at position {made}). Reverse it if")


async def test_what_arrives_after_its_claim_was_adopted_says_to_take_the_adjustment_back(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await told(
            acme, issued("a", 0, 1, 100, programCurrentPoints=100), issued("c", 120, 1, 10, programCurrentPoints=130)
        )
        async with acme.database() as connection:
            made = await adjust_by(acme, connection, 20, adopted=True)
        assert await listed(acme, "drift") == []

        await told(acme, issued("b", 60, 1, 20))
        late = await cause(acme)
        await told(acme, issued("d", 900, 1, 10, programCurrentPoints=140))

        assert late == (
            f"Our adjustment after the vendor's last claim (+20 at position {made}). "
            "Reverse it if the missing event has arrived."
        )
        assert (await cause(acme)).startswith(f"Our adjustment (+20 at position {made}) is not in the vendor's")


async def adjust_by(acme: TenantClient, connection: Any, points: int, *, adopted: bool = False) -> int:
    body = {
        "event": "adjustmentMade",
        "id": "one",
        "at": "1700000600000",
        "holder": "capillary:9001:1",
        "programme": "77",
        "unit": "points",
        "customer": "capillary:9001:1",
        "points": str(points),
        "adopted": adopted,
        "author": "Jane Roe",
        "reason": "a letter",
    }
    [[appended]] = await append(connection, VAULT, acme.ledger.ledger_id, [delivery(json.dumps(body).encode())])
    return appended.position


async def test_a_vendor_that_lets_a_balance_go_below_zero_misses_no_event(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await told(
            acme,
            issued("a", 0, 1, 100, programCurrentPoints=100),
            redeemed("b", DAY, 1, 130, programCurrentPoints=-30),
        )

        assert (await cause(acme)).startswith(
            "By the vendor's claims no event is missing. It counts 30 less than we do"
        )


async def test_several_events_that_never_arrived_are_named_each_with_its_place(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await told(
            acme,
            issued("a", 0, 1, 1000, programCurrentPoints=1000),
            issued("b", 60, 1, 10, programCurrentPoints=1030),
            redeemed("c", 120, 1, 5, programCurrentPoints=1025),
            redeemed("d", 180, 1, 7, programCurrentPoints=978),
        )

        [item] = await listed(acme, "drift")

        assert item["points"] == "-20"
        assert item["cause"].startswith(
            "The claims and our balance move apart 2 times. A credit of 20 never arrived, between "
        )
        assert " A debit of 40 never arrived, between 2023-11-14 22:15:20 UTC (position 3) and " in item["cause"]


async def test_a_half_transfer_of_the_size_is_where_to_look_first(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await told(
            acme,
            issued("x", 0, 2, 500),
            issued("a", 0, 1, 100, programCurrentPoints=100),
            sent("t", 60, 2, 40, 1, "T1"),
            issued("b", 120, 1, 10, programCurrentPoints=150),
        )

        text = await cause(acme)

        assert text.startswith("A credit of 40 never arrived, between ")
        assert "Look at transfer capillary:9001:T1 first: its receiver's half was not reported." in text


async def test_events_within_one_second_are_told_apart_and_stand_in_their_order(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        later = json.loads(issued("b", 0, 1, 10, programCurrentPoints=130))
        later["createdAt"] += 250
        await told(acme, json.dumps(later).encode(), issued("a", 0, 1, 100, programCurrentPoints=100))

        assert (
            "between 2023-11-14 22:13:20.000000 UTC (position 2) and 2023-11-14 22:13:20.250000 UTC (position 1)"
            in (await cause(acme))
        )


UNREAD = {
    "of this customer, in between": ("capillary", {"customerId": 1}, 9001, 60, True),
    "of another customer": ("capillary", {"customerId": 2}, 9001, 60, False),
    "of another organisation": ("capillary", {"customerId": 1}, 9002, 60, False),
    "of another time": ("capillary", {"customerId": 1}, 9001, 3 * DAY, False),
    "of another source": ("fabric", {"customerId": 1}, 9001, 60, False),
}


@pytest.mark.parametrize(("source", "identifiers", "org", "at", "is_named"), UNREAD.values(), ids=UNREAD)
async def test_only_an_unread_event_that_can_concern_the_holder_is_named(
    dsn: str, source: str, identifiers: dict[str, int], org: int, at: int, is_named: bool
) -> None:
    async with serving(dsn, "acme") as [acme]:
        body = json.loads(capillary("pointsRaffled", "u", at, 1, points=20))
        body["data"]["customerIdentifiers"] = body["data"]["entityInformation"] = identifiers
        body["orgId"] = org
        await told(acme, issued("a", 0, 1, 100, programCurrentPoints=100))
        await acme.deliver(json.dumps(body).encode(), source)
        await told(acme, issued("b", 120, 1, 10, programCurrentPoints=130))

        text = await cause(acme)

        assert text.startswith("A credit of 20 never arrived, between ")
        assert ("at position 2 (pointsRaffled), could not be read. Look at it first." in text) is is_named


# ---- expiries -------------------------------------------------------------------------------------------------------


async def test_an_expiry_that_was_reported_in_part_says_so(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await told(acme, issued("a", 0, 1, 10, lapses="2023-11-30"), expired("b", 17 * DAY, 1, 6))

        [item] = await listed(acme, "expiries")

        assert item["points"] == "4"
        assert item["cause"].startswith("The vendor reported 6 of 10 as expired. No later balance from the vendor ")


async def test_of_several_lots_it_is_not_said_which_of_them_was_reported(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await told(
            acme,
            issued("a", 0, 1, 10, lapses="2023-11-28"),
            issued("b", 0, 1, 6, lapses="2023-11-29"),
            expired("c", 17 * DAY, 1, 6),
        )

        causes = {item["cause"] for item in await listed(acme, "expiries")}

        assert len(causes) == 1
        assert causes.pop().startswith(
            "The vendor reported 6 of the 16 lapsed points of this account as expired, without naming the lots."
        )


async def test_what_nothing_was_told_of_since_its_day_says_that(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await told(acme, issued("a", 0, 1, 10, lapses="2023-11-28"))
        assert await cause(acme, "expiries") == "The vendor has sent no event of this account since the lot's last day."

        await told(acme, issued("b", 30 * DAY, 1, 5, programCurrentPoints=5))
        assert await cause(acme, "expiries") == (
            "The vendor has not reported its expiry. Its later claims agree that all of it lapsed."
        )


# ---- what is owed and summed ----------------------------------------------------------------------------------------


async def test_a_transfer_received_by_another_than_it_was_sent_to_is_listed(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await told(acme, issued("a", 0, 9, 100), sent("b", 60, 9, 40, 10, "T1"), received("c", 90, 11, 40, 9, "T1"))

        [item] = await listed(acme, "transfers")

        assert chosen(item, "id", "status", "points") == ("capillary:9001:T1", "completed", "40")
        assert item["cause"] == "It was sent to capillary:9001:10 and received by capillary:9001:11."


async def test_a_total_that_its_breakup_exceeds_names_no_programme_that_was_left_out(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        lots = [{"points": 30}, {"points": 80}]
        await told(acme, capillary("pointsIssued", "a", 0, 1, totalPointsIssued=100, regularPointsBreakup=lots))

        text = await cause(acme, "sums")

        assert text == (
            "The vendor's total is 10 below the sum of its parts. The parts were booked. "
            "The cause is not known. Ask the vendor which of the two is right."
        )


async def test_points_at_stake_are_never_netted(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await told(
            acme,
            issued("a", 0, 1, 100, programCurrentPoints=100),
            issued("b", 60, 1, 1, programCurrentPoints=50),
            issued("c", 0, 2, 100, programCurrentPoints=100),
            issued("d", 60, 2, 1, programCurrentPoints=601),
            issued("s1", 0, 3, 500),
            sent("t1", 60, 3, 10, 4, "T1"),
            received("t2", 90, 4, 30, 3, "T1"),
            sent("t3", 60, 3, 30, 4, "T2"),
            received("t4", 90, 4, 10, 3, "T2"),
        )

        summary = await acme.ask_now("/v1/reconciliation", at=LATER)
        points = {one["name"]: one["points"] for one in summary["items"]}

        assert points["drift"] == {"points": "551"}
        assert points["transfers"] == {"points": "40"}


async def test_a_reversal_that_touches_lapsed_points_can_be_counted_in_two_ways(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await told(
            acme,
            issued("a", 0, 1, 100, lapses="2023-11-20", programCurrentPoints=100),
            redeemed("b", DAY, 1, 40, "R1", programCurrentPoints=60),
            issued("c", 8 * DAY, 1, 5, programCurrentPoints=5),
            redemption_reversed("d", 9 * DAY, 1, 40, "R1"),
            issued("e", 10 * DAY, 1, 5, programCurrentPoints=50),
        )

        text = await cause(acme)

        assert text.startswith("The cause is not known.")
        assert "the vendor counts the reversal at position 4 differently" in text


async def test_a_list_gives_no_next_page_where_nothing_follows(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for customer in (1, 2):
            await told(
                acme,
                issued(f"a{customer}", 0, customer, 100, programCurrentPoints=100),
                issued(f"b{customer}", 60, customer, 1, programCurrentPoints=50),
                issued(f"b{customer}", 60, customer, 2, programCurrentPoints=50),
            )

        for name, count in (("drift", 2), ("conflicts", 2), ("silence", 0)):
            both = await acme.ask_now(f"/v1/reconciliation/{name}", at=LATER, limit="2")
            assert (len(both["items"]), both["next"]) == (count, None), name
        first = await acme.ask_now("/v1/reconciliation/conflicts", at=LATER, limit="1")
        rest = await acme.ask_now("/v1/reconciliation/conflicts", at=LATER, limit="1", cursor=first["next"])
        assert [len(first["items"]), len(rest["items"]), rest["next"]] == [1, 1, None]
        assert (await acme.ask_now("/v1/reconciliation/silence", at=LATER, limit="1"))["next"] is None


# ---- reminders ------------------------------------------------------------------------------------------------------


def reminder(identifier: str, at: int, customer: int, points: int, day: str) -> bytes:
    return capillary(
        "pointsExpiryReminder", identifier, at, customer, pointsScheduledForExpiry=points, scheduledExpiryDate=day
    )


async def test_a_reminder_that_announces_more_than_the_lots_hold_is_listed_until_one_agrees(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await told(acme, issued("a", 0, 1, 100, lapses="2024-01-31"), reminder("b", DAY, 1, 300, "2024-01-31"))
        [item] = await listed(acme, "reminders")
        summary = await acme.ask_now("/v1/reconciliation", at=LATER)

        await told(acme, issued("late", 60, 1, 200, lapses="2024-01-31"))

        assert chosen(item, "resource", "points", "claimed_value", "own_value", "position") == (
            "points",
            "200",
            "300",
            "100",
            2,
        )
        assert item["cause"].startswith(
            "The vendor announces 300 points that lapse on 2024-01-31; we have 100. The cause is not"
        )
        assert next(one["points"] for one in summary["items"] if one["name"] == "reminders") == {"points": "200"}
        assert await listed(acme, "reminders") == []


async def test_a_reminder_of_another_day_than_that_of_the_lots_names_both_days(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await told(acme, issued("a", 0, 1, 300, lapses="2031-02-01"), reminder("b", DAY, 1, 300, "2031-01-31"))

        assert await cause(acme, "reminders") == (
            "The vendor announces 300 points that lapse on 2031-01-31; we have 0. "
            "The same amount lapses here after 2031-02-01. One of the two days is wrong."
        )


async def test_a_reminder_blames_no_other_day_while_points_of_its_own_day_are_here(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await told(
            acme,
            issued("a", 0, 1, 100, lapses="2031-01-31"),
            issued("b", 0, 1, 50, lapses="2031-02-28"),
            reminder("c", DAY, 1, 50, "2031-01-31"),
        )

        assert "The cause is not known" in await cause(acme, "reminders")


async def test_an_event_with_an_unreadable_value_is_listed_with_its_path(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await told(acme, expired("a", 0, 1, 5).replace(b'"pointsExpired": 5', b'"pointsExpired": "five"'))

        assert (await cause(acme, "unrecognised")).startswith(
            "It cannot be interpreted: pointsExpired is not a number."
        )


async def test_reminders_of_another_tier_and_of_another_end_of_a_membership_are_listed(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        tier = json.loads(sample("capillary", "tierDowngradeReminder"))
        tier["data"]["currentTierNumber"] = 1675
        membership = json.loads(sample("capillary", "supplementaryMembershipExpiryReminder"))
        membership["orgId"], membership["createdAt"] = 151197, 1683871700000
        membership["data"] |= {"loyaltyProgramId": 1115, "partnerProgramId": 45, "scheduledExpiryDate": "2024-05-12"}
        membership["data"]["customerIdentifiers"]["customerId"] = 6809254
        await told(acme, sample("capillary", "tierUpgraded"), json.dumps(tier).encode())
        await told(acme, sample("capillary", "partnerProgramLinked"), json.dumps(membership).encode())

        items = await listed(acme, "reminders")

        assert [chosen(item, "resource", "claimed_value", "own_value", "points") for item in items] == [
            ("membership", "2024-05-12", "2123-05-12", None),
            ("tier", "1675", "1676", None),
        ]
        assert items[1]["cause"].startswith("The vendor's reminder names tier 1675; we have tier 1676.")
