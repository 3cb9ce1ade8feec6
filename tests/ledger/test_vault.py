"""The vault: keys of persons are made once, however many make them at the same time."""

import asyncio
import hmac

from hypothesis import given
from hypothesis import strategies as st

from ledger.database import Connection, connect
from ledger.events import Delivery
from ledger.privacy.encryption import MasterKey, new_keyed_hash
from ledger.privacy.redaction import PersonalPart, RedactedSpan
from ledger.privacy.vault import Vault
from ledger.store.append import append, prepare_append
from ledger.store.registry import Ledger
from tests.support.payloads import delivery, issued

MASTER_KEY = MasterKey(bytes(range(32)))


def naming(*customers: str) -> list[Delivery]:
    return [
        Delivery(b"", (), [PersonalPart(f"capillary:1:{customer}", [RedactedSpan(0, b'"Ada"')])])
        for customer in customers
    ]


@given(key=st.binary(max_size=64), messages=st.lists(st.binary(max_size=200), max_size=3))
def test_a_keyed_hash_is_that_of_the_standard_library(key: bytes, messages: list[bytes]) -> None:
    keyed = new_keyed_hash(key)

    def digest(message: bytes) -> bytes:
        copied = keyed.copy()
        copied.update(message)
        return copied.digest()

    assert [digest(one) for one in messages] == [hmac.digest(key, one, "sha256") for one in messages]


async def test_imports_that_meet_the_same_new_customers_do_not_wait_for_each_other(
    connection: Connection, dsn: str, ledger: Ledger
) -> None:
    others = await connect(dsn)
    later = [f"n{n}" for n in range(60)]
    try:
        async with connection.transaction():
            await Vault(MASTER_KEY).encrypt(connection, ledger.ledger_id, naming("m"))
            waiting = asyncio.create_task(Vault(MASTER_KEY).encrypt(others, ledger.ledger_id, naming(*later, "m")))
            await asyncio.sleep(0.2)  # until it waits for the key of m

            sealed = await Vault(MASTER_KEY).encrypt(connection, ledger.ledger_id, naming(*later))

        again = await waiting
    finally:
        await others.close()

    assert [one.key_id for _, one in again[:-1]] == [one.key_id for _, one in sealed]


async def test_a_lookup_hash_is_sent_once_and_again_after_an_erasure_by_another_process(
    connection: Connection, ledger: Ledger
) -> None:
    vault, ledger_id = Vault(MASTER_KEY), ledger.ledger_id

    async def store(*identifiers: str) -> list[str]:
        """Append an event of the customer for each identifier. Return the customers that the e-mail names."""
        bodies = [issued(one, 0, 1, 10, email="ada@example.com") for one in identifiers]
        await append(connection, vault, ledger_id, [delivery(body) for body in bodies])
        return await vault.find(connection, ledger_id, "email", "ada@example.com")

    assert await store("a") == ["capillary:9001:1"]
    prepared = await prepare_append(
        connection, vault, ledger_id, [delivery(issued("b", 0, 1, 10, email="ada@example.com"))]
    )
    await connection.fetchval("SELECT ledger.erase_person($1, $2)", ledger_id, "capillary:9001:1")

    assert prepared.lookups == []
    assert await store("a") == []  # a redelivery finds nobody
    assert await store("b", "c") == ["capillary:9001:1"]
