"""Conflict policies: they decide which event is folded if events share a key but not their content."""

from aiohttp import web
from msgspec import Struct

from projections.engine.conflicts import DEFAULT_POLICY, POLICIES, policies_of
from service.api.answers.reconciliation import ConflictPolicies, PolicyName, PolicySet
from service.api.dry_runs import DRY_RUN, dry_run_response
from service.api.requests.admission import change, get
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.json_bodies import read_json_body
from service.api.requests.open_query import open_query
from service.api.responses import json_response, page_response
from service.operations.conflict_policy import plan_with_facts, set_conflict_policy


async def list_policies(request: web.Request) -> web.Response:
    """List the conflict policies that differ from the default."""
    async with open_query(request) as query:
        policies = await policies_of(query.connection, query.ledger.ledger_id)
        items = [{"source": source, "kind": kind, "policy": policy} for (source, kind), policy in policies.items()]
        return page_response(request, items, None, default=DEFAULT_POLICY, policies=list(POLICIES))


class PolicyBody(Struct, forbid_unknown_fields=True):
    """The policy that decides which of the events in conflict is folded."""

    policy: PolicyName


async def put_policy(request: web.Request) -> web.Response:
    """Set the conflict policy of a kind, for past conflicts too.

    Rows follow at once. Answers as of an earlier position stay as they were.
    """
    source, kind = request.match_info["source"], request.match_info["kind"]
    body = await read_json_body(request, PolicyBody)
    is_dry_run = DRY_RUN.of(request)
    async with open_query(request, "admin", heavy=is_dry_run) as query:
        context = request.app[APP_CONTEXT]
        by = f"key {query.key_id}"
        of = (query.connection, context.vault, query.ledger, source, kind, body.policy)
        if is_dry_run:
            return await dry_run_response(query, plan_with_facts(*of, by=by), with_liability=True)
        policy_set = await set_conflict_policy(*of, by=by)
        context.progress.notify_appended()
        return json_response(policy_set._asdict())


OPERATIONS = (
    get("/v1/reconciliation/policies", list_policies, tag="reconciliation", answer=ConflictPolicies),
    change(
        "PUT",
        "/v1/reconciliation/policies/{source}/{kind}",
        put_policy,
        DRY_RUN,
        tag="reconciliation",
        body=PolicyBody,
        answer=PolicySet,
    ),
)
