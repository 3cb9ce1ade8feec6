"""`loyalty adjust --file`: each row with its result, idempotent by its id, with a dry run."""

import json
from pathlib import Path

from tests.service.finance.test_export_formats import loyalty
from tests.support.client import serving
from tests.support.payloads import issued

ROWS = """id,account,points,expires_on,reason
case-1,capillary:9001:1:77:points,50,,
case-2,capillary:9001:2:77:points,-20,,a letter of hers
case-3,capillary:9001:2:77:points,-1000,,
case-4,nobody,5,,
case-5,capillary:9001:1:77:points,many,,
case-1,capillary:9001:1:77:points,50,,
"""


async def test_each_row_has_its_result_and_is_made_once(dsn: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(ROWS)
    command = (
        "adjust",
        "--ledger",
        "acme",
        "--file",
        str(file),
        "--author",
        "Jane Roe",
        "--reason",
        "goodwill",
        "--json",
    )
    async with serving(dsn, "acme") as [acme]:
        for body in (issued("a", 0, 1, 300), issued("b", 0, 2, 100)):
            await acme.deliver(body)

        dry, shown, _ = await loyalty(dsn, *command, "--dry-run")
        first, made, _ = await loyalty(dsn, *command)
        _, again, _ = await loyalty(dsn, *command)
        projections = await acme.ask_now("/v1/projections")

    previewed, results, repeated = (json.loads(text) for text in (shown, made, again))
    outcomes = ["appended", "appended", "refused", "refused", "refused", "refused"]
    assert (dry, first) == (1, 1)
    assert [row["outcome"] for row in previewed] == [row["outcome"] for row in results] == outcomes
    assert [row["after"] for row in results[:2]] == [row["after"] for row in previewed[:2]] == ["350", "80"]
    assert [row["position"] for row in results[:2]] == [3, 4]
    assert [row["outcome"] for row in repeated[:2]] == ["duplicate", "duplicate"]
    assert "debt of 920" in results[2]["reason"]
    assert projections["ledger_position"] == 4
