"""JSON of a generation, for the API and the command line.

A generation holds all ledgers of a database. A caller over HTTP must not see other ledgers: neither their names nor
their numbers of events or differences.
"""

from typing import Any

from projections.engine.generations import Generation

INTERNAL_FIELDS = ("shapes", "schema_name")


def generation_json(generation: Generation) -> dict[str, Any]:
    """Return all fields of a generation, for the operator of the whole database."""
    document = generation._asdict()
    for name in INTERNAL_FIELDS:
        del document[name]
    document["status"] = document.pop("state")
    if generation.comparison is not None:
        document["comparison"] = dict(generation.comparison)
        document["comparison"]["compared_with"] = document["comparison"].pop("with")
    return document


def generation_json_for_ledger(generation: Generation, ledger: str) -> dict[str, Any]:
    """Return a generation as one ledger may see it.

    `scope.ledgers` is absent if the generation was made for all ledgers. It is empty if the generation was made for
    others only. `comparison` names the tables of this ledger that differ.
    """
    document = generation_json(generation)
    document["scope"] = dict(generation.scope)
    if "ledgers" in generation.scope:
        document["scope"]["ledgers"] = [name for name in generation.scope["ledgers"] if name == ledger]
    if generation.comparison is not None:
        document["comparison"] = {
            "compared_with": generation.comparison["with"],
            "position": generation.comparison["positions"].get(ledger),
            "differing": generation.comparison["differing"].get(ledger, []),
        }
    return document


def generation_json_for_operator(generation: Generation, ledger: str) -> dict[str, Any]:
    """Return a generation as the operator's key of one ledger may see it.

    It adds the number of all differences, which decides whether the generation may be promoted.
    """
    document = generation_json_for_ledger(generation, ledger)
    if generation.comparison is not None:
        document["comparison"] |= {name: generation.comparison[name] for name in ("expected", "unexpected")}
    return document
