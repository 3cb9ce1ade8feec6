"""schemathesis asks every operation of the document, and compares the answers with it: a few examples for each.

schemathesis is installed into an environment of its own. CONTRIBUTING.md shows the long profile, for runs by hand.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from ledger.store import api_keys
from service.embedded.server import EmbeddedPostgres
from tests.conftest import fresh_database
from tests.docs.markdown import ROOT, blocks
from tests.docs.programs import install, run
from tests.support.client import MASTER_KEY, serving
from tests.support.payloads import samples

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]

LONG_PROFILE = "--max-examples 50"
# The service of the test signs nothing, so proofs are answered 503.
SHORT_PROFILE = "--max-examples 1 --phases examples,fuzzing --workers 2 --seed 1 --no-color --exclude-tag proofs"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def variables(postgres: EmbeddedPostgres) -> AsyncIterator[dict[str, str]]:
    """A service with every published payload of one vendor, and a key that may do everything in one ledger."""
    async with fresh_database(postgres) as dsn, serving(dsn, "acme") as [acme]:
        for body in samples("capillary"):
            await acme.deliver(body)
        async with acme.database() as connection:
            key = await api_keys.create_key(connection, MASTER_KEY, acme.ledger, ["admin", "reveal"])
        yield {"url": str(acme.client.make_url("")).rstrip("/"), "key": key}


async def test_every_answer_is_as_the_document_describes_it(variables: dict[str, str], tmp_path: Path) -> None:
    [block] = [block for block in blocks(ROOT / "CONTRIBUTING.md") if "schemathesis run" in block.text]
    installing, asking = block.text.replace("\\\n", "").splitlines()
    assert LONG_PROFILE in asking
    await install(installing, variables, tmp_path)

    printed = await run(asking.replace(LONG_PROFILE, SHORT_PROFILE), variables, tmp_path)

    assert "Failures:" not in printed
