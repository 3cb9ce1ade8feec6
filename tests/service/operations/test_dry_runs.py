"""`dry_run=true`: the answer of the operation with its effects, and nothing is recorded."""

import json
from typing import Any

from tests.service.finance.test_export_formats import loyalty
from tests.service.operations.test_adjustments import CHAIN, digest_now, key_of
from tests.support.client import TenantClient, serving
from tests.support.payloads import issued, merged, redeemed, sample

ACCOUNT = "/v1/accounts/capillary:9001:1:77:points"
AUTHOR = {"author": "Jane Roe", "reason": "Ann showed her receipt"}
TERMS = {
    "effective_from": "2023-11-01",
    "time_zone": "UTC",
    "expiry": {"rule": "fixed", "days": 30},
    "existing_lots": True,
    "points_to_currency": {"ratio": "0.5", "currency": "INR"},
}


async def ask_dry(acme: TenantClient, key: str, method: str, path: str, body: Any, **headers: str) -> tuple[int, Any]:
    given = {"Authorization": f"Bearer {key}", **headers}
    response = await acme.client.request(method, path, params={"dry_run": "true"}, json=body, headers=given)
    return response.status, await response.json()


def effect(preview: Any, table: str, column: str) -> list[tuple[Any, Any]]:
    """Return a column before and after, of each previewed row of a table."""
    return [
        (row["before"] and row["before"][column], row["after"] and row["after"][column])
        for row in preview["rows"]
        if row["table"] == table
    ]


async def test_a_dry_run_of_an_adjustment_shows_the_balance_and_records_nothing(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in (issued("a", 0, 1, 300), redeemed("b", 10, 1, 100)):
            await acme.deliver(body)
        admin = await key_of(dsn, acme, "admin")
        before = await digest_now(dsn, acme)
        asked = {"points": "-50", "id": "case-1", **AUTHOR}

        status, shown = await ask_dry(acme, admin, "POST", f"{ACCOUNT}/adjustments", asked)
        again, _ = await ask_dry(acme, admin, "POST", f"{ACCOUNT}/adjustments", asked)

        assert (status, again, shown["position"], shown["outcome"]) == (200, 200, None, "appended")
        assert effect(shown["preview"], "accounts", "available") == [("200", "150")]
        assert effect(shown["preview"], "adjustments", "made_by") == [(None, "key " + admin.split("_")[1])]
        assert await digest_now(dsn, acme) == before
        assert (await acme.ask_now("/v1/projections"))["ledger_position"] == 2
        response = await acme.client.post(
            f"{ACCOUNT}/adjustments", json=asked, headers={"Authorization": f"Bearer {admin}"}
        )
        made = await response.json()
        del shown["preview"]
        assert (response.status, made) == (201, {**shown, "position": 3})


async def test_a_dry_run_of_an_adjustment_that_was_made_shows_the_first_and_no_effect(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(issued("a", 0, 1, 300))
        admin = await key_of(dsn, acme, "admin")
        asked = {"points": "7", "id": "case-1", **AUTHOR}
        bearer = {"Authorization": f"Bearer {admin}"}
        await (await acme.client.post(f"{ACCOUNT}/adjustments", json=asked, headers=bearer)).json()

        _, shown = await ask_dry(acme, admin, "POST", f"{ACCOUNT}/adjustments", asked)
        status, differs = await ask_dry(acme, admin, "POST", f"{ACCOUNT}/adjustments", {**asked, "points": "8"})

        assert (shown["position"], shown["outcome"], shown["preview"]["rows"]) == (2, "duplicate", [])
        assert (status, differs["type"]) == (422, "/v1/errors/adjustment-differs")


async def test_a_dry_run_of_terms_and_of_a_policy_shows_accounts_and_liability(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in (issued("a", 5, 1, 10), issued("a", 9, 1, 99), issued("b", 9, 2, 7)):
            await acme.deliver(body)
        admin = await key_of(dsn, acme, "admin")
        before = await digest_now(dsn, acme)

        _, terms = await ask_dry(acme, admin, "POST", "/v1/programmes/capillary:9001:77/terms", TERMS)
        _, policy = await ask_dry(
            acme, admin, "PUT", "/v1/reconciliation/policies/capillary/pointsIssued", {"policy": "latest"}
        )

        assert (terms["position"], terms["preview"]["accounts_changed"]) == (None, 2)
        assert terms["preview"]["liability"] == [
            {
                "programme": "capillary:9001:77",
                "unit": "points",
                "before": {"points": "17", "value": None, "currency": None},
                "after": {"points": "0", "value": "0", "currency": "INR"},
            }
        ]
        assert (policy["position"], policy["conflicts"], policy["preview"]["accounts_changed"]) == (None, 1, 1)
        [liability] = policy["preview"]["liability"]
        assert (liability["before"]["points"], liability["after"]["points"]) == ("17", "106")
        assert await digest_now(dsn, acme) == before


async def test_every_other_operation_has_a_dry_run_that_records_nothing(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in (*CHAIN, issued("d", 200, 2, 7), merged("m", 300, 2, 1)):
            await acme.deliver(body)
        await acme.deliver(sample("capillary", "customerAdded"))
        admin = await key_of(dsn, acme, "admin")
        before = await digest_now(dsn, acme)

        _, adopted = await ask_dry(acme, admin, "POST", f"{ACCOUNT}/adjustments", {"adopt": True, **AUTHOR})
        _, parted = await ask_dry(acme, admin, "POST", "/v1/customers/capillary:9001:2/unmerge", AUTHOR)
        _, closed = await ask_dry(acme, admin, "POST", "/v1/periods/2023-11/close", None)
        not_over, _ = await ask_dry(acme, admin, "POST", "/v1/periods/2199-11/close", None)
        unknown, _ = await ask_dry(acme, admin, "POST", "/v1/customers/nobody/erasure", {})

        assert effect(adopted["preview"], "accounts", "drift") == [("20", "0")]
        assert sorted(after for _, after in effect(parted["preview"], "accounts", "available")) == ["7", "970"]
        assert effect(closed["preview"], "periods", "status") == [(None, "closed")]
        assert {one["position"] for one in (adopted, parted, closed)} == {None}
        assert (not_over, unknown) == (409, 404)
        assert await digest_now(dsn, acme) == before


async def post_test(acme: TenantClient, key: str, body: bytes, connection_id: str = "") -> tuple[int, Any]:
    path = f"/v1/hooks/{connection_id or acme.inbound['capillary'].connection_id}/test"
    response = await acme.client.post(path, data=body, headers={"Authorization": f"Bearer {key}"})
    return response.status, await response.json()


async def test_a_tested_delivery_shows_facts_and_effects_and_is_not_stored(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(issued("a", 0, 1, 300))
        admin = await key_of(dsn, acme, "admin")
        before = await digest_now(dsn, acme)

        status, shown = await post_test(acme, admin, redeemed("b", 10, 1, 100))
        _, again = await post_test(acme, admin, issued("a", 0, 1, 300))
        _, differs = await post_test(acme, admin, issued("a", 5, 1, 400))
        _, personal = await post_test(acme, admin, sample("capillary", "customerAdded"))
        _, unreadable = await post_test(acme, admin, b"not json")

        [event] = shown["events"]
        assert (status, event["position"], event["outcome"], event["kind"]) == (200, None, "appended", "pointsRedeemed")
        assert [fact["fact"] for fact in event["facts"]] == ["Redeemed"]
        assert effect(shown["preview"], "accounts", "available") == [("300", "200")]
        assert (again["events"][0]["position"], again["events"][0]["outcome"]) == (1, "duplicate")
        assert again["preview"]["rows"] == []
        assert (differs["events"][0]["outcome"], differs["preview"]["rows"]) == ("conflict", [])
        assert "<personal>" in str(personal["events"][0]["payload"])
        assert (unreadable["events"][0]["unread"], unreadable["preview"]["rows"]) == ("quarantined", [])
        assert await digest_now(dsn, acme) == before


async def test_only_an_admin_of_the_ledger_tests_its_connections(dsn: str) -> None:
    async with serving(dsn, "acme", "other") as [acme, other]:
        admin = await key_of(dsn, acme, "admin")
        body = issued("a", 0, 1, 300)

        assert (await post_test(acme, acme.key, body))[0] == 403
        assert (await post_test(acme, admin, body, other.inbound["capillary"].connection_id))[0] == 404
        assert (await post_test(acme, admin, b" "))[0] == 400


async def test_the_commands_have_a_dry_run_that_records_nothing(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in (*CHAIN, issued("d", 200, 2, 7), merged("m", 300, 2, 1)):
            await acme.deliver(body)
        before = await digest_now(dsn, acme)
        author = ("--author", "Jane Roe", "--reason", "a letter")
        terms = ("--programme", "capillary:9001:77", "--effective-from", "2023-11-01", "--time-zone", "UTC")
        where = ("--ledger", "acme", "--dry-run", "--json")

        results = {
            name: await loyalty(dsn, *command, *where)
            for name, command in {
                "adjust": ("adjust", "capillary:9001:1:77:points", "--points", "-100", *author),
                "terms": ("terms", "set", *terms, "--expiry", "fixed", "--days", "30", "--existing-lots"),
                "policy": ("policy", "set", "--source", "capillary", "--kind", "pointsIssued", "latest"),
                "unmerge": ("unmerge", "--customer", "capillary:9001:2", *author),
                "erase": ("erase", "--customer", "capillary:9001:2"),
                "close": ("close", "2023-11"),
            }.items()
        }

        assert {name: code for name, (code, _, _) in results.items()} == dict.fromkeys(results, 0), results
        shown = {name: json.loads(out) for name, (_, out, _) in results.items()}
        assert (shown["adjust"]["before"], shown["adjust"]["after"]) == ("977", "877")
        assert shown["terms"]["preview"]["liability"][0]["after"]["points"] == "0"
        assert shown["close"]["preview"]["rows"][0]["after"]["status"] == "closed"
        assert {shown[name]["position"] for name in ("terms", "policy", "unmerge", "erase", "close")} == {None}
        assert await digest_now(dsn, acme) == before
