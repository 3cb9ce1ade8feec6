"""Everything that the database role of the service can write: it is refused, has no effect, or is found."""

from pathlib import Path

import pytest

from ledger.database import Connection, connect
from ledger.errors import BadCredentials, ConnectionUnknown
from ledger.store import api_keys, registry
from ledger.store.append import append
from ledger.store.registry import Ledger
from ledger.transparency import tree_heads
from ledger.transparency.signer import Signer
from service.audit.verify_ledger import verify_ledger
from service.outgoing.addresses import PUBLIC_ONLY
from service.outgoing.endpoint_options import EndpointOptions
from service.outgoing.endpoints import create_endpoint
from tests.support.client import MASTER_KEY, serving
from tests.support.payloads import VAULT, delivery, issued

GUARDS = Path(__file__).parents[2] / "ledger/guards.txt"
SECRET = "chosen-by-the-attacker"
# For each table that the role can write: a statement, and the check of `loyalty verify` that finds it. None means that
# no answer changes, as the tests below show, or that the rows are disposable and compared by `verify --projections`.
WRITES: dict[str, tuple[str, str | None]] = {
    "ledger.api_keys": (
        "INSERT INTO ledger.api_keys (ledger_id, key_id, secret_hash, scopes, mac) SELECT ledger_id, 'feedfeedfeed', "
        "sha256('chosen-by-the-attacker'), '{reveal,admin}', mac FROM ledger.api_keys",
        "configuration",
    ),
    "ledger.connections": (
        "UPDATE ledger.connections SET secrets = (SELECT secrets FROM ledger.connections WHERE source = 'fabric'), "
        "mac = (SELECT mac FROM ledger.connections WHERE source = 'fabric') WHERE source = 'capillary'",
        "configuration",
    ),
    "ledger.public_logs": (
        "INSERT INTO ledger.public_logs (ledger_id, token, mac) VALUES (1, 'token', '\\x00')",
        "configuration",
    ),
    "outgoing.endpoints": ("UPDATE outgoing.endpoints SET url = 'https://thief.example'", "configuration"),
    "outgoing.cursors": ("", None),  # messages are repeated or left out; they go to the endpoint's own URL
    "outgoing.attempts": ("", None),  # a log for operators
    "outgoing.notices": ("", None),  # notices are repeated or left out
    "ledger.ledgers": ("INSERT INTO ledger.ledgers (ledger_id, name) VALUES (77, 'mine')", None),
    "ledger.checkpoints": (
        "INSERT INTO ledger.checkpoints SELECT (jsonb_populate_record(c, jsonb_build_object("
        "'checkpoint', c.checkpoint + 1, 'size', c.size + 1))).* FROM ledger.checkpoints c",
        "signatures",
    ),
    "ledger.log_keys": (
        "INSERT INTO ledger.log_keys SELECT (jsonb_populate_record(k, jsonb_build_object('key', 'mine+0+AAAA'))).* "
        "FROM ledger.log_keys k",
        "signatures",
    ),
    "ledger.tiles": (
        "INSERT INTO ledger.tiles (ledger_id, level, number, hashes, root) "
        "SELECT 1, 0, 7, decode(repeat('00', 8192), 'hex'), decode(repeat('00', 32), 'hex')",
        "tiles",
    ),
    "ledger.cosignatures": ("", None),  # signed by witnesses, whose keys the verifier names
    "ledger.logs": ("", None),  # a name that no signed head has
    "ledger.idempotent_answers": ("", None),  # an answer to a repeated request
    "ledger.seal_problems": ("", None),  # a message for the operator of the service
    "projections.generations": ("", None),  # disposable: `loyalty rebuild` makes it again
    "generation_1.*": ("UPDATE accounts SET available = 4711", None),
}


def test_every_table_that_the_role_can_write_is_tried() -> None:
    written = {
        line.split()[1].rstrip(":")
        for line in GUARDS.read_text().splitlines()
        if line.startswith("table ") and "loyalty_service may" in line and ("INSERT" in line or "UPDATE" in line)
    }

    assert set(WRITES) == written


async def configured(connection: Connection, ledger: Ledger, signer: Signer) -> None:
    """A ledger with an event, a key, two connections and a checkpoint."""
    await append(connection, VAULT, ledger.ledger_id, [delivery(issued("a", 0, 1, 10))])
    await api_keys.create_key(connection, MASTER_KEY, ledger, ["read"])
    for source in ("capillary", "fabric"):
        await registry.create_connection(connection, MASTER_KEY, ledger, source=source)
    options = EndpointOptions()
    await create_endpoint(
        connection, MASTER_KEY, ledger, "https://example.com", options, destinations=PUBLIC_ONLY, after=0
    )
    await tree_heads.sign_head(connection, signer, ledger)


async def found_wrong(connection: Connection, dsn: str, ledger: Ledger, signer: Signer) -> list[str]:
    findings = await verify_ledger(connection, dsn, ledger, signer, master_key=MASTER_KEY)
    return [finding.check for finding in findings if not finding.holds]


@pytest.mark.parametrize("table", [table for table, (_, check) in WRITES.items() if check])
async def test_verify_finds_what_the_role_wrote(
    connection: Connection, dsn: str, ledger: Ledger, tmp_path: Path, table: str
) -> None:
    signer = Signer(tmp_path)
    await configured(connection, ledger, signer)
    before = await found_wrong(connection, dsn, ledger, signer)

    attacker = await connect(dsn, role="loyalty_service")
    await attacker.execute(WRITES[table][0])
    await attacker.close()

    assert before == []
    assert WRITES[table][1] in await found_wrong(connection, dsn, ledger, signer)


async def test_an_api_key_that_was_made_in_the_database_opens_nothing(
    connection: Connection, ledger: Ledger, tmp_path: Path
) -> None:
    await configured(connection, ledger, Signer(tmp_path))
    await connection.execute(WRITES["ledger.api_keys"][0])

    with pytest.raises(BadCredentials):
        await api_keys.find_key(connection, MASTER_KEY, f"ll_feedfeedfeed_{SECRET}")


async def test_a_connection_with_the_secret_of_another_takes_no_delivery(
    connection: Connection, ledger: Ledger, tmp_path: Path
) -> None:
    await configured(connection, ledger, Signer(tmp_path))
    [victim, _] = await registry.list_connections(connection, MASTER_KEY, ledger)
    await connection.execute(WRITES["ledger.connections"][0])

    with pytest.raises(ConnectionUnknown):
        await registry.find_connection(connection, MASTER_KEY, victim.connection_id)


async def test_a_secret_that_was_replaced_does_not_come_back_by_its_old_row(
    connection: Connection, ledger: Ledger
) -> None:
    inbound = await registry.create_connection(connection, MASTER_KEY, ledger, source="capillary")
    old = await connection.fetchval("SELECT secrets FROM ledger.connections")
    await registry.add_secret(connection, MASTER_KEY, inbound)
    await connection.execute("UPDATE ledger.connections SET secrets = $1", old)

    with pytest.raises(ConnectionUnknown):
        await registry.find_connection(connection, MASTER_KEY, inbound.connection_id)


async def test_an_address_that_was_published_in_the_database_shows_nothing(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        async with acme.database() as connection:
            await connection.execute(WRITES["ledger.public_logs"][0])

        response = await acme.client.get("/v1/logs/token/checkpoint")

    assert response.status == 404


async def test_a_revoked_key_and_a_disabled_connection_stay_bound(connection: Connection, ledger: Ledger) -> None:
    key = await api_keys.create_key(connection, MASTER_KEY, ledger, ["read"])
    inbound = await registry.create_connection(connection, MASTER_KEY, ledger, source="capillary")
    await api_keys.revoke_key(connection, MASTER_KEY, ledger, key.split("_")[1])
    await registry.disable_connection(connection, MASTER_KEY, ledger, inbound.connection_id)

    listed = await registry.list_connections(connection, MASTER_KEY, ledger)

    assert [one.disabled_at is not None for one in listed] == [True]
    with pytest.raises(BadCredentials):
        await api_keys.find_key(connection, MASTER_KEY, key)
