"""How a generation is shown, over HTTP and by the command line: the one serialiser.

A generation holds all ledgers of a database. Over HTTP a caller sees nothing of other ledgers: neither their names nor
how many events or differences they have.
"""

from typing import Any

from projections.engine.generations import Generation

INTERNAL_FIELDS = ("shapes", "schema_name")


def generation_json(one: Generation) -> dict[str, Any]:
    """Return all that is known of a generation, for the operator of the whole database."""
    document = one._asdict()
    for name in INTERNAL_FIELDS:
        del document[name]
    return document


def generation_json_for_ledger(one: Generation, ledger: str) -> dict[str, Any]:
    """Return a generation as one ledger may see it.

    `scope.ledgers` is absent where the generation was made for all ledgers, empty where it was made for others only.
    `comparison` has the tables of this ledger that differ.
    """
    document = generation_json(one)
    document["scope"] = dict(one.scope)
    if "ledgers" in one.scope:
        document["scope"]["ledgers"] = [name for name in one.scope["ledgers"] if name == ledger]
    if one.comparison is not None:
        document["comparison"] = {
            "with": one.comparison["with"],
            "position": one.comparison["positions"].get(ledger),
            "differing": one.comparison["differing"].get(ledger, []),
        }
    return document


def generation_json_for_operator(one: Generation, ledger: str) -> dict[str, Any]:
    """Return a generation as an operator's key of one ledger sees it: in addition, how many differences there are in
    all, which decide whether it may be promoted."""
    document = generation_json_for_ledger(one, ledger)
    if one.comparison is not None:
        document["comparison"] |= {name: one.comparison[name] for name in ("expected", "unexpected")}
    return document
