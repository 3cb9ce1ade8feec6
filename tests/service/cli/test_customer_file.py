"""`loyalty access-file`: everything about one person, decrypted, and the look is recorded."""

import json
from pathlib import Path
from typing import Any

from ledger.privacy.access_log import accesses_after
from service.cli.terminal.operators import called_by
from tests.service.cli.test_deliveries import loyalty_of_tests
from tests.support.client import serving
from tests.support.payloads import issued, sample


async def test_a_person_gets_their_own_values_and_the_look_is_recorded(dsn: str, tmp_path: Path) -> None:
    file = tmp_path / "access.json"
    body = sample("capillary", "customerAdded")
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(body)
        await acme.deliver(issued("other", 0, 4242, 5))
        async with acme.database() as connection:
            [row] = await connection.fetch("SELECT DISTINCT subject FROM ledger.personal_keys")
            code, _, err = await loyalty_of_tests(
                dsn, "access-file", "--ledger", "acme", "--customer", row["subject"], "--reason", "case 17",
                "--output", str(file),
            )  # fmt: skip
            looks = await accesses_after(connection, acme.ledger.ledger_id, 0, 10)
            refused, _, why = await loyalty_of_tests(
                dsn, "access-file", "--ledger", "acme", "--customer", "nobody", "--reason", "case 18"
            )

    assert code == 0, err
    document: Any = json.loads(file.read_bytes())
    assert document["customers"] == [row["subject"]]
    assert [event["payload"] for event in document["events"]] == [json.loads(body)]
    assert document["rows"][row["subject"]]["customers"]
    assert [(look.key_id, look.object, look.reason) for look in looks] == [
        ("operator", f"access file of {row['subject']}", f"case 17 {called_by()}")
    ]
    assert (refused, "nobody" in why) == (3, True)
