"""The document shows a published payload of each vendor, and for each answer an example that the service gave."""

import json
import os
from typing import Any

from service.server.openapi.document import FILE as DOCUMENT
from service.server.openapi.examples import FILE, read_examples
from service.server.routes import OPERATIONS
from tests.support.client import serving
from tests.support.record_examples import deliveries, record_answers

# The published samples hold none of these: operators, signers and rebuilds cause them.
WITHOUT_EXAMPLE = {"get_endpoint", "list_attempts", "list_generations", "prove_consistency", "prove_inclusion"}


async def test_each_answer_has_an_example_of_its_present_form(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        answers = await record_answers(acme)
    recorded = {
        "answers": dict(sorted(answers.items())),
        "deliveries": {name: json.loads(body) for name, body in deliveries().items()},
    }
    if os.environ.get("LOYALTY_RECORD_EXAMPLES"):
        FILE.write_text(json.dumps(recorded, indent=1, ensure_ascii=False) + "\n")

    examples = read_examples()
    assert examples["deliveries"] == recorded["deliveries"]
    assert {name: form_of(one) for name, one in examples["answers"].items()} == {
        name: form_of(one) for name, one in recorded["answers"].items()
    }
    asked = {one.operation_id for one in OPERATIONS if one.method == "GET" and one.answer is not None}
    assert asked - examples["answers"].keys() == WITHOUT_EXAMPLE


def form_of(value: Any) -> Any:
    """Return the names of an answer's fields, on the two upper levels. Values change with the time of the question."""
    if isinstance(value, dict):
        return {key: sorted(one) if isinstance(one, dict) else None for key, one in value.items()}
    return None


def test_the_document_shows_the_examples() -> None:
    paths = json.loads(DOCUMENT.read_text())["paths"]
    examples = read_examples()

    hook = paths["/v1/hooks/{connection_id}"]["post"]
    media = hook["requestBody"]["content"]["application/json"]
    assert {name: one["value"] for name, one in media["examples"].items()} == examples["deliveries"]
    assert hook["responses"]["200"]["content"]["application/json"]["example"] == examples["answers"]["receive_delivery"]
    account = paths["/v1/accounts/{id}"]["get"]["responses"]["200"]["content"]["application/json"]
    assert account["example"] == examples["answers"]["get_account"]
