"""Turn a published sample into a text template: `template % fields` is a delivery as the vendor sends it.

A placeholder is named by its key. If a key is ambiguous, it is named by the end of its path
("transferReceivingCustomerIdentifiers.customerId"). One of Capillary's identifiers is named by its own "key".
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SAMPLES = Path(__file__).parents[1] / "tests" / "samples"
MARK = "\x01"  # marks a numeric placeholder until its quotes are removed


def fill_sample(sample: str, holes: Mapping[str, str]) -> str:
    """Insert placeholders into a sample ("capillary/pointsIssued"). The text of a placeholder is a value or a `%`
    field.

    Blanks in keys are removed, because deliveries have none. Fails if a placeholder is not in the sample.
    """
    document = json.loads((SAMPLES / f"{sample}.json").read_text())
    missing = set(holes)
    text = json.dumps(_fill_value(document, (), holes, missing)).replace("\\u0001", MARK)
    assert not missing, f"{sample} has no {missing}"
    return text.replace(f'"{MARK}', "").replace(f'{MARK}"', "")


def _fill_value(value: Any, path: tuple[str, ...], holes: Mapping[str, str], missing: set[str]) -> Any:
    if isinstance(value, list):
        return [_fill_value(item, path, holes, missing) for item in value]
    if isinstance(value, dict):
        names = {key: "".join(key.split()) for key in value}
        under = ("".join(value["key"].split()),) if value.keys() == {"key", "value"} else ()
        return {
            name: _fill_value(value[key], (*path, *under, name) if name == "value" else (*path, name), holes, missing)
            for key, name in names.items()
        }
    for length in range(len(path), 0, -1):
        name = ".".join(path[-length:])
        if name in holes:
            missing.discard(name)
            return holes[name] if isinstance(value, str) else f"{MARK}{holes[name]}{MARK}"
    return value.replace("%", "%%") if isinstance(value, str) else value
