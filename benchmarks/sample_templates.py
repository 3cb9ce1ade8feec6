"""Make a published sample into a text with holes: `template % fields` is then a delivery as the vendor would send it.

A hole is named by the key it stands under, or by the end of its path where a key alone says too little
("transferReceivingCustomerIdentifiers.customerId"); one of Capillary's identifiers, by what its own "key" says.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SAMPLES = Path(__file__).parents[1] / "tests" / "samples"
MARK = "\x01"  # stands around a hole that is a number, until its quotes are taken away


def template(sample: str, holes: Mapping[str, str]) -> str:
    """Fill a sample ("capillary/pointsIssued"); what fills a hole is a value, or a field as `%` writes it.

    Blanks that copying left in keys are removed: deliveries have none. Fails if a hole is not in the sample.
    """
    document = json.loads((SAMPLES / f"{sample}.json").read_text())
    missing = set(holes)
    text = json.dumps(_filled(document, (), holes, missing)).replace("\\u0001", MARK)
    assert not missing, f"{sample} has no {missing}"
    return text.replace(f'"{MARK}', "").replace(f'{MARK}"', "")


def _filled(value: Any, path: tuple[str, ...], holes: Mapping[str, str], missing: set[str]) -> Any:
    if isinstance(value, list):
        return [_filled(item, path, holes, missing) for item in value]
    if isinstance(value, dict):
        names = {key: "".join(key.split()) for key in value}
        under = ("".join(value["key"].split()),) if value.keys() == {"key", "value"} else ()
        return {
            name: _filled(value[key], (*path, *under, name) if name == "value" else (*path, name), holes, missing)
            for key, name in names.items()
        }
    for length in range(len(path), 0, -1):
        name = ".".join(path[-length:])
        if name in holes:
            missing.discard(name)
            return holes[name] if isinstance(value, str) else f"{MARK}{holes[name]}{MARK}"
    return value.replace("%", "%%") if isinstance(value, str) else value
