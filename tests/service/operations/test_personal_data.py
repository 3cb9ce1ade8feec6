"""Invariant 9: no personal value is stored in the clear. The right scope finds it; an erasure destroys it."""

import json
import logging
import subprocess
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from ledger.database import connect
from ledger.privacy.vault import Vault
from ledger.store import api_keys
from ledger.store.append import append
from ledger.store.registry import Ledger
from projections.engine.digest import compute_digest
from service.embedded.cluster import WHEEL_BINARIES
from service.embedded.system_user import wheel_folder
from service.operations.erase import erase_requested
from service.settings import Settings
from tests.support.client import MASTER_KEY, TenantClient, serving
from tests.support.payloads import SAMPLES, VAULT, capillary, delivery, issued, merged, sample

# Collected from the samples by hand: keys that name a person, or something of a person.
PERSONAL_KEYS = {
    *("mobile", "email", "firstName", "lastName", "identifierValue", "accountId", "membershipNumber"),
    *("first_name", "last_name", "phone_number", "line_1", "postal_code", "company_name", "tracking_id"),
}
PERSONAL_WITHIN = {
    "externalId": {"instore", "Instore"},
    "name": {"customer", "holder"},
    "source_id": {"customer", "holder"},
    "number": {"membership"},
    "city": {"address"},
    "country_code": {"address"},
    "value": {"currentCustomFields", "currentExtendedFields"},
}


def plant(value: Any, canary: str, inside: tuple[str, ...] = ()) -> tuple[Any, list[str]]:
    """Put a canary into every personal field of a document. Return the document and the canaries."""
    planted: list[str] = []
    if isinstance(value, dict):
        made = {}
        for key, child in value.items():
            name = "".join(key.split())
            within = PERSONAL_WITHIN.get(name, set())
            if isinstance(child, str | int) and (name in PERSONAL_KEYS or within & set(inside)):
                made[key] = f"{canary}{len(planted)}x"
                planted.append(made[key])
            else:
                made[key], more = plant(child, f"{canary}{len(planted)}y", (*inside, name))
                planted += more
        return made, planted
    if isinstance(value, list):
        items = [plant(item, f"{canary}{n}z", inside) for n, item in enumerate(value)]
        return [item for item, _ in items], [one for _, more in items for one in more]
    return value, []


def dump(dsn: str) -> str:
    """Return a dump of the whole database, as in an administrator's backup."""
    parts = urlsplit(dsn)
    host = parse_qs(parts.query)["host"][0]
    command = [str(wheel_folder() / WHEEL_BINARIES / "pg_dump"), "-h", host, "-U", parts.username or "", parts.path[1:]]
    done = subprocess.run(command, capture_output=True, check=True, env={"PGPASSWORD": parts.password or ""})
    return done.stdout.decode()


async def reveal(acme: TenantClient, key: str, position: int) -> bytes:
    response = await acme.client.get(
        f"/v1/ledger/events/{position}/delivery",
        params={"reason": "a complaint"},
        headers={"Authorization": f"Bearer {key}"},
    )
    assert response.status == 200, await response.text()
    return await response.read()


async def key_of(dsn: str, ledger: Ledger, *scopes: str) -> str:
    connection = await connect(dsn)
    key = await api_keys.create_key(connection, MASTER_KEY, ledger, scopes)
    await connection.close()
    return key


async def test_a_canary_in_every_personal_field_of_every_sample_is_found_nowhere_but_by_reveal(
    dsn: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("LOYALTY_ERASE_ON_REQUEST", "false")  # a sample approves a deletion, which must wait
    canaries: list[str] = []
    bodies: dict[int, bytes] = {}
    asked_only = Settings(erase_on_request=False)  # one sample is such a request, and all are to be revealed
    async with serving(dsn, "acme", settings=asked_only) as [acme]:
        paths = [path for path in sorted(SAMPLES.rglob("*.json")) if ".facts." not in path.name]
        paths = [path for path in paths if path.parent.name in acme.inbound]
        for number, path in enumerate(paths):
            document, planted = plant(json.loads(path.read_bytes()), f"canary{number}q")
            body = json.dumps(document, indent=number % 3 or None).encode()
            status, told = await acme.deliver(body, path.parent.name)
            assert status == 200
            if told["events"][0]["outcome"] == "appended":
                bodies[told["events"][0]["position"]] = body
            canaries += planted
        answers = [json.dumps(await acme.ask_now("/v1/ledger/events", limit="1000"))]
        for position in bodies:
            answers.append(json.dumps(await acme.ask_now(f"/v1/ledger/events/{position}")))
        key = await key_of(dsn, acme.ledger, "reveal", "audit")
        for position, body in bodies.items():
            assert await reveal(acme, key, position) == body
        looks = (await acme.ask("/v1/audit/access", key=key, limit="1000"))[1]["items"]

    everything = dump(dsn)
    hexed = [canary.encode().hex() for canary in canaries]
    assert len(canaries) > 200
    assert [one for one in (*canaries, *hexed) if one in everything] == []
    assert [one for one in canaries if any(one in answer for answer in answers)] == []
    assert [one for one in canaries if one in caplog.text] == []
    reveals = [(f"event {at}", "a complaint") for at in bodies]
    assert [(look["object"], look["reason"]) for look in looks] == [*reveals, ("GET /v1/audit/access", "")]


async def test_what_cannot_be_read_is_sealed_whole(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        body = b"\xff\xfe mobile=918395082082 \x00"
        await acme.deliver(body)

        event = await acme.ask_now("/v1/ledger/events/1")
        revealed = await reveal(acme, await key_of(dsn, acme.ledger, "reveal"), 1)

        assert event["payload"] == {"unreadable": "not JSON", "body": "<personal>"}
        assert revealed == body


@pytest.mark.parametrize("why", ["call back ann@example.com", "asked by +44 20 7946 0958"])
async def test_a_reason_with_a_personal_value_is_refused_since_it_is_stored_in_the_clear(dsn: str, why: str) -> None:
    async with serving(dsn, "acme") as [acme], acme.database() as connection:
        await acme.deliver(sample("capillary", "pointsIssued"))
        reveal = await api_keys.create_key(connection, MASTER_KEY, acme.ledger, ["read", "reveal", "audit"])

        revealed, problem = await acme.ask("/v1/ledger/events/1/delivery", key=reveal, reason=why)
        listed, _ = await acme.ask("/v1/audit/access", key=reveal, reason=why)
        looks = await connection.fetch("SELECT why FROM ledger.access")

    assert (revealed, listed) == (400, 400)
    assert "`reason` must not hold personal data" in problem["detail"]
    assert looks == []


@pytest.mark.parametrize("why", [{}, {"reason": ""}, {"reason": "  "}])
async def test_a_look_without_a_reason_reveals_nothing_and_is_not_recorded(dsn: str, why: dict[str, str]) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(b"\xff\xfe mobile=918395082082")
        key = await key_of(dsn, acme.ledger, "reveal", "audit")

        status, problem = await acme.ask("/v1/ledger/events/1/delivery", key=key, **why)
        _, looks = await acme.ask("/v1/audit/access", key=key)

    assert status == 400
    assert "`reason` is missing" in problem["detail"]
    assert [look["object"] for look in looks["items"]] == ["GET /v1/audit/access"]


async def test_reveal_needs_its_scope(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(sample("capillary", "pointsIssued"))

        status, problem = await acme.ask("/v1/ledger/events/1/delivery")

        assert (status, problem["type"]) == (403, "/v1/errors/scope-missing")


async def test_a_customer_is_found_by_e_mail_and_telephone_however_they_are_written(dsn: str) -> None:
    body = capillary(
        "pointsIssued",
        "1",
        0,
        7,
        totalPointsIssued=5,
        customerIdentifiers={"customerId": 7, "instore": {"email": " Ann@Example.com", "mobile": "+91 8395-082082"}},
    )
    async with serving(dsn, "acme", "other") as [acme, other]:
        await acme.deliver(body)

        for what, value in (("email", "ann@example.COM"), ("mobile", "918395082082")):
            found = await acme.ask_now("/v1/customers/lookup", **{what: value})
            assert found["items"] == [{"id": "capillary:9001:7"}]
            assert (await other.ask_now("/v1/customers/lookup", **{what: value}))["items"] == []
        assert (await acme.ask("/v1/customers/lookup"))[0] == 400


def about(customer: int, identifier: str, **instore: str) -> bytes:
    return capillary(
        "pointsIssued",
        identifier,
        0,
        customer,
        totalPointsIssued=5,
        customerIdentifiers={"customerId": customer, "instore": instore},
    )


async def erase(acme: TenantClient, dsn: str, customer: str) -> tuple[int, Any]:
    admin = {"Authorization": f"Bearer {await key_of(dsn, acme.ledger, 'admin')}"}
    response = await acme.client.post(f"/v1/customers/{customer}/erasure", json={"reason": "asked"}, headers=admin)
    return response.status, await response.json()


async def test_erasing_a_person_changes_no_balance_and_no_hash(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        ann, bob = about(1, "a", email="ann@example.com"), about(2, "b", email="bob@example.com")
        for body in (ann, bob):
            await acme.deliver(body)
        before = await acme.ask_now("/v1/ledger/events")
        account = await acme.ask_now("/v1/accounts/capillary:9001:1:77:points")

        status, done = await erase(acme, dsn, "capillary:9001:1")

        assert (status, done) == (200, {"customers": ["capillary:9001:1"], "destroyed": 1, "position": 3})
        after = await acme.ask_now("/v1/ledger/events")
        assert after["items"][:2] == before["items"]
        assert after["items"][2]["kind"] == "customerErased"
        for name in ("available", "lifetime", "lots"):
            assert (await acme.ask_now("/v1/accounts/capillary:9001:1:77:points"))[name] == account[name]
        key = await key_of(dsn, acme.ledger, "reveal")
        assert json.loads(await reveal(acme, key, 1))["data"]["customerIdentifiers"]["instore"]["email"] == "<personal>"
        assert await reveal(acme, key, 2) == bob
        assert (await acme.ask_now("/v1/customers/lookup", email="ann@example.com"))["items"] == []
        [customer] = (await acme.ask_now("/v1/customers/capillary:9001:1"))["customers"]
        assert customer["erased_at"] is not None


async def test_erasing_twice_or_erasing_nobody(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(about(1, "a", email="ann@example.com"))
        await erase(acme, dsn, "capillary:9001:1")

        again = await erase(acme, dsn, "capillary:9001:1")
        nobody = await erase(acme, dsn, "capillary:9001:404")

        assert again == (200, {"customers": ["capillary:9001:1"], "destroyed": 0, "position": None})
        assert nobody[0] == 404


async def test_merged_customers_are_erased_together(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in (about(1, "a", email="ann@example.com"), about(2, "b", email="a@work"), merged("m", 5, 1, 2)):
            await acme.deliver(body)
        await acme.ask_now("/v1/projections")

        _, done = await erase(acme, dsn, "capillary:9001:2")

        assert (done["customers"], done["destroyed"]) == (["capillary:9001:1", "capillary:9001:2"], 2)


async def test_a_redelivery_after_the_person_was_erased_is_still_a_duplicate(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        body = about(1, "a", email="ann@example.com")
        await acme.deliver(body)
        await erase(acme, dsn, "capillary:9001:1")

        _, told = await acme.deliver(body)

        assert told["events"][0] == {"position": 1, "outcome": "duplicate", "kind": "pointsIssued"}


async def test_events_after_an_erasure_are_encrypted_under_a_new_key(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(about(1, "a", email="ann@example.com"))
        await erase(acme, dsn, "capillary:9001:1")
        later = about(1, "later", email="ann@new.example")

        _, told = await acme.deliver(later)

        key = await key_of(dsn, acme.ledger, "reveal")
        assert await reveal(acme, key, told["events"][0]["position"]) == later


async def test_another_personal_value_under_the_same_key_is_a_conflict(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(about(1, "a", email="ann@example.com"))
        _, told = await acme.deliver(about(1, "a", email="ann@other.example"))
        _, spelt = await acme.deliver(json.dumps(json.loads(about(1, "a", email="ann@example.com")), indent=4).encode())

        assert told["events"][0]["outcome"] == "conflict"
        assert spelt["events"][0]["outcome"] == "duplicate"
        account = await acme.ask_now("/v1/accounts/capillary:9001:1:77:points")
        assert account["available"] == "5"


async def test_an_approved_request_erases_the_customer(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        body = json.loads(about(4545332, "a", email="ann@example.com"))
        body["orgId"] = 781
        await acme.deliver(json.dumps(body).encode())
        await acme.deliver(sample("capillary", "requestUpdated-2"))

        await acme.wait_for_position(3)  # the erasure itself

        [customer] = (await acme.ask_now("/v1/customers/capillary:781:4545332"))["customers"]
        assert customer["erased_at"] is not None
        assert (await acme.ask_now("/v1/customers/lookup", email="ann@example.com"))["items"] == []


async def test_later_events_of_an_erased_customer_are_erased_too(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        later = json.loads(about(4545332, "later", email="ann@new.example"))
        later["orgId"] = 781
        await acme.deliver(sample("capillary", "requestUpdated-2"))
        await acme.ask_now("/v1/projections")

        _, told = await acme.deliver(json.dumps(later).encode())
        position = told["events"][0]["position"]
        await acme.wait_for_position(position + 1)  # the erasure itself

        assert (await acme.ask_now("/v1/customers/lookup", email="ann@new.example"))["items"] == []
        assert b"ann@new.example" not in await reveal(acme, await key_of(dsn, acme.ledger, "reveal"), position)


async def test_a_redelivery_of_an_erased_customer_appends_nothing_however_often_it_comes(dsn: str) -> None:
    ann, request = json.loads(about(4545332, "a", email="ann@example.com")), sample("capillary", "requestUpdated-2")
    ann["orgId"] = 781
    other = json.loads(about(4545332, "a", email="ann@example.com", mobile="918395082082"))  # a conflict with the first
    other["orgId"], other["data"]["totalPointsIssued"] = 781, 6
    bodies = [json.dumps(ann).encode(), json.dumps(other).encode(), request]
    async with serving(dsn, "acme", settings=Settings(erase_on_request=False)) as [acme]:
        for body in bodies:
            await acme.deliver(body)
        await acme.ask_now("/v1/projections")
        async with acme.database() as connection:
            erased = await erase_requested(connection, Vault(MASTER_KEY), acme.ledger)

            outcomes = []
            for vault in (Vault(MASTER_KEY), Vault(MASTER_KEY), VAULT):  # each as after a restart
                told = await append(connection, vault, acme.ledger.ledger_id, [delivery(body) for body in bodies])
                outcomes += [[one.outcome for one in told_of] for told_of in told]
                for body in bodies:
                    _, answer = await acme.deliver(body)
                    outcomes.append([event["outcome"] for event in answer["events"]])
                await acme.ask_now("/v1/projections")
                erased += await erase_requested(connection, Vault(MASTER_KEY), acme.ledger)

        listed = await acme.ask_now("/v1/ledger/events")

    assert erased == 1
    assert outcomes == [["duplicate"]] * 18
    assert [event["kind"] for event in listed["items"]] == [
        *("pointsIssued", "pointsIssued", "requestUpdated", "customerErased"),
    ]


async def test_a_new_event_of_an_erased_customer_is_erased_once_however_often_it_comes(dsn: str) -> None:
    later = json.loads(about(4545332, "later", email="ann@new.example"))
    later["orgId"] = 781
    async with serving(dsn, "acme", settings=Settings(erase_on_request=False)) as [acme]:
        await acme.deliver(sample("capillary", "requestUpdated-2"))
        erased = []
        async with acme.database() as connection:
            for _ in range(3):
                await acme.deliver(json.dumps(later).encode())
                await acme.ask_now("/v1/projections")
                erased.append(await erase_requested(connection, Vault(MASTER_KEY), acme.ledger))

        listed = await acme.ask_now("/v1/ledger/events")

    assert erased == [1, 0, 0]
    assert [event["kind"] for event in listed["items"]] == ["requestUpdated", "pointsIssued", "customerErased"]


async def test_an_event_delivered_together_with_a_redelivery_of_an_erased_customer_can_be_revealed(
    dsn: str,
) -> None:
    async with serving(dsn, "acme") as [acme]:
        old, new = about(1, "a", email="ann@example.com"), about(1, "b", email="ann@new.example")
        await acme.deliver(old)
        await erase(acme, dsn, "capillary:9001:1")

        async with acme.database() as connection:
            both = [delivery(old), delivery(new)]
            [[first], [second]] = await append(connection, VAULT, acme.ledger.ledger_id, both)

        assert (first.outcome, second.outcome) == ("duplicate", "appended")
        assert await reveal(acme, await key_of(dsn, acme.ledger, "reveal"), second.position) == new


async def test_an_ambiguous_id_erases_no_customer(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        other = json.loads(about(1, "b", email="bob@example.com"))
        other["orgId"] = 9002
        for body in (about(1, "a", email="ann@example.com"), json.dumps(other).encode()):
            await acme.deliver(body)
        await acme.ask_now("/v1/projections")

        status, problem = await erase(acme, dsn, "1")

        assert (status, problem["status"]) == (400, 400)
        for email in ("ann@example.com", "bob@example.com"):
            assert len((await acme.ask_now("/v1/customers/lookup", email=email))["items"]) == 1


async def test_an_erasure_leaves_every_digest_as_it_was(dsn: str) -> None:
    connection = await connect(dsn)
    async with serving(dsn, "acme") as [acme]:
        added = capillary("customerAdded", "j", 0, 1, loyaltyType="LOYALTY")
        for body in (added, about(1, "a", email="ann@example.com"), issued("b", 3, 1, 10)):
            await acme.deliver(body)
        await acme.ask_now("/v1/projections")
        before = await compute_digest(connection, acme.ledger.ledger_id)
        await erase(acme, dsn, "capillary:9001:1")
        await acme.ask_now("/v1/projections")
        after = await compute_digest(connection, acme.ledger.ledger_id)
    await connection.close()

    assert after == before


async def test_keys_remembered_by_another_process_are_not_used_after_an_erasure(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        connection = await connect(dsn)
        await append(connection, VAULT, acme.ledger.ledger_id, [delivery(about(1, "a", email="ann@example.com"))])
        await erase(acme, dsn, "capillary:9001:1")

        body = about(1, "later", email="ann@new.example")
        [[told]] = await append(connection, VAULT, acme.ledger.ledger_id, [delivery(body)])
        await connection.close()

        key = await key_of(dsn, acme.ledger, "reveal")
        assert await reveal(acme, key, told.position) == body


def test_the_master_key_of_the_tests_is_that_of_the_vault() -> None:
    assert VAULT.body_hash_key(1) == MASTER_KEY.derive(b"names of 1")


@pytest.mark.parametrize(
    ("address", "spelt"), [("ann@example.com", "Ann@Example.com"), ("+91 8395-082082", "+918395082082")]
)
async def test_a_customer_whose_id_is_an_address_is_stored_under_a_pseudonym_and_found_by_the_address(
    dsn: str, address: str, spelt: str
) -> None:
    body = issued("a", 0, address, 10)  # type: ignore[arg-type]  # the vendor's id is a text
    async with serving(dsn, "acme", "other") as [acme, other]:
        _, told = await acme.deliver(body)
        await acme.deliver(issued("b", 1, spelt, 5))  # type: ignore[arg-type]
        await acme.ask_now("/v1/projections")

        account = await acme.ask_now(f"/v1/accounts/capillary:9001:{quote(spelt)}:77:points")
        customer = await acme.ask_now(f"/v1/customers/{quote(address)}")
        by_kind = await acme.ask_now("/v1/customers/lookup", **{"email" if "@" in address else "mobile": address})
        [ref] = [one["id"] for one in by_kind["items"]]
        foreign, _ = await other.ask(f"/v1/customers/{quote(address)}")
        stored = dump(dsn)
        revealed = await reveal(acme, await key_of(dsn, acme.ledger, "reveal"), told["events"][0]["position"])
        _, erased = await erase(acme, dsn, quote(address))
        gone = await acme.ask_now(f"/v1/accounts/{ref}:77:points")

    assert account["available"] == gone["available"] == "15"
    assert [one["id"] for one in customer["accounts"]] == [f"{ref}:77:points"]
    assert foreign == 404
    assert revealed == body
    assert [one for one in (address, spelt, address.encode().hex()) if one in stored] == []
    assert erased["customers"] == [ref]
