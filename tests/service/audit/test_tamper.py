"""The tamper matrix: each attack on a ledger, each who could notice, and whether they do: as docs/auditors.md says.

The attacker owns the database: triggers are switched off, tiles are made anew. Where somebody outside looks, a
checkpoint is signed over the changed ledger with the log's own key, by an accomplice whose signer remembers nothing. So
"found" means that even so it is found; "not found" is written down as plainly.
"""

import asyncio
import io
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import loyalty_verify
import pytest

from ledger.database import connect
from ledger.errors import LedgerError, Unsealable
from ledger.merkle import leaf_hash
from ledger.privacy.encryption import MasterKey
from ledger.privacy.vault import Vault
from ledger.store import registry
from ledger.store.append import append
from ledger.store.registry import Ledger
from ledger.store.row_macs import mac_of
from ledger.transparency import tiles, tree_heads
from ledger.transparency.signer import Signer
from ledger.transparency.tree_heads import SignedCheckpoint
from ledger.transparency.witness import Witness, WitnessRequest
from projections.engine.worker import catch_up
from service.audit.bundle import BundleScope, write_bundle
from service.audit.verify_ledger import verify_ledger
from service.embedded.server import EmbeddedPostgres
from tests.support.payloads import delivery, issued

MASTER_KEY = MasterKey(bytes(range(32)))
DOCUMENT = Path(__file__).parents[3] / "docs" / "auditors.md"
KEPT, ALL = 300, 310  # events when the auditor and the witness were shown a checkpoint, and now
NOW = 1_800_000_000
OPENED = (
    "events",
    "tiles",
    "checkpoints",
    "log_keys",
    "logs",
    "personal",
    "personal_keys",
    "personal_index",
    "erasures",
)
KNOWN = {customer: {"customerId": customer, "instore": {"mobile": f"8493472077{customer}"}} for customer in range(5)}
BODIES = [
    issued(f"e{number}", number, number % 5, 10 + number, customerIdentifiers=KNOWN[number % 5])
    if number in (0, 1, 201)  # so few name a person by more than an id, and two of them come first
    else issued(f"e{number}", number, number % 5, 10 + number)
    for number in range(ALL)
]


class Scene(NamedTuple):
    """A ledger whose first KEPT events are sealed by a checkpoint that an auditor keeps and a witness has cosigned."""

    dsn: str
    connection: "asyncpg.Connection[asyncpg.Record]"
    ledger: Ledger
    folder: Path
    signer: Signer  # the one that remembers
    key: str
    kept: bytes
    witness: Witness

    def accomplice(self) -> Signer:
        """A signer with the log's key, and no memory."""
        folder = self.folder / "accomplice"
        if not folder.exists():
            folder.mkdir()
            shutil.copy(self.folder / "signer" / "keys", folder / "keys")
        return Signer(folder, site="logs.example")


async def tell(connection: Any, ledger: Ledger, bodies: list[bytes]) -> None:
    deliveries = [delivery(body, ledger=ledger.name) for body in bodies]
    await append(connection, Vault(MASTER_KEY), ledger.ledger_id, deliveries)
    await catch_up(connection, ledger.ledger_id)


@pytest.fixture
async def scene(dsn: str, postgres: EmbeddedPostgres, tmp_path: Path) -> AsyncIterator[Scene]:
    connection = await connect(dsn)
    ledger = await registry.create_ledger(connection, "acme")
    row = {
        "ledger_id": ledger.ledger_id,
        "connection_id": "connection-1",
        "source": "capillary",
        "kind": None,
        "scheme": "header",
        "header": "x-secret",
        "secrets": [],
        "created_at": datetime.now(UTC),
        "disabled_at": None,
        "label": "",
    }
    await connection.execute(registry.CREATE_CONNECTION, *row.values(), mac_of(MASTER_KEY, "connections", row))
    signer = Signer(tmp_path / "signer", site="logs.example")
    await tell(connection, ledger, BODIES[:280])
    await connection.close()
    await back_up(postgres, dsn)  # a copy needs the database for itself
    connection = await connect(dsn)
    await tell(connection, ledger, BODIES[280:KEPT])
    signed = await tree_heads.sign_head(connection, signer, ledger)
    [key] = [one.key for one in await tree_heads.log_keys(connection, ledger.ledger_id)]
    witness = Witness(tmp_path / "witness", "witness.example")
    witness.trust(key)
    assert witness.add_checkpoint(WitnessRequest(0, [], signed.note).write(), NOW).status == 200
    await tell(connection, ledger, BODIES[KEPT:])
    for table in OPENED:
        await connection.execute(f"ALTER TABLE ledger.{table} DISABLE TRIGGER ALL")
    yield Scene(dsn, connection, ledger, tmp_path, signer, key.write(), signed.note, witness)
    await connection.close()
    await on_server(postgres, f"DROP DATABASE IF EXISTS {backup_of(dsn)} WITH (FORCE)")


def backup_of(dsn: str) -> str:
    name = re.search(r"/(t_[0-9a-f]+)\?", dsn)
    assert name is not None
    return f"{name[1]}_backup"


async def back_up(postgres: EmbeddedPostgres, dsn: str) -> None:
    name = backup_of(dsn)
    await on_server(postgres, f"CREATE DATABASE {name} TEMPLATE {name.removesuffix('_backup')} STRATEGY file_copy")
    await on_server(postgres, f"GRANT CREATE ON DATABASE {name} TO loyalty_service, loyalty_projector")


async def on_server(postgres: EmbeddedPostgres, statement: str) -> None:
    server = await asyncpg.connect(postgres.dsn())
    try:
        for attempt in range(100):
            try:
                await server.execute(statement)
                return
            except asyncpg.ObjectInUseError:  # whoever closed a moment ago is still leaving
                if attempt == 99:
                    raise
                await asyncio.sleep(0.05)
    finally:
        await server.close()


# --- the attacks: each changes the database, and gives the scene as it is then ----------------------------------------


async def update(scene: Scene) -> Scene:
    """An event says something else, its entry and leaf hash made to fit."""
    row = await scene.connection.fetchrow("SELECT payload, entry FROM ledger.events WHERE position = 100")
    assert row is not None
    payload = row["payload"].replace(b'"points": 109', b'"points": 999')
    assert payload != row["payload"]
    await scene.connection.execute(
        "UPDATE ledger.events SET payload = $1, entry = convert_to(replace(convert_from(entry, 'UTF8'), "
        "encode(sha256(payload), 'hex'), encode(sha256($1), 'hex')), 'UTF8') WHERE position = 100",
        payload,
    )
    entry = await scene.connection.fetchval("SELECT entry FROM ledger.events WHERE position = 100")
    assert entry != row["entry"]
    await scene.connection.execute("UPDATE ledger.events SET leaf_hash = $1 WHERE position = 100", leaf_hash(entry))
    return scene


async def update_and_seal(scene: Scene) -> Scene:
    """The same, and the tree made anew over it."""
    await update(scene)
    await scene.connection.execute("DELETE FROM ledger.tiles")
    return scene


async def delete_in_the_middle(scene: Scene) -> Scene:
    await scene.connection.execute("DELETE FROM ledger.events WHERE position = 100")
    return scene


async def delete_a_signed_tail(scene: Scene) -> Scene:
    await scene.connection.execute("DELETE FROM ledger.events WHERE position > 290")
    return scene


async def delete_a_tail_that_was_not_signed(scene: Scene) -> Scene:
    await scene.connection.execute("DELETE FROM ledger.events WHERE position > 305")
    return scene


async def insert(scene: Scene) -> Scene:
    await rewrite(scene, [*BODIES[:100], issued("x1", 99, 1, 7), *BODIES[100:]])
    return scene


async def reorder(scene: Scene) -> Scene:
    await rewrite(scene, [*BODIES[:100], BODIES[101], BODIES[100], *BODIES[102:]])
    return scene


async def swap_payloads(scene: Scene) -> Scene:
    await scene.connection.execute(
        "UPDATE ledger.events e "
        "SET payload = (SELECT o.payload FROM ledger.events o WHERE o.position = 201 - e.position) "
        "WHERE position IN (100, 101)"
    )
    return scene


async def move_a_body(scene: Scene) -> Scene:
    """An event is said to have come with another's body, whose sealed parts then stand for its own."""
    await scene.connection.execute("UPDATE ledger.events SET delivery_position = 101 WHERE position = 100")
    return scene


async def destroy_a_key(scene: Scene) -> Scene:
    """What was sealed for the first person can be opened by nobody any more, and no act of forgetting says so."""
    done = await scene.connection.execute(
        "DELETE FROM ledger.personal_keys WHERE subject = (SELECT subject FROM ledger.personal WHERE position = 1)"
    )
    assert done == "DELETE 1"
    return scene


async def destroy_all_keys(scene: Scene) -> Scene:
    assert await scene.connection.execute("DELETE FROM ledger.personal_keys") == "DELETE 2"
    return scene


async def destroy_a_key_and_say_forgotten(scene: Scene) -> Scene:
    """The same, as if they had been forgotten; but no event tells of it."""
    subject = await scene.connection.fetchval("SELECT subject FROM ledger.personal WHERE position = 1")
    for table in ("personal_keys", "personal_index"):
        await scene.connection.execute(f"DELETE FROM ledger.{table} WHERE subject = $1", subject)  # noqa: S608
    await scene.connection.execute(
        "INSERT INTO ledger.erasures (ledger_id, erasure, subject) VALUES ($1, 1, $2)", scene.ledger.ledger_id, subject
    )
    return scene


async def edit_a_variant(scene: Scene) -> Scene:
    """What an event said is said to be something else: then a redelivery is taken for a conflict."""
    await scene.connection.execute("UPDATE ledger.events SET variant = sha256(variant) WHERE position = 100")
    return scene


async def edit_the_variant_of_a_person(scene: Scene) -> Scene:
    """The same, of an event with sealed parts, which takes the person's key to derive."""
    await scene.connection.execute("UPDATE ledger.events SET variant = sha256(variant) WHERE position = 202")
    return scene


async def look_up_another(scene: Scene) -> Scene:
    """One person's number finds another."""
    done = await scene.connection.execute(
        "UPDATE ledger.personal_index SET subject = 'capillary:9001:3' "
        "WHERE subject = (SELECT subject FROM ledger.personal WHERE position = 1)"
    )
    assert done == "UPDATE 1"
    return scene


async def take_out_the_newest_checkpoint(scene: Scene) -> Scene:
    await tree_heads.sign_head(scene.connection, scene.signer, scene.ledger)
    await scene.connection.execute("DELETE FROM ledger.checkpoints WHERE checkpoint = 2")
    return scene


async def take_out_all_checkpoints(scene: Scene) -> Scene:
    await scene.connection.execute("DELETE FROM ledger.checkpoints")
    return scene


async def predate_a_checkpoint(scene: Scene) -> Scene:
    """A checkpoint is said to have been signed before what it covers."""
    await scene.connection.execute("UPDATE ledger.checkpoints SET signed_at = signed_at - interval '1 day'")
    return scene


async def postdate_a_checkpoint(scene: Scene) -> Scene:
    """A checkpoint is said to have been signed later than it was."""
    await scene.connection.execute("UPDATE ledger.checkpoints SET signed_at = signed_at + interval '1 minute'")
    return scene


async def garble_a_key(scene: Scene) -> Scene:
    await scene.connection.execute("UPDATE ledger.log_keys SET key = 'nonsense'")
    return scene


async def edit_the_occurred_time(scene: Scene) -> Scene:
    await scene.connection.execute(
        "UPDATE ledger.events SET occurred_at = occurred_at - interval '1 year' WHERE position = 100"
    )
    return scene


async def edit_a_tile(scene: Scene) -> Scene:
    await scene.connection.execute(
        "UPDATE ledger.tiles SET hashes = set_byte(hashes, 100, (1 + get_byte(hashes, 100)) % 256)"
    )
    return scene


async def edit_a_checkpoint(scene: Scene) -> Scene:
    await scene.connection.execute(
        "UPDATE ledger.checkpoints SET size = 299, note = convert_to(replace(convert_from(note, 'UTF8'), "
        "E'\\n300\\n', E'\\n299\\n'), 'UTF8')"
    )
    return scene


async def sign_with_another_key(scene: Scene) -> Scene:
    """Everything rewritten, and signed by a key of the attacker's, which takes the place of the log's."""
    await rewrite(scene, [*BODIES[:100], *BODIES[101:]])
    await scene.connection.execute("DELETE FROM ledger.checkpoints")
    await scene.connection.execute("DELETE FROM ledger.log_keys")
    (scene.folder / "accomplice").mkdir()  # without the log's key in it, so that another is made
    await tree_heads.sign_head(scene.connection, scene.accomplice(), scene.ledger, adopt=True)
    return scene


async def rewrite_everything_and_sign(scene: Scene) -> Scene:
    """As before, with the log's own key and the signer's folder: what it remembers is rewritten, too."""
    await rewrite(scene, [*BODIES[:100], *BODIES[101:]])
    await scene.connection.execute("DELETE FROM ledger.checkpoints")
    scene.signer.set_aside_head(scene.ledger.name)
    await tree_heads.sign_head(scene.connection, scene.signer, scene.ledger, adopt=True)
    return scene


async def restore_a_backup(scene: Scene) -> Scene:
    """The database is as it was when there were 280 events, and goes on with others."""
    dsn = scene.dsn.replace(f"/{backup_of(scene.dsn).removesuffix('_backup')}?", f"/{backup_of(scene.dsn)}?")
    restored = await connect(dsn)
    await tell(restored, scene.ledger, [issued(f"n{number}", number, 1, 5) for number in range(ALL - 280)])
    return scene._replace(dsn=dsn, connection=restored)


async def rewrite(scene: Scene, bodies: list[bytes]) -> None:
    """Append everything anew, and seal it."""
    for table in ("events", "tiles", "personal"):
        await scene.connection.execute(f"DELETE FROM ledger.{table}")  # noqa: S608
    await append(
        scene.connection,
        Vault(MASTER_KEY),
        scene.ledger.ledger_id,
        [delivery(body, ledger=scene.ledger.name) for body in bodies],
    )


# --- who could notice -------------------------------------------------------------------------------------------------


async def live_check(scene: Scene) -> bool:
    """`loyalty verify`, of the database alone: beside a signer that remembers nothing."""
    return await found_by_verify(scene, Signer(scene.folder / "none"))


async def live_check_beside_the_signer(scene: Scene) -> bool:
    """`loyalty verify` where the signer's folder is."""
    return await found_by_verify(scene, scene.signer)


async def found_by_verify(scene: Scene, signer: Signer) -> bool:
    findings = await verify_ledger(scene.connection, scene.dsn, scene.ledger, signer, master_key=MASTER_KEY)
    return not all(finding.holds for finding in findings)


async def auditor(scene: Scene) -> bool:
    """`loyalty-verify` of a bundle that the accomplice made, with the older checkpoint and the key that were kept."""
    try:
        await cover_up(scene)
        file = io.BytesIO()
        await write_bundle(scene.dsn, scene.accomplice(), scene.ledger, file, BundleScope())
    except LedgerError:  # not even an accomplice can make one
        return True
    return bool(wrong(scene, file.getvalue()))


async def auditor_of_the_stored_checkpoint(scene: Scene) -> bool:
    """The same, where the checkpoint that is stored is the one handed out."""
    note = await scene.connection.fetchval("SELECT note FROM ledger.checkpoints")
    results = loyalty_verify.read_checkpoint(note)
    try:
        return not loyalty_verify.has_signature_of(results, loyalty_verify.read_key(scene.key))
    except loyalty_verify.VerificationFailed:
        return True


def wrong(scene: Scene, content: bytes) -> list[str]:
    results = loyalty_verify.verify(io.BytesIO(content), scene.kept, [loyalty_verify.read_key(scene.key)])
    return [f"{result.check}: {result.detail}" for result in results if not result.holds]


async def witness(scene: Scene) -> bool:
    """A witness that cosigned the kept checkpoint is asked to cosign what the accomplice signs."""
    try:
        signed = await cover_up(scene)
        proof = await tiles.prove_consistency(
            scene.connection, scene.ledger.ledger_id, min(KEPT, signed.size), signed.size
        )
    except LedgerError:
        return True
    return scene.witness.add_checkpoint(WitnessRequest(KEPT, proof, signed.note).write(), NOW).status != 200


async def witness_of_the_stored_checkpoint(scene: Scene) -> bool:
    note = await scene.connection.fetchval("SELECT note FROM ledger.checkpoints")
    return scene.witness.add_checkpoint(WitnessRequest(KEPT, [], note).write(), NOW).status != 200


async def memory(scene: Scene) -> bool:
    """The signer itself is asked to sign the next head."""
    try:
        await tree_heads.sign_head(scene.connection, scene.signer, scene.ledger)
    except Unsealable:
        return True
    return False


async def cover_up(scene: Scene) -> SignedCheckpoint:
    """Remove what was signed before, and sign what is there."""
    await scene.connection.execute("ALTER TABLE ledger.checkpoints DISABLE TRIGGER ALL")
    await scene.connection.execute("DELETE FROM ledger.checkpoints")
    return await tree_heads.sign_head(scene.connection, scene.accomplice(), scene.ledger, adopt=True)


async def project_anew(scene: Scene) -> None:
    """Make facts and rows fit what is there."""
    tables = await scene.connection.fetch(
        "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
    )
    for (table,) in tables:
        await scene.connection.execute(f"DELETE FROM {table}")  # noqa: S608
    await catch_up(scene.connection, scene.ledger.ledger_id)


Attack = Callable[[Scene], Awaitable[Scene]]
ATTACKS: dict[str, Attack] = {
    "update an event": update,
    "update an event, and make the tree anew": update_and_seal,
    "delete in the middle": delete_in_the_middle,
    "delete the tail, signed events among it": delete_a_signed_tail,
    "delete the tail before a checkpoint left the house": delete_a_tail_that_was_not_signed,
    "insert": insert,
    "reorder": reorder,
    "swap payloads": swap_payloads,
    "say that a body came with another": move_a_body,
    "destroy a person's key, and write no erasure down": destroy_a_key,
    "destroy the keys of all persons": destroy_all_keys,
    "destroy a person's key, and write an erasure down by hand": destroy_a_key_and_say_forgotten,
    "edit the variant of an event": edit_a_variant,
    "edit the variant of an event with sealed parts": edit_the_variant_of_a_person,
    "edit by what a person is looked up": look_up_another,
    "edit the occurred time only": edit_the_occurred_time,
    "edit a tile": edit_a_tile,
    "edit a checkpoint": edit_a_checkpoint,
    "take out the newest checkpoint": take_out_the_newest_checkpoint,
    "take out all checkpoints": take_out_all_checkpoints,
    "say that a checkpoint was signed before what it covers": predate_a_checkpoint,
    "say that a checkpoint was signed a minute later": postdate_a_checkpoint,
    "garble the log's public key": garble_a_key,
    "re-sign with another key": sign_with_another_key,
    "rewrite everything and re-sign, the signer's memory included": rewrite_everything_and_sign,
    "restore an old backup and go on": restore_a_backup,
}


def documented() -> dict[str, list[str]]:
    """Read the matrix in the document: for each attack, what the five columns say."""
    table = DOCUMENT.read_text().partition("<!-- the tamper matrix -->")[2].partition("\n\n<")[0]
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in table.splitlines() if "|" in line]
    return {row[0]: row[1:6] for row in rows[2:]}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_who_notices_is_what_the_document_says(scene: Scene, attack: str) -> None:
    changed = await ATTACKS[attack](scene)
    stored = attack == "edit a checkpoint"

    try:
        await project_anew(changed)
        found = [await live_check(changed), await live_check_beside_the_signer(changed)]
        by_signer = await memory(changed)
        found.append(await (auditor_of_the_stored_checkpoint if stored else auditor)(changed))
        found.append(await (witness_of_the_stored_checkpoint if stored else witness)(changed))
    finally:
        if changed.connection is not scene.connection:
            await changed.connection.close()

    seen = ["found" if one else "not found" for one in (*found, by_signer)]
    assert " | ".join(seen) == " | ".join(documented()[attack])


def test_every_attack_has_its_row() -> None:
    assert list(documented()) == list(ATTACKS)


async def test_what_nobody_touched_is_found_by_nobody(scene: Scene) -> None:
    assert not await live_check(scene)
    assert not await live_check_beside_the_signer(scene)
    assert not await memory(scene)
    assert not await auditor(scene)
    assert not await witness(scene)
