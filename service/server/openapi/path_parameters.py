"""Placeholders of paths: the description, the schema and an example of each."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class PathParameter(NamedTuple):
    """One placeholder of paths."""

    description: str
    example: Any
    schema: Mapping[str, Any] = {"type": "string"}


PATH_PARAMETERS: Mapping[str, PathParameter] = {
    "id": PathParameter(
        "`source:org:id`, with `-` for an org that the source does not name. A bare id is enough if it is unambiguous.",
        "87884897",
    ),
    "lot": PathParameter("The id of a lot of the account.", "1-0"),
    "adjustment": PathParameter("The id of an adjustment of the account.", "2026-03-goodwill-17"),
    "position": PathParameter("The position of an event.", 1, {"type": "integer", "minimum": 1}),
    "period": PathParameter("A month.", "2026-03", {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}$"}),
    "generation": PathParameter("The number of a generation.", 2, {"type": "integer", "minimum": 0}),
    "source": PathParameter("The vendor that sent the events.", "capillary"),
    "kind": PathParameter("The kind of the events.", "pointsIssued"),
    "connection_id": PathParameter("The id of the connection, as `loyalty connection create` shows it.", "cn_example"),
    "endpoint_id": PathParameter("The id of an endpoint, as `GET /v1/endpoints` shows it.", "ep_example"),
    "token": PathParameter("The token of a published log.", "example"),
    "file": PathParameter("The name of a file.", "swagger-ui.css"),
    "problem": PathParameter("The name of a type of problem.", "scope-missing"),
    "path": PathParameter("The name of a tile.", "0/000"),
}

# The id of an account has three parts, and a programme is named by the vendor's id too.
ID_OF_TAG: Mapping[str, PathParameter] = {
    "accounts": PathParameter(
        "`{customer}:{programme}:{unit}`. The customer alone is enough if it has a single account.",
        "87884897:838:points",
    ),
    "adjustments": PathParameter(
        "`{customer}:{programme}:{unit}`. The customer alone is enough if it has a single account.",
        "87884897:838:points",
    ),
    "programmes": PathParameter("`source:org:programme`, or the vendor's id of the programme.", "838"),
}
