"""A parameter with a value that stands for nothing is answered as the OpenAPI document describes.

The tests' client compares each answer with the document: its status, its headers and its body.
"""

import re

import pytest

from service.server.routes import OPERATIONS
from tests.support.client import serving
from tests.support.payloads import samples

REQUIRED = {"position": "1", "from_size": "1", "to_size": "1"}
STREAM = "/v1/stream"  # does not end
FAULT = 500


@pytest.mark.parametrize("value", ["", "nobody", "0", "2024-13", "\u0661", "capillary:1:2"])
async def test_a_value_that_stands_for_nothing_has_a_described_answer(dsn: str, value: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in samples("capillary")[:20]:
            await acme.deliver(body)
        await acme.ask_now("/v1/projections")
        faults = list[str]()
        asked = 0
        for operation in OPERATIONS:
            if (
                operation.method != "GET"
                or not re.fullmatch(r"/v1/[^{]+", operation.template)
                or operation.template == STREAM
            ):
                continue
            needed = {one.name: REQUIRED[one.name] for one in operation.parameters if one.name in REQUIRED}
            for one in operation.parameters:
                if one.name in {"follow", "min_position"}:
                    continue
                asked += 1
                status, _ = await acme.ask(operation.template, **{**needed, one.name: value})
                if status == FAULT:
                    faults.append(f"{operation.template}?{one.name}={value}: {status}")

    assert asked > 100
    assert faults == []
