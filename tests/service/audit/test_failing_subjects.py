"""Exports, attestations, bundles and finance while our own code fails on one subject or event."""

import io
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from ledger.database import Connection
from ledger.privacy.encryption import MasterKey
from ledger.store.append import append
from ledger.store.registry import Ledger
from ledger.transparency.signer import Signer
from projections.engine.worker import catch_up
from projections.queries.roll_forward import RollForwardQuery
from service.audit.attestation import attest
from service.audit.bundle import BundleScope, write_bundle
from service.audit.verify_ledger import verify_ledger
from service.finance.liability import read_trial_balance, roll_forward
from service.importing.exported_ledger import write_export
from tests.projections.engine.test_containment import BOUNDARIES, Boundary, Unforeseen, poisoned_redemption
from tests.support.payloads import VAULT, delivery, issued

MASTER_KEY = MasterKey(bytes(range(32)))


@pytest.mark.parametrize("boundary", BOUNDARIES.values(), ids=BOUNDARIES.keys())
async def test_a_failure_on_one_subject_stops_no_export_bundle_attestation_or_report(
    connection: Connection, dsn: str, ledger: Ledger, tmp_path: Path, boundary: Boundary
) -> None:
    bodies = [issued("1", 0, 1, 100), issued("2", 1, 2, 50)]
    signer = Signer(tmp_path / "signer", site="logs.example")
    exported, bundle = io.BytesIO(), io.BytesIO()

    with boundary.inject(Unforeseen):
        await append(connection, VAULT, ledger.ledger_id, [delivery(body) for body in bodies])
        await catch_up(connection, ledger.ledger_id)
        await append(connection, VAULT, ledger.ledger_id, [delivery(poisoned_redemption())])
        await catch_up(connection, ledger.ledger_id)

        lines = await write_export(
            connection, MASTER_KEY, ledger, exported, with_keys=True, report_progress=lambda _done, _of: None
        )
        attestation = await attest(connection, VAULT, ledger)
        await write_bundle(dsn, signer, ledger, bundle, BundleScope())
        findings = await verify_ledger(connection, dsn, ledger, signer, replay=True)
        balances = await read_trial_balance(connection, ledger.ledger_id, datetime.now(UTC), None)
        rolled = await roll_forward(
            connection, ledger.ledger_id, RollForwardQuery(date(2024, 1, 1), date(2030, 1, 1)), None
        )

    assert lines > len(bodies)
    assert attestation.event_position == len(bodies) + 2
    assert bundle.getvalue()
    assert balances.sums()
    assert rolled.rows()
    # A replay cannot decode a damaged fact, so verify must report the difference, and only that.
    expected = ["attestation"] if boundary.costs == "stored" else []
    assert [finding.check for finding in findings if not finding.holds] == expected
