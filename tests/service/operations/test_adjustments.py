"""Adjustments of an account: adopted claims, encrypted authors and reasons, and reversals."""

import json
from typing import Any

from ledger.database import connect
from ledger.store import api_keys
from projections.engine.digest import compute_digest
from projections.rebuild import rebuild
from tests.support.client import MASTER_KEY, TenantClient, serving
from tests.support.payloads import issued, merged, redeemed

PARK = "INSERT INTO subjects VALUES ($1, 'account', $2, false, 'x', 4)"
ANN, BOB = "capillary:9001:1", "capillary:9001:2"
ACCOUNT = f"/v1/accounts/{ANN}:77:points"
WORDS = {"author": "Jane Roe", "reason": "Ann showed her receipt"}

# Domain, trap 14: between the second and the third, one +20 never arrived.
CHAIN = (
    issued("a", 0, 1, 1000, programCurrentPoints=1000),
    redeemed("b", 60, 1, 40, programCurrentPoints=960),
    issued("c", 180, 1, 10, programCurrentPoints=990),
)
MISSING = issued("missing", 120, 1, 20, programCurrentPoints=980)


async def key_of(dsn: str, acme: TenantClient, *scopes: str) -> str:
    connection = await connect(dsn)
    key = await api_keys.create_key(connection, MASTER_KEY, acme.ledger, scopes)
    await connection.close()
    return key


async def post(acme: TenantClient, key: str, path: str, body: Any, **headers: str) -> tuple[int, Any]:
    given = {"Authorization": f"Bearer {key}", **headers}
    response = await acme.client.post(path, json=body, headers=given)
    return response.status, await response.json()


async def digest_now(dsn: str, acme: TenantClient) -> str:
    await acme.ask_now("/v1/projections")
    connection = await connect(dsn)
    found = await compute_digest(connection, acme.ledger.ledger_id)
    await connection.close()
    return found.digest


async def test_an_adopted_claim_ends_the_drift_and_its_reversal_brings_it_back(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in CHAIN:
            await acme.deliver(body)
        admin = await key_of(dsn, acme, "admin")
        before = await acme.ask_now(ACCOUNT)

        status, made = await post(acme, admin, f"{ACCOUNT}/adjustments", {"adopt": True, **WORDS})
        assert (status, made["points"], made["position"], made["outcome"]) == (201, "20", 4, "appended")
        adopted = await acme.ask_now(ACCOUNT)
        assert (adopted["available"], adopted["drift"], adopted["missing"]) == ("990", "0", "0")

        path = f"{ACCOUNT}/adjustments/{made['id']}/reversal"
        status, back = await post(acme, admin, path, WORDS)
        assert (status, back["points"], back["position"]) == (201, "-20", 5)
        after = await acme.ask_now(ACCOUNT)
        history = {"at", "last_at", "last_position", "as_of_position"}
        assert {name for name in before if before[name] != after[name]} == history
        assert (after["drift"], after["drift_position"], after["agreed_position"]) == ("20", 3, 2)

        lines = (await acme.ask_now(f"{ACCOUNT}/statement"))["items"][-2:]
        assert [(line["kind"], line["points"], line["balance"], line["reference"]) for line in lines] == [
            ("AdjustmentMade", "20", "990", made["id"]),
            ("AdjustmentReversed", "-20", "970", made["id"]),
        ]
        [listed] = (await acme.ask_now(f"{ACCOUNT}/adjustments"))["items"]
        assert (listed["points"], listed["adopted"], listed["position"], listed["reversal_position"]) == (
            "20",
            True,
            4,
            5,
        )


async def test_an_adjustment_is_made_once_however_often_it_is_asked_for(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in CHAIN:
            await acme.deliver(body)
        admin = await key_of(dsn, acme, "admin")
        named = {"Idempotency-Key": '"case-4711"'}

        answers = [
            await post(acme, admin, f"{ACCOUNT}/adjustments", {"points": "-12.5", **WORDS}, **named) for _ in range(3)
        ]
        other = await post(acme, admin, f"{ACCOUNT}/adjustments", {"points": 7, **WORDS}, **named)

        assert [(status, one["outcome"], one["position"]) for status, one in answers] == [
            (201, "appended", 4),
        ] * 3
        assert (other[0], other[1]["type"]) == (422, "/v1/errors/idempotency-key-reused")
        named_by_id = {"id": "case-4711", **WORDS}
        repeated = await post(acme, admin, f"{ACCOUNT}/adjustments", {"points": "-12.5", **named_by_id})
        differing = await post(acme, admin, f"{ACCOUNT}/adjustments", {"points": 7, **named_by_id})
        assert (repeated[0], repeated[1]["outcome"], repeated[1]["position"]) == (200, "duplicate", 4)
        assert (differing[0], differing[1]["type"]) == (422, "/v1/errors/adjustment-differs")
        assert (await acme.ask_now(ACCOUNT))["available"] == "957.5"

        backs = [await post(acme, admin, f"{ACCOUNT}/adjustments/case-4711/reversal", WORDS) for _ in range(2)]
        assert [(status, one["outcome"], one["position"]) for status, one in backs] == [
            (201, "appended", 5),
            (200, "duplicate", 5),
        ]
        assert (await acme.ask_now(ACCOUNT))["available"] == "970"


async def test_an_adoption_asked_for_again_is_answered_with_the_first_though_nothing_is_left(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in CHAIN:
            await acme.deliver(body)
        admin = await key_of(dsn, acme, "admin")
        asked = {"adopt": True, "id": "case-1", **WORDS}

        first = await post(acme, admin, f"{ACCOUNT}/adjustments", asked)
        again = await post(acme, admin, f"{ACCOUNT}/adjustments", asked)
        nothing = await post(acme, admin, f"{ACCOUNT}/adjustments", {"adopt": True, **WORDS})

        assert (first[0], again[0], again[1]["position"], again[1]["points"]) == (201, 200, 4, "20")
        assert (nothing[0], nothing[1]["type"]) == (409, "/v1/errors/nothing-to-adopt")


async def test_what_cannot_be_adjusted_is_refused(dsn: str) -> None:
    async with serving(dsn, "acme", "other") as [acme, other]:
        for body in CHAIN:
            await acme.deliver(body)
        admin, reading = await key_of(dsn, acme, "admin"), await key_of(dsn, acme, "read")
        path = f"{ACCOUNT}/adjustments"
        await post(acme, admin, path, {"points": 1, "id": "ours", **WORDS})

        refusals = [
            (reading, path, {"points": 1, **WORDS}, 403),
            (await key_of(dsn, other, "admin"), path, {"points": 1, **WORDS}, 404),
            (await key_of(dsn, other, "admin"), f"{path}/ours/reversal", WORDS, 404),
            (admin, f"{path}/nobodys/reversal", WORDS, 404),
            (admin, f"/v1/accounts/{BOB}:77:points/adjustments", {"points": 1, **WORDS}, 404),
            (admin, path, {"points": 1, "author": "Jane Roe"}, 400),
            (admin, path, {"points": 1, "author": " ", "reason": "x"}, 400),
            (admin, path, {"points": 1, "author": "Jane\x00", "reason": "x"}, 400),
            (admin, path, {"points": 0, **WORDS}, 400),
            (admin, path, {"points": 1.5, **WORDS}, 400),
            (admin, path, {"points": "many", **WORDS}, 400),
            (admin, path, {"points": 1, "adopt": True, **WORDS}, 400),
            (admin, path, WORDS, 400),
            (admin, path, {"points": -1, "expires_on": "2030-01-01", **WORDS}, 400),
            (admin, path, {"points": 1, "expires_on": "2025-12-31", **WORDS}, 400),
            (admin, path, {"points": 1, "expires_on": "0001-01-01", **WORDS}, 400),
            (admin, path, {"points": 1, "expires_on": "9999-12-31", **WORDS}, 400),
            (admin, path, {"points": 1, "id": "a b", **WORDS}, 400),
            (admin, f"{path}/ours/reversal", {"author": "Jane Roe"}, 400),
        ]
        for key, where, asked, status in refusals:
            assert (await post(acme, key, where, asked))[0] == status, (where, asked)
        assert (await acme.ask_now("/v1/projections"))["ledger_position"] == 4


async def test_author_and_reason_are_sealed_with_the_customer(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in CHAIN:
            await acme.deliver(body)
        admin, reveal = await key_of(dsn, acme, "admin"), await key_of(dsn, acme, "reveal")
        await post(acme, admin, f"{ACCOUNT}/adjustments", {"points": 5, **WORDS})

        async def revealed(position: int) -> Any:
            response = await acme.client.get(
                f"/v1/ledger/events/{position}/delivery",
                params={"reason": "a test"},
                headers={"Authorization": f"Bearer {reveal}"},
            )
            return json.loads(await response.read())

        event = await acme.ask_now("/v1/ledger/events/4")
        told = await revealed(4)
        status, erased = await post(acme, admin, f"/v1/customers/{ANN}/erasure", {"reason": "Ann asked by letter"})

        assert (event["payload"]["author"], event["payload"]["reason"]) == ("<personal>", "<personal>")
        assert "Jane" not in json.dumps(event)
        assert (told["author"], told["reason"]) == ("Jane Roe", "Ann showed her receipt")
        assert (status, erased["customers"]) == (200, [ANN])
        assert (await revealed(4))["reason"] == "<personal>"
        shown = await acme.ask_now(f"/v1/ledger/events/{erased['position']}")
        assert shown["payload"]["reason"] == "<personal>"
        assert "letter" not in json.dumps(shown)
        assert (await revealed(erased["position"]))["reason"] == "Ann asked by letter"


async def test_adopt_reverse_merge_erase_and_rebuild_each_leave_the_digest_it_should_be(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in CHAIN:
            await acme.deliver(body)
        await acme.deliver(issued("bob", 0, 2, 7))
        admin = await key_of(dsn, acme, "admin")
        digests = [await digest_now(dsn, acme)]

        _, made = await post(acme, admin, f"{ACCOUNT}/adjustments", {"adopt": True, **WORDS})
        digests.append(await digest_now(dsn, acme))
        await post(acme, admin, f"{ACCOUNT}/adjustments", {"adopt": True, "id": made["id"], **WORDS})
        assert await digest_now(dsn, acme) == digests[-1]  # repeated, nothing changes

        await acme.deliver(merged("m", 600, 1, 2))
        digests.append(await digest_now(dsn, acme))
        heir = f"/v1/accounts/{BOB}:77:points"
        assert (await acme.ask_now(heir))["available"] == "997"

        back = await post(acme, admin, f"{heir}/adjustments/{made['id']}/reversal", WORDS)
        assert back[0] == 201
        digests.append(await digest_now(dsn, acme))
        after = await acme.ask_now(heir)
        assert (after["available"], after["drift"]) == ("977", "20")

        status, _ = await post(acme, admin, f"/v1/customers/{BOB}/erasure", {"reason": "asked"})
        assert (status, await digest_now(dsn, acme)) == (200, digests[-1])  # without the erasure

        assert (await rebuild(dsn)).differing == {}
        assert await digest_now(dsn, acme) == digests[-1]
        assert len(set(digests)) == len(digests)


async def test_the_missing_event_that_arrives_ends_the_drift_and_shows_an_adoption_as_one_too_many(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in CHAIN:
            await acme.deliver(body)
        admin = await key_of(dsn, acme, "admin")
        _, made = await post(acme, admin, f"{ACCOUNT}/adjustments", {"adopt": True, **WORDS})

        await acme.deliver(MISSING)
        late = await acme.ask_now(ACCOUNT)
        await post(acme, admin, f"{ACCOUNT}/adjustments/{made['id']}/reversal", WORDS)
        mended = await acme.ask_now(ACCOUNT)

        assert (late["available"], late["drift"]) == ("1010", "-20")
        assert (mended["available"], mended["drift"], mended["drift_since"]) == ("990", "0", None)


async def test_an_account_lists_its_open_matters(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in (*CHAIN, redeemed("spent", 240, 1, 5_000), issued("fine", 0, 2, 5, programCurrentPoints=5)):
            await acme.deliver(body)
        ann = await acme.ask_now(ACCOUNT)
        connection = await connect(dsn)
        await connection.execute(PARK, acme.ledger.ledger_id, ANN)
        await connection.close()

        assert ann["open_matters"] == ["drift", "incomplete"]
        assert (await acme.ask_now(ACCOUNT))["open_matters"] == ["drift", "incomplete", "parked at position 4"]
        assert (await acme.ask_now(f"/v1/accounts/{BOB}:77:points"))["open_matters"] == []
