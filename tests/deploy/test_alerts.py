"""The alert rules: Prometheus accepts them, and each alert fires for its fault only."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.monitoring import alert_rules, samples
from service.monitoring.conditions import CONDITIONS
from service.monitoring.instruments import Instruments
from service.monitoring.samples import GaugeFamily
from tests.support.tools import run_tool

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "deploy" / "grafana" / "loyalty.json"
MINUTES = 180

HTTP = 'http_server_request_duration_seconds_count{{http_route="/v1/hooks/{{id}}",http_response_status_code="{}"}}'
REFUSED = 'loyalty_deliveries_refused_total{{reason="{}",instance="a"}}'
DRIFT = 'loyalty_points_at_stake{ledger="acme",list="drift",unit="points",instance="a"}'
OTHER_LIST = 'loyalty_points_at_stake{ledger="acme",list="promises",unit="points",instance="a"}'
LAG = 'loyalty_projection_lag_seconds{{ledger="acme",generation_state="{}",instance="a"}}'
UNREAD = 'loyalty_unread_events{ledger="acme",source="fabric",why="unrecognised",instance="a"}'
BUCKET = 'loyalty_append_seconds_bucket{{le="{}"}}'

# Of each alert: series of the fault, and series near it that must not fire. Values are promtool's: start+step x count.
FAULTS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "LoyaltyDown": ({'up{job="loyalty",instance="a"}': "0x180"}, {'up{job="other",instance="b"}': "0x180"}),
    "LoyaltyDatabaseDown": (
        {'loyalty_database_up{instance="a"}': "0x180"}, {'loyalty_database_up{instance="a"}': "1x180"},
    ),
    "LoyaltyCannotStore": ({REFUSED.format("unavailable"): "0+1x180"}, {REFUSED.format("unavailable"): "5x180"}),
    "LoyaltyDeliveriesRefused": (
        {REFUSED.format("credentials"): "0+1x180"},
        {REFUSED.format("unknown_connection"): "0+1x180", REFUSED.format("credentials"): "7x180"},
    ),
    "LoyaltyProjectorBehind": (
        {LAG.format("active"): "0+60x180"}, {LAG.format("active"): "30x180", LAG.format("retired"): "0+60x180"},
    ),
    "LoyaltyRebuildDue": (
        {'loyalty_projection_rebuild_due{projection="tiers"}': "1x180"},
        {'loyalty_projection_rebuild_due{projection="tiers"}': "0x180"},
    ),
    "LoyaltySubjectParked": (
        {'loyalty_parked_subjects{ledger="acme"}': "2x180"}, {'loyalty_parked_subjects{ledger="acme"}': "0x180"},
    ),
    "LoyaltyEventsUnread": ({UNREAD: "0+1x180"}, {UNREAD: "40x180"}),
    "LoyaltyConnectionSilent": (
        {'loyalty_connection_silent_seconds{ledger="acme",connection="c"}': "90000+60x180"},
        {'loyalty_connection_silent_seconds{ledger="acme",connection="c"}': "0x180"},
    ),
    "LoyaltyDriftAtStake": ({DRIFT: "449x180"}, {DRIFT: "0x180", OTHER_LIST: "9x180"}),
    "LoyaltyUnsealed": (
        {'loyalty_unsealed_oldest_seconds{ledger="acme"}': "0+60x180"},
        {'loyalty_unsealed_oldest_seconds{ledger="acme"}': "60x180", 'loyalty_unsealed_events{ledger="acme"}': "9x180"},
    ),
    "LoyaltyWitnessBehind": (
        {'loyalty_witness_age_seconds{ledger="acme",witness="w"}': "0+60x180"},
        {'loyalty_witness_age_seconds{ledger="acme",witness="w"}': "0x180"},
    ),
    "LoyaltyAnchorFails": (
        {'loyalty_anchor_failures_total{ledger="acme"}': "0+1x180"},
        {'loyalty_anchor_failures_total{ledger="acme"}': "0x60 2x120"},
    ),
    "LoyaltyEndpointFailing": (
        {'loyalty_outgoing_failing_seconds{ledger="acme",endpoint="ep_1"}': "0+60x180"},
        {'loyalty_outgoing_failing_seconds{ledger="acme",endpoint="ep_1"}': "60x180",
         'loyalty_outgoing_lag_events{ledger="acme",endpoint="ep_1"}': "9x180"},
    ),
    "LoyaltyEndpointBehind": (
        {'loyalty_outgoing_lag_events{ledger="acme",endpoint="ep_1"}': "5000+10x180",
         'loyalty_outgoing_attempts_total{ledger="acme",endpoint="ep_1",outcome="succeeded"}': "9x180"},
        {'loyalty_outgoing_lag_events{ledger="acme",endpoint="ep_1"}': "5000x180",
         'loyalty_outgoing_attempts_total{ledger="acme",endpoint="ep_1",outcome="succeeded"}': "0+60x180"},
    ),
    "LoyaltyEndpointStopped": (
        {'loyalty_outgoing_stopped{ledger="acme",endpoint="ep_1"}': "1x180"},
        {'loyalty_outgoing_stopped{ledger="acme",endpoint="ep_1"}': "0x180"},
    ),
    "LoyaltyDiskFull": (
        {'loyalty_disk_free_ratio{folder="data"}': "0.04x180"}, {'loyalty_disk_free_ratio{folder="data"}': "0.2x180"},
    ),
    "LoyaltyClockWrong": ({'loyalty_clock_offset_seconds{instance="a"}': "-90x180"},
                          {'loyalty_clock_offset_seconds{instance="a"}': "3x180"}),
    "LoyaltyServerErrors": (
        {HTTP.format(200): "0+90x180", HTTP.format(500): "0+10x180"},
        {HTTP.format(200): "0+990x180", HTTP.format(500): "0+10x180", HTTP.format(404): "0+500x180"},
    ),
    "LoyaltyAppendSlow": (
        {BUCKET.format("1"): "0+90x180", BUCKET.format("4.5"): "0+100x180", BUCKET.format("+Inf"): "0+100x180"},
        {BUCKET.format("1"): "0+999x180", BUCKET.format("4.5"): "0+1000x180", BUCKET.format("+Inf"): "0+1000x180"},
    ),
}  # fmt: skip


def promtool(*arguments: str | Path) -> str:
    return run_tool("promtool", "prometheus", *arguments)


def test_the_rules_and_the_runbook_are_those_of_the_table() -> None:
    written = alert_rules.RUNBOOK.read_text()

    assert alert_rules.RULES.read_text() == alert_rules.rules_yaml()
    assert written == alert_rules.runbook(written)
    assert [rule["alert"] for rule in yaml.safe_load(alert_rules.rules_yaml())["groups"][0]["rules"]] == [
        condition.name for condition in CONDITIONS
    ]


def test_prometheus_accepts_the_rules() -> None:
    assert f"SUCCESS: {len(CONDITIONS)} rules found" in promtool("check", "rules", alert_rules.RULES)
    assert "SUCCESS" in promtool("check", "config", alert_rules.RULES.with_name("prometheus.yml"))


def case(series: dict[str, str], alerts: list[str]) -> dict[str, Any]:
    """Return one test of promtool: the alerts that fire at the end of some series."""
    expected = [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in alerts]
    firing = 'count by (alertname) (ALERTS{alertstate="firing"})'
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": firing, "eval_time": f"{MINUTES}m", "exp_samples": expected}],
    }


def test_each_alert_fires_for_its_fault_and_not_for_what_is_near(tmp_path: Path) -> None:
    assert {condition.name for condition in CONDITIONS} == FAULTS.keys()
    cases = [case(fault, [name]) for name, (fault, _) in FAULTS.items()]
    cases += [case(near, []) for _, near in FAULTS.values()]
    (tmp_path / "alerts.yml").write_bytes(alert_rules.RULES.read_bytes())
    file = tmp_path / "test.yml"
    file.write_text(yaml.safe_dump({"rule_files": ["alerts.yml"], "evaluation_interval": "5m", "tests": cases}))

    assert "SUCCESS" in promtool("test", "rules", file)


def known_metrics() -> set[str]:
    """Return the names of all series that the service has."""
    names = {family.name for family in vars(samples).values() if isinstance(family, GaugeFamily)} | {"up"}
    for family in Instruments().registry.collect():
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        names |= {f"{family.name}{suffix}" for suffix in suffixes}
    return names


def expressions() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


@pytest.mark.parametrize("expression", [*(one.expression for one in CONDITIONS), *expressions()])
def test_rules_and_dashboard_name_only_metrics_that_exist(expression: str) -> None:
    words = re.sub(r'"[^"]*"|\{[^}]*\}|\b(by|without) \([^)]*\)', "", expression)
    named = set(re.findall(r"\b(?:loyalty|http|process|python)_[a-z_]+", words))

    assert named <= known_metrics()
    assert named or "up" in words
