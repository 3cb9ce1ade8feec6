"""Invariant 10, over every route: no answer to the keys of one ledger reveals anything of another."""

import json
import re
from io import BytesIO
from typing import Any

from ledger.database import Connection
from ledger.store import api_keys
from ledger.store.api_keys import SCOPES
from projections import rebuild
from projections.registry import PROJECTIONS
from service.api.problems import PROBLEM_TYPES, TYPE_PREFIX
from service.outgoing.addresses import PUBLIC_ONLY
from service.outgoing.endpoint_options import EndpointOptions
from service.outgoing.endpoints import create_endpoint
from service.queries.listing.list_catalogue import LISTS
from service.reconciliation.catalogue import LISTS as OPEN_LISTS
from service.server.openapi.document import FILE
from service.server.routes import OPERATIONS
from tests.support.client import MASTER_KEY, TenantClient, serving
from tests.support.payloads import issued, merged, redeemed, sample, samples

ZEBRA, QUOKKA = "zebra", "quokka"
QUERIES: dict[str, list[dict[str, str]]] = {
    "/v1/customers/lookup": [{"email": "quokka@quokka.example"}, {"mobile": "918395082082"}, {"external_id": "quokka"}],
    "/v1/liability": [{"from": "2019-01-01", "to": "2029-01-01"}, {"format": "csv"}],
    "/v1/breakage": [{"month": "2024-01"}],
    "/console/finance/trial-balance/accounts": [{"class": "available", "programme": "838", "unit": "points"}],
    "/v1/trial-balance": [{}, {"format": "csv"}],
    "/v1/ledger/proofs/inclusion": [{"position": "1"}, {"position": "40"}],
    "/v1/ledger/proofs/consistency": [{"from_size": "1", "to_size": "2"}, {"from_size": "1", "to_size": "40"}],
}
SAID = {
    "by": "ann", "reason": "asked", "points": 1, "id": "a1", "policy": "latest", "quantity": 1, "expect": [],
    "time_zone": "UTC", "basis": "facts", "projections": ["horoscopes"], "subject": "nobody", "subject_kind": "account",
}  # fmt: skip
SUBJECTS = (
    "SELECT DISTINCT ON (subject_kind) subject FROM facts WHERE ledger_id = $1 ORDER BY subject_kind, subject DESC"
)
ALL_SUBJECTS = "SELECT DISTINCT subject FROM facts WHERE ledger_id = $1"
FILL = {
    "position": ["1", "40"], "period": ["2023-11"], "lot": ["1-0"], "adjustment": ["a1"], "kind": ["pointsIssued"],
    "source": ["capillary"], "generation": ["1", "2"], "path": ["0/000"],
    "file": ["start.js"], "problem": [*PROBLEM_TYPES], "asset": ["icon.svg"],
    "projection": [one.path for one in PROJECTIONS if one.path], "list": [*(one.path for one in LISTS), *OPEN_LISTS],
}  # fmt: skip
MADE: dict[str, list[str]] = {"token": ["quokka"]}  # ids of things of quokka and of zebra, once they are made
TABLE = {(operation.method, operation.template): operation for operation in OPERATIONS}
FOLLOWING = ("follow", "true")  # an answer that does not end
ACCOUNT = "/v1/accounts/capillary:9001:1:77:points/adjustments"
ADJUSTMENT = {"id": "a1", "points": "1", "author": "ann", "reason": "asked"}
# Requests of zebra's for further problems: method, path, body, headers.
REFUSED: dict[str, tuple[str, str, Any, dict[str, str]]] = {
    "adjustment-differs": ("POST", ACCOUNT, {**ADJUSTMENT, "points": "2"}, {}),
    "body-too-large": ("POST", ACCOUNT, {"reason": "x" * 2_000_000}, {}),
    "content-coding-unknown": ("POST", "/v1/hooks/{hook}", ADJUSTMENT, {"Content-Encoding": "zebra"}),
    "content-type-unknown": ("POST", ACCOUNT, ADJUSTMENT, {"Content-Type": "text/plain"}),
    "generation-unknown": ("DELETE", "/v1/generations/99", None, {}),
    "idempotency-key-reused": ("POST", ACCOUNT, {**ADJUSTMENT, "id": "a2"}, {"Idempotency-Key": "k1"}),
    "method-not-allowed": ("PUT", ACCOUNT, ADJUSTMENT, {}),
    "nothing-to-adopt": ("POST", ACCOUNT, {"id": "a3", "adopt": True, "author": "ann", "reason": "asked"}, {}),
    "path-unknown": ("GET", "/v1/zebras", None, {}),
    "period-not-closable": ("POST", "/v1/periods/2090-01/close", {"author": "ann"}, {}),
    "scope-missing": ("POST", ACCOUNT, ADJUSTMENT, {"Authorization": ""}),
}
# Faults and overload, which no request causes alone. Their answers quote nothing of a request or of a ledger.
FAULTS = {
    *("body-too-slow", "database-unavailable", "expectation-unknown", "idempotency-key-in-use", "internal-error"),
    *("ledger-moved", "ledger-unavailable", "malformed-request", "memory-exhausted", "name-taken", "not-found"),
    *("position-not-reached", "rebuild-due", "rebuild-runs", "refused", "too-many-connections", "too-many-requests"),
    "unavailable",
}


async def quokka_lives_here(connection: Connection, zebra: TenantClient, quokka: TenantClient) -> None:
    """Give quokka a history of every published kind, zebra a short one, and compare a rebuild of both."""
    for source in ("capillary", "ascenda", "fabric", "voucherify"):
        for body in samples(source):
            assert (await quokka.deliver(body, source))[0] == 200
    for body in (
        b"\xff no JSON",
        b'{"quokka": "in no envelope"}',
        issued("q", 0, 4242424, 5),
        issued("q", 0, 4242424, 6),
    ):
        await quokka.deliver(body)
    for body in (
        *(issued("z", 0, 1, 10), redeemed("y", 1, 1, 4), issued("x", 2, 2, 7), merged("m", 5, 1, 2)),
        sample("capillary", "cardUpdated"),
    ):
        await zebra.deliver(body)
    for one in (zebra, quokka):
        await one.ask_now("/v1/projections")
    for one in (quokka, zebra):
        endpoint = await create_endpoint(
            connection, MASTER_KEY, one.ledger, f"https://{one.ledger.name}.example/hooks",
            EndpointOptions(label=one.ledger.name), destinations=PUBLIC_ONLY, after=0,
        )  # fmt: skip
        inbound = next(iter(one.inbound.values()))
        for name in ("endpoint", "endpoint_id"):
            MADE.setdefault(name, []).append(endpoint.endpoint_id)
        for name in ("connection", "connection_id"):
            MADE.setdefault(name, []).append(inbound.connection_id)
    assert (await rebuild.rebuild(zebra.dsn, expect=("accounts",), to_promote=False)).comparison is not None
    # As if quokka's rows differed, in a rebuild that was made for quokka alone.
    await connection.execute(
        """UPDATE projections.generations SET scope = '{"ledgers": ["quokka"]}',
              comparison = jsonb_set(jsonb_set(comparison, '{differing}', '{"quokka": ["accounts"]}'),
                                     '{places}', '{"quokka.points": 4711471147}') WHERE generation > 1"""
    )


def choices_of(canonical: str) -> list[dict[str, str]]:
    """Return every value of every parameter that takes one of some words, beside the parameters that are required."""
    operation = TABLE.get(("GET", canonical))
    given = QUERIES.get(canonical, [{}])[0]
    return [
        {**given, one.name: value}
        for one in (operation.parameters if operation else ())
        for value in one.schema.get("enum", ["true", "false"] if one.schema.get("type") == "boolean" else [])
        if (one.name, value) != FOLLOWING
    ]


def paths_of(canonical: str, subjects: list[str]) -> list[str]:
    """Return paths of a route: its placeholders filled with every subject where it takes any, otherwise from FILL."""
    paths = [canonical]
    for name in re.findall(r"{(\w+)}", canonical):
        filled = subjects if name == "id" else MADE.get(name) or FILL[name]  # add new placeholders there
        paths = [path.replace("{" + name + "}", value) for path in paths for value in filled]
    return paths


DOCUMENT = "/v1/openapi.json"
UNSEALED = {
    *(f"/v1/ledger/{name}" for name in ("checkpoint", "tlog/checkpoint", "proofs/consistency", "proofs/inclusion")),
    "/console/events/{position}/proof",
}
VARIANTS = (
    *({"explain": "true"}, {"format": "csv"}, {"grace_hours": "0"}, {"limit": "1"}, {"cursor": "nothing"}),
    *({"at": "2030-01-01T00:00:00Z"}, {"as_of_position": "3"}, {"as_of_position": "40"}, {"known_at": "2024-01-01"}),
)


async def requests_with_parameters(
    zebra: TenantClient, quokka_key: str, canonical: str, ours: list[str], theirs: list[str]
) -> list[tuple[str, dict[str, str]]]:
    """Return requests of one route that name something of the other ledger: subjects in the path and in parameters, and
    the cursors of its own pages. Most parameters are unknown to most routes: that tests the refusals.
    """
    paths = paths_of(canonical, theirs[:1])[-1:]
    asked = [(path, variant) for path in paths for variant in VARIANTS]
    asked += [(path, choice) for path in paths_of(canonical, [*ours, *theirs[:1]]) for choice in choices_of(canonical)]
    if canonical in ("/v1/ledger/events", "/v1/facts"):
        asked += [(canonical, {"subject": subject}) for subject in theirs]
    if "{" not in canonical:
        headers = {"Authorization": f"Bearer {quokka_key}"}
        response = await zebra.client.request("GET", canonical, params={"limit": "1"}, headers=headers)
        page = await response.json() if response.content_type == "application/json" else {}
        if isinstance(page, dict) and page.get("next"):
            asked += [(canonical, {"cursor": page["next"]}), (canonical, {"cursor": page["next"], "limit": "1000"})]
    return asked


async def test_no_answer_of_any_route_reveals_anything_of_another_ledger(dsn: str) -> None:
    async with serving(dsn, ZEBRA, QUOKKA) as [zebra, quokka]:
        async with zebra.database() as connection:
            await quokka_lives_here(connection, zebra, quokka)
            theirs = [row[0] for row in await connection.fetch(ALL_SUBJECTS, quokka.ledger.ledger_id)]
            asked = [row[0] for row in await connection.fetch(SUBJECTS, quokka.ledger.ledger_id)]
            ours = [row[0] for row in await connection.fetch(SUBJECTS, zebra.ledger.ledger_id)]
            key = await api_keys.create_key(connection, MASTER_KEY, zebra.ledger, SCOPES)
            other_key = await api_keys.create_key(connection, MASTER_KEY, quokka.ledger, SCOPES)
        markers = [one for one in theirs if len(one) > 5 and one not in ours]
        markers += ["quokka", "4711471147", quokka.key.split("_")[1]]
        markers += [inbound.connection_id for inbound in quokka.inbound.values()]
        markers += MADE["endpoint"][:1]
        bearer = {"Authorization": f"Bearer {key}"}

        leaks, answered, statuses, cursors, served = [], 0, set[int](), 0, set[str]()
        problems, chosen = set[str](), set[tuple[str, str, str]]()
        routes = {(route.method, route.resource.canonical) for route in zebra.client.app.router.routes()}
        for method, canonical in sorted(
            routes - {("HEAD", path) for _, path in routes},
            key=lambda route: (route[0] != "GET", route),  # changes come last: one of them drops a generation
        ):
            requests = [
                (path, {**limit, **query})
                for path in paths_of(canonical, [*ours, *asked])
                for query in (QUERIES.get(canonical, [{}]) if method == "GET" else [{}])
                for limit in ({}, *([{"limit": "1000"}] if method == "GET" and "{" not in canonical else []))
            ]
            if method == "GET":
                requests += await requests_with_parameters(zebra, other_key, canonical, ours, asked)
            for path, query in requests:
                body = None if method == "GET" else json.dumps(SAID)
                response = await zebra.client.request(method, path, params=query, data=body, headers=bearer)
                text = await response.text()
                answered += 1
                statuses.add(response.status)
                if method == "GET" and response.status == 200:
                    served.add(canonical)
                    chosen |= {(canonical, name, value) for name, value in query.items()}
                if response.content_type == "application/problem+json":
                    problems.add(json.loads(text)["type"].removeprefix(TYPE_PREFIX))
                cursors += query.get("cursor", "nothing") != "nothing"
                told = text + str(dict(response.headers))
                made_up = response.headers.get("X-Request-Id")  # random, so it may contain a marker by chance
                for name in (path.rsplit("/", 1)[-1], query.get("subject"), query.get("cursor"), made_up):
                    told = told.replace(name, "") if name else told  # a refusal may quote the request
                if canonical == DOCUMENT and response.status == 200:
                    assert text == FILE.read_text()  # committed, so it is the same for every ledger
                    continue
                leaks += [(method, path, query, one) for one in markers if one in told and one not in path]

    assert leaks == []
    assert answered > 500
    assert cursors >= 10
    lists = {path for method, path in routes if method == "GET" and path.startswith("/v1/") and "{" not in path}
    assert lists - served <= UNSEALED
    assert {"/v1/accounts/{id}", "/v1/accounts/{id}/statement"} <= served
    assert {path for method, path in routes if method == "GET" and path.startswith("/console")} - served <= UNSEALED
    assert {
        (path, name, value)
        for path in lists & served
        for choice in choices_of(path)
        for name, value in choice.items()
        if name not in QUERIES.get(path, [{}])[0]
    } - chosen == set()
    assert PROBLEM_TYPES.keys() - problems <= REFUSED.keys() | FAULTS
    assert {200, 404} <= statuses
    assert max(statuses) < 500 or statuses & set(range(500, 600)) <= {503}


async def test_no_refusal_names_anything_of_another_ledger(dsn: str) -> None:
    async with serving(dsn, ZEBRA, QUOKKA) as [zebra, quokka]:
        async with zebra.database() as connection:
            keys = [await api_keys.create_key(connection, MASTER_KEY, one.ledger, SCOPES) for one in (quokka, zebra)]
        for one, key in zip((quokka, zebra), keys, strict=True):  # both have the same account, and use the same ids
            await one.deliver(issued("q", 0, 1, 4711471147 if one is quokka else 10))
            await one.ask_now("/v1/projections")
            body = {**ADJUSTMENT, "reason": f"for {one.ledger.name}"}
            headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "k1"}
            assert (await zebra.client.post(ACCOUNT, json=body, headers=headers)).status == 201

        answered = {}
        for problem, (method, path, body, more) in REFUSED.items():
            headers = {"Authorization": f"Bearer {keys[1]}", "Content-Type": "application/json", **more}
            headers["Authorization"] = headers["Authorization"] or f"Bearer {zebra.key}"
            data = None if body is None else BytesIO(json.dumps(body).encode())
            inbound = zebra.inbound["capillary"]
            path = path.format(hook=inbound.connection_id)
            headers[inbound.header] = inbound.secrets[0].decode()
            response = await zebra.client.request(method, path, data=data, headers=headers)
            text = await response.text()

            answered[problem] = json.loads(text).get("type", text)
            assert not re.search("quokka|4711471147", text + str(response.headers)), text

    assert answered == {problem: TYPE_PREFIX + problem for problem in REFUSED}


async def test_generations_are_administered_by_an_operator_and_not_by_the_admin_of_a_ledger(dsn: str) -> None:
    async with serving(dsn, ZEBRA) as [zebra]:
        async with zebra.database() as connection:
            admin = await api_keys.create_key(
                connection, MASTER_KEY, zebra.ledger, [one for one in SCOPES if one != "operator"]
            )
            operator = await api_keys.create_key(connection, MASTER_KEY, zebra.ledger, ["operator"])

        async def ask(method: str, path: str, key: str) -> tuple[int, Any]:
            headers = {"Authorization": f"Bearer {key}"}
            response = await zebra.client.request(method, path, headers=headers, data="{}")
            return response.status, await response.json()

        for method, path in (
            ("GET", "/v1/generations"),
            ("POST", "/v1/generations"),
            ("POST", "/v1/generations/1/promote"),
            ("POST", "/v1/generations/rollback"),
            ("DELETE", "/v1/generations/1"),
        ):
            status, problem = await ask(method, path, admin)
            assert (status, problem["type"]) == (403, "/v1/errors/scope-missing"), path
        listed = await ask("GET", "/v1/generations", operator)
        others = await ask("GET", "/v1/projections", operator)

    assert (listed[0], [one["generation"] for one in listed[1]["items"]]) == (200, [1])
    assert (others[0], others[1]["type"]) == (403, "/v1/errors/scope-missing")
