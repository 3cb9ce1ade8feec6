"""Terms of programmes over HTTP: set by an operator, stored in the ledger, followed by every account."""

from typing import Any

import pytest

from ledger.database import connect
from ledger.store import api_keys
from tests.support.client import MASTER_KEY, TenantClient, serving
from tests.support.payloads import issued, redeemed

ACCOUNT = "/v1/accounts/capillary:9001:1:77:points"
TERMS: dict[str, Any] = {
    "effective_from": "2023-11-01",
    "time_zone": "Asia/Kolkata",
    "expiry": {"rule": "fixed", "months": 12, "round_to_end_of": "month"},
    "points_to_currency": {"ratio": "0.50", "currency": "INR"},
}


async def set_terms(acme: TenantClient, dsn: str, terms: dict[str, Any], name: str = "77") -> tuple[int, Any]:
    connection = await connect(dsn)
    key = await api_keys.create_key(connection, MASTER_KEY, acme.ledger, ["admin"])
    await connection.close()
    headers = {"Authorization": f"Bearer {key}"}
    response = await acme.client.post(f"/v1/programmes/{name}/terms", json=terms, headers=headers)
    return response.status, await response.json()


async def test_terms_set_late_give_days_to_lots_for_which_the_vendor_names_none(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(issued("a", 0, 1, 10))
        await acme.deliver(issued("b", 0, 2, 10, lapses="2024-05-31"))
        await acme.ask_now(ACCOUNT)

        status, done = await set_terms(acme, dsn, TERMS)
        of = await acme.ask_now(ACCOUNT, at="2024-01-01T00:00:00Z")
        other = await acme.ask_now("/v1/accounts/capillary:9001:2:77:points", at="2024-01-01T00:00:00Z")

        assert (status, done) == (200, {"programme": "capillary:9001:77", "position": 3})
        [lot], [stated] = of["lots"], other["lots"]
        assert (lot["expires_on"], lot["lapses_at"]) == ("2024-11-30", "2024-11-30T18:30:00Z")
        assert (stated["expires_on"], stated["lapses_at"], stated["rule"]) == (
            "2024-05-31",
            "2024-05-31T18:30:00Z",
            None,
        )
        before = await acme.ask_now(ACCOUNT, at="2024-01-01T00:00:00Z", as_of_position="2")
        assert before["lots"][0]["expires_on"] is None


async def test_programmes_are_listed_with_the_terms_in_force(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(issued("a", 0, 1, 10))
        await acme.ask_now(ACCOUNT)
        await set_terms(acme, dsn, {**TERMS, "effective_from": "2025-01-01T00:00:00+05:30"}, "capillary:9001:gold")
        await set_terms(acme, dsn, {**TERMS, "effective_from": "2026-01-01", "expiry": None}, "capillary:9001:gold")

        listed = (await acme.ask_now("/v1/programmes", at="2025-06-01T00:00:00Z"))["items"]
        gold = await acme.ask_now("/v1/programmes/gold", at="2026-06-01T00:00:00Z")

        assert [item["id"] for item in listed] == ["capillary:9001:77", "capillary:9001:gold"]
        assert listed[0]["terms"] is None
        assert (listed[1]["terms"]["expiry"], listed[1]["terms"]["points_to_currency"]) == ("fixed", "0.5")
        assert gold["terms"]["expiry"] == "never"
        assert [one["effective_until"] for one in gold["versions"]] == ["2025-12-31T18:30:00Z", None]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"time_zone": "localtime"}, "time_zone"),  # of the machine: lots rebuilt elsewhere would lapse at another time
        ({"time_zone": "right/Asia/Kolkata"}, "time_zone"),
        ({"effective_from": None}, "effective_from"),
        ({"effective_from": 20260101}, "a day"),  # would be in August 1970
        ({"effective_from": "2024-01-01T10:00:00"}, "a time with a zone"),
        ({"expiry": {"rule": "fixed"}}, "a period is needed"),
        ({"expiry": {"rule": "fixed", "days": 3, "months": 1}}, "of days, of months or of years"),
        ({"expiry": {"rule": "never", "days": 3}}, "no period"),
        ({"expiry": {"rule": "sliding", "days": 0}}, "a period is needed"),
        ({"expiry": {"rule": "sliding", "days": 3, "round_to_end_of": "month"}}, "not rounded"),
        ({"expiry": {"rule": "fixed", "days": 3, "round_to_end_of": "week"}}, "or a month"),
        ({"reversal_after_expiry": {"policy": "grace"}}, "grace_days"),
        ({"points_to_currency": {"ratio": "-1", "currency": "INR"}}, "ratio"),
        ({"points_to_currency": {"ratio": "1", "currency": "rupees"}}, "currency"),
        ({"transfer_grace_days": -1}, "transfer_grace_days"),
        ({"expires": "never"}, "expires"),
    ],
)
async def test_terms_that_are_none_are_refused_and_change_nothing(dsn: str, wrong: dict[str, Any], said: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        status, problem = await set_terms(acme, dsn, {**TERMS, **wrong}, "capillary:9001:77")

        assert (status, problem["type"]) == (400, "/v1/errors/request-invalid")
        assert said in problem["detail"]
        assert (await acme.ask_now("/v1/projections"))["ledger_position"] == 0


async def test_terms_need_the_scope_admin_and_a_programme_that_can_be(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        headers = {"Authorization": f"Bearer {acme.key}"}
        reading = await acme.client.post("/v1/programmes/capillary:1:gold/terms", json=TERMS, headers=headers)

        assert reading.status == 403
        assert (await set_terms(acme, dsn, TERMS, "unheard-of"))[0] == 404
        assert (await set_terms(acme, dsn, TERMS, "squirrel:1:gold"))[0] == 400
        assert (await acme.ask("/v1/programmes/unheard-of"))[0] == 404


async def test_an_account_lists_its_future_lapses(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await set_terms(acme, dsn, {**TERMS, "expiry": None}, "capillary:9001:77")
        for body in (issued("a", 0, 1, 10, lapses="2024-05-31"), issued("b", 1, 1, 5, lapses="2024-05-31")):
            await acme.deliver(body)
        for body in (issued("c", 2, 1, 7, lapses="2025-01-01"), issued("d", 3, 1, 2), redeemed("e", 4, 1, 12)):
            await acme.deliver(body)

        lapses = await acme.ask_now(f"{ACCOUNT}/lapses", at="2024-01-01T00:00:00Z")
        before = await acme.ask_now(f"{ACCOUNT}/lapses", at="2023-11-14T22:13:22Z", as_of_position="4")
        later = await acme.ask_now(f"{ACCOUNT}/lapses", at="2024-05-31T18:30:00Z")

        assert said(lapses) == [("2024-05-31", "3"), ("2025-01-01", "7"), (None, "2")]
        assert lapses["items"][0]["lapses_at"] == "2024-05-31T18:30:00Z"
        assert said(before) == [("2024-05-31", "15"), ("2025-01-01", "7")]
        assert said(later) == [("2025-01-01", "7"), (None, "2")]


async def test_a_programme_lists_its_lapses_by_day(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for customer in (1, 2):
            await acme.deliver(issued(f"a{customer}", 0, customer, 10, lapses="2024-05-31"))
            await acme.deliver(issued(f"b{customer}", 0, customer, customer, lapses="2024-06-01"))
        await acme.deliver(redeemed("r", 5, 1, 4))
        days = {"from": "2024-01-01", "to": "2024-12-31"}

        all_of_it = await acme.ask_now("/v1/programmes/77/lapses", **days)
        first = await acme.ask_now("/v1/programmes/77/lapses", limit="1", **days)
        second = await acme.ask_now("/v1/programmes/77/lapses", limit="1", cursor=first["next"], **days)
        refused = await acme.ask("/v1/programmes/77/lapses", **{"from": "2024-01-01", "to": "2023-12-31"})

        assert [tuple(item.values()) for item in all_of_it["items"]] == [
            ("2024-05-31", "points", "16", 2, 2),
            ("2024-06-01", "points", "3", 2, 2),
        ]
        assert [*first["items"], *second["items"]] == all_of_it["items"]
        assert refused[0] == 400


def said(lapses: dict[str, Any]) -> list[tuple[str | None, str]]:
    return [(item["expires_on"], item["points"]) for item in lapses["items"]]
