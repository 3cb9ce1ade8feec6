"""One coupon under two names: its id, and its code within its series. Any order of arrival gives the same one row."""

from itertools import permutations
from typing import Any

import pytest

from ledger.database import Connection
from ledger.store.append import append
from ledger.store.registry import Ledger
from projections.engine.digest import compute_digest
from projections.engine.worker import catch_up
from projections.rebuild import rebuild
from tests.support.payloads import ORG, START, VAULT, capillary, delivery

ROWS = "SELECT subject, status, redeemed_count, incomplete, customer, series FROM coupons ORDER BY subject"
LINKS = "SELECT subject, root FROM links WHERE subject_kind = 'coupon' ORDER BY subject"


def reward(code: str, customer: int, series: str | None = "55", *, vendor: bool = False) -> bytes:
    codes = (
        {"vendorRewardDetails": {"vendorVoucher": code}}
        if vendor
        else {"intouchRewardDetails": {"intouchCouponCode": code}}
    )
    return capillary(
        "rewardIssued",
        f"w{code}{customer}",
        1,
        customer,
        rewardId=900,
        intouchPoints=10,
        intouchSeriesId=series,
        **codes,
    )


def issue(coupon: int, code: str, customer: int, series: str = "55", at: int = 1) -> bytes:
    one = {"id": coupon, "code": code, "issued_on": START + at * 1000, "customerIdentifiers": {"customerId": customer}}
    return capillary("CouponIssue", f"i{coupon}", at, customer, coupons=[one], series_info={"id": series})


def redeem(coupon: int | None, code: str, customer: int, series: str | None = "55", redemption: str = "R1") -> bytes:
    told: dict[str, Any] = {"code": code, "redemptionId": redemption, "redemptionDate": START + 90_000}
    if coupon is not None:
        told["id"] = coupon
    if series is not None:
        told["series_info"] = {"id": series}
    return capillary("CouponRedeem", f"r{coupon}{redemption}", 90, customer, coupon=told, transaction={"bill_id": 0})


async def tell(connection: Connection, ledger: Ledger, *bodies: bytes, one_by_one: bool = True) -> None:
    for body in bodies:
        await append(connection, VAULT, ledger.ledger_id, [delivery(body)])
        if one_by_one:
            await catch_up(connection, ledger.ledger_id)
    await catch_up(connection, ledger.ledger_id)


@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_a_reward_an_issue_and_a_redemption_are_of_one_coupon(
    connection: Connection, ledger: Ledger, order: tuple[int, ...]
) -> None:
    told = [reward("SAME1", 6), issue(700, "SAME1", 6), redeem(700, "SAME1", 6)]

    await tell(connection, ledger, *(told[place] for place in order))

    [row] = await connection.fetch(ROWS)
    assert tuple(row) == (f"capillary:{ORG}:700", "redeemed", 1, False, f"capillary:{ORG}:6", "55")


async def test_a_rebuild_finds_the_same_coupons_as_live_folding(
    connection: Connection, dsn: str, ledger: Ledger
) -> None:
    codes = [reward(f"C{number}", number) for number in range(20)]
    issues = [issue(100 + number, f"C{number}", number) for number in range(0, 20, 2)]
    await tell(connection, ledger, *codes[:10], *issues, *codes[10:], one_by_one=False)
    live, links = await compute_digest(connection, ledger.ledger_id), await connection.fetch(LINKS)

    report = await rebuild(dsn)

    assert report.differing == {}
    assert len(links) == 20
    assert len(await connection.fetch(ROWS)) == 20
    assert await compute_digest(connection, ledger.ledger_id) == live


async def test_a_code_in_two_series_stays_two_coupons(connection: Connection, ledger: Ledger) -> None:
    await tell(connection, ledger, issue(1, "X", 6, series="55"), issue(2, "X", 6, series="56"), reward("X", 6, "56"))

    assert [row["subject"] for row in await connection.fetch(ROWS)] == [f"capillary:{ORG}:{n}" for n in (1, 2)]
    assert [row["root"] for row in await connection.fetch(LINKS)] == [f"capillary:{ORG}:2"] * 2


async def test_a_reward_without_a_series_means_the_only_coupon_with_its_code(
    connection: Connection, ledger: Ledger
) -> None:
    await tell(connection, ledger, reward("X", 6, series=None), issue(1, "X", 6))
    assert len(await connection.fetch(ROWS)) == 1

    await tell(connection, ledger, issue(2, "X", 7, series="56"))

    rows = {row["subject"]: row["customer"] for row in await connection.fetch(ROWS)}
    assert rows == {f"capillary:{ORG}:1": f"capillary:{ORG}:6", f"capillary:{ORG}:2": f"capillary:{ORG}:7"}


async def test_a_code_that_becomes_ambiguous_is_a_coupon_of_its_own_again(
    connection: Connection, dsn: str, ledger: Ledger
) -> None:
    await tell(connection, ledger, reward("X", 6, series=None), issue(1, "X", 6), issue(2, "X", 6, series="56"))

    assert len(await connection.fetch(ROWS)) == 3
    assert (await rebuild(dsn)).differing == {}


async def test_a_vendor_voucher_makes_no_second_coupon(connection: Connection, ledger: Ledger) -> None:
    await tell(connection, ledger, reward("V1", 6, vendor=True), issue(700, "V1", 6))

    assert [row["subject"] for row in await connection.fetch(ROWS)] == [f"capillary:{ORG}:700"]


async def test_a_redemption_that_names_only_the_code_is_of_the_coupon_with_that_code(
    connection: Connection, ledger: Ledger
) -> None:
    await tell(connection, ledger, redeem(None, "V1", 6), issue(700, "V1", 6))

    [row] = await connection.fetch(ROWS)
    assert (row["subject"], row["status"]) == (f"capillary:{ORG}:700", "redeemed")


async def test_coupons_of_a_code_that_many_share_are_told_apart_by_customer(
    connection: Connection, ledger: Ledger
) -> None:
    await tell(connection, ledger, *(issue(number, "ALL", number) for number in (1, 2, 3)), reward("ALL", 2))

    assert [tuple(row) for row in await connection.fetch(LINKS)] == [
        (f"capillary:{ORG}:2", f"capillary:{ORG}:2"),
        (f"capillary:{ORG}:code~55~ALL", f"capillary:{ORG}:2"),
    ]
