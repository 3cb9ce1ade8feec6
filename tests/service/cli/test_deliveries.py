"""`loyalty send` and `loyalty tail`: deliver as a vendor, and follow the events."""

import json
from pathlib import Path

import pytest

from ledger.store import registry
from tests.service.finance.test_export_formats import loyalty
from tests.support.client import MASTER_KEY, serving
from tests.support.payloads import issued


@pytest.mark.parametrize("scheme", ["header", "voucherify", "standard-webhooks"])
async def test_a_file_is_delivered_as_the_vendor_signs_it(dsn: str, tmp_path: Path, scheme: str) -> None:
    file = tmp_path / "delivery.json"
    file.write_bytes(issued("a", 0, 1, 300))
    secret = "a secret of sixteen" if scheme == "voucherify" else None
    async with serving(dsn, "acme") as [acme]:
        async with acme.database() as connection:
            inbound = await registry.create_connection(
                connection, MASTER_KEY, acme.ledger, source="capillary", scheme=scheme, secret=secret
            )
        url = str(acme.client.make_url("/"))

        code, out, err = await loyalty_of_tests(
            dsn, "send", str(file), str(file), "--connection", inbound.connection_id, "--url", url, "--json"
        )
        tail_code, events, _ = await loyalty_of_tests(
            dsn, "tail", "--ledger", "acme", "--after", "0", "--count", "1", "--json"
        )

    assert code == 0, err
    answers = [json.loads(line) for line in out.splitlines()]
    assert [answer["events"][0]["outcome"] for answer in answers] == ["appended", "duplicate"]
    assert tail_code == 0
    event = json.loads(events)
    assert (event["position"], event["outcome"], event["kind"]) == (1, "appended", "pointsIssued")
    assert "account capillary:9001:1" in event["changed"]


async def test_a_refused_file_ends_with_1(dsn: str, tmp_path: Path) -> None:
    file = tmp_path / "empty.json"
    file.write_bytes(b" ")
    async with serving(dsn, "acme") as [acme]:
        inbound, url = acme.inbound["capillary"], str(acme.client.make_url("/"))

        code, out, _ = await loyalty_of_tests(
            dsn, "send", str(file), "--connection", inbound.connection_id, "--url", url
        )

    assert (code, out.split(": ", 1)[1][:3]) == (1, "400")


async def loyalty_of_tests(dsn: str, *arguments: str) -> tuple[int | None, str, str]:
    """Run a command with the master key of the tests."""
    return await loyalty(dsn, *arguments, key="AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
