"""Terms of programmes over HTTP: set by an operator, kept in the ledger, followed by every account."""

from typing import Any

import pytest

from ledger import registry
from ledger.database import connect
from tests.deliveries import issued
from tests.service.house import Neighbour, serving

ACCOUNT = "/v1/accounts/capillary:9001:1:77:points"
TERMS: dict[str, Any] = {
    "effective_from": "2023-11-01",
    "time_zone": "Asia/Kolkata",
    "expiry": {"rule": "fixed", "months": 12, "round_to_end_of": "month"},
    "points_to_currency": {"ratio": "0.50", "currency": "INR"},
}


async def set_terms(acme: Neighbour, dsn: str, terms: dict[str, Any], name: str = "77") -> tuple[int, Any]:
    connection = await connect(dsn)
    key = await registry.create_key(connection, acme.ledger, ["admin"])
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
        ({"effective_from": None}, "effective_from"),
        ({"effective_from": "2024-01-01T10:00:00"}, "a time with a zone"),
        ({"expiry": {"rule": "fixed"}}, "a period is needed"),
        ({"expiry": {"rule": "fixed", "days": 3, "months": 1}}, "of days, of months or of years"),
        ({"expiry": {"rule": "never", "days": 3}}, "no period"),
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

        assert (status, problem["type"]) == (400, "RequestInvalid")
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
