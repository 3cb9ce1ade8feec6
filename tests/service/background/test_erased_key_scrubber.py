"""Erasure on disk: a copy of the data folder made after an erasure holds no key of the person."""

import shutil
from pathlib import Path

from ledger.database import connect
from ledger.privacy.vault import Vault
from ledger.store.append import append
from ledger.store.registry import create_ledger
from projections.engine import generations
from projections.engine.worker import catch_up
from service.background.erased_key_scrubber import scrub
from service.embedded.server import EmbeddedPostgres
from service.environment import Environment
from service.operations.erase import erase
from service.settings import Settings
from tests.support.payloads import capillary, delivery

SMALL = {"shared_buffers": "16MB"}
OF_ANN = "SELECT wrapped FROM ledger.personal_keys WHERE subject = 'capillary:9001:1'"
BLIND_OF_ANN = "SELECT blind FROM ledger.personal_index WHERE subject = 'capillary:9001:1'"


def holding(folder: Path, needles: list[bytes]) -> set[str]:
    """Return the names of the files in a folder that hold one of these byte strings."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)) for path in files if any(one in path.read_bytes() for one in needles)}


async def test_a_copy_of_the_folder_after_an_erasure_holds_no_key_and_no_look_up_of_the_person(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with EmbeddedPostgres.start(data, settings=SMALL) as server:
        place = Environment(server.dsn(), Settings(data=data), embedded=True, postgres=server)
        await place.migrate()
        vault = Vault(place.master_key)
        connection = await connect(place.dsn)
        await generations.ensure_active_generation(connection)
        ledger = await create_ledger(connection, "acme")
        people = [
            capillary(
                "customerAdded", f"{n}", n, n, customerIdentifiers={"customerId": n, "email": f"p{n}@example.com"}
            )
            for n in (1, 2)
        ]
        await append(connection, vault, ledger.ledger_id, [delivery(body) for body in people])
        await catch_up(connection, ledger.ledger_id)
        secrets = [await connection.fetchval(OF_ANN), await connection.fetchval(BLIND_OF_ANN)]
        await connection.execute("CHECKPOINT")
        before = holding(data, secrets)

        await erase(connection, vault, ledger, "capillary:9001:1", by="ann", reason="asked")
        await connection.execute("CHECKPOINT")
        deleted = holding(data, secrets)
        done = [await scrub(connection, data), await scrub(connection, data)]
        shutil.copytree(data, tmp_path / "copy", ignore=shutil.ignore_patterns("*.pid", "socket*", ".s.*"))

        rows = await connection.fetch("SELECT subject FROM ledger.personal_keys WHERE subject LIKE 'capillary:%'")
        body = await connection.fetchval("SELECT payload FROM ledger.events WHERE position = 2")
        other = await vault.reveal(connection, ledger.ledger_id, 2, body)
        await connection.close()

    assert before
    assert deleted  # deleting the rows alone is not enough, hence the scrub
    assert done == [True, False]
    assert holding(tmp_path / "copy", secrets) == set()
    assert [row["subject"] for row in rows] == ["capillary:9001:2"]
    assert other == people[1]
