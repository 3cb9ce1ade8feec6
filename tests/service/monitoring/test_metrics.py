"""The scrape: its names, labels and values, as Prometheus reads them from the running service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import asyncpg
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from ledger.errors import SetupWrong
from ledger.events import Delivery
from service.background import appender
from service.monitoring.instruments import Instruments
from service.outgoing import administration
from service.outgoing.addresses import PUBLIC_ONLY
from service.outgoing.endpoint_options import EndpointOptions
from service.server.metrics_listener import metrics_listener
from service.server.observe_request import INSTRUMENTS
from service.settings import Settings
from tests.support.client import MASTER_KEY, TenantClient, serving
from tests.support.payloads import issued, sample

BUCKETS_MAX = 8
LABELS = {
    "http_request_method", "http_route", "http_response_status_code", "ledger", "source", "outcome", "reason", "le",
    "generation_state", "projection", "stage", "why", "list", "unit", "connection", "witness", "version", "schema",
    "folder", "generation", "endpoint",
}  # fmt: skip
NAMES = {
    "http_server_request_duration_seconds", "http_server_active_requests", "loyalty_deliveries",
    "loyalty_deliveries_refused", "loyalty_append_seconds", "loyalty_append_events", "loyalty_append_waiting",
    "loyalty_event_delay_seconds", "loyalty_ledger_position", "loyalty_projection_position",
    "loyalty_projection_lag_events", "loyalty_projection_lag_seconds", "loyalty_projection_rebuild_due",
    "loyalty_parked_subjects", "loyalty_parked_oldest_seconds", "loyalty_open_items", "loyalty_points_at_stake",
    "loyalty_connection_silent_seconds", "loyalty_unsealed_events", "loyalty_anchor_failures", "loyalty_build_info",
    "loyalty_unread_events", "process_resident_memory_bytes", "python_gc_collections",
    "loyalty_outgoing_lag_events", "loyalty_outgoing_failing_seconds", "loyalty_outgoing_attempts",
}  # fmt: skip


class Scrape:
    """All metrics of one scrape."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families: dict[str, Metric] = {family.name: family for family in text_string_to_metric_families(text)}

    def value(self, name: str, **labels: str) -> float | None:
        """Return the value of one series; None if there is none."""
        for family in self.families.values():
            for one in family.samples:
                if one.name == name and one.labels == labels:
                    return float(one.value)
        return None


@asynccontextmanager
async def scraping(acme: TenantClient, folder: Path) -> AsyncIterator[str]:
    settings = Settings(metrics="127.0.0.1:0", data=folder)
    app = acme.client.server.app  # type: ignore[attr-defined]
    async with metrics_listener(acme.dsn, settings, app[INSTRUMENTS]) as url:
        assert url is not None
        yield url


async def scrape(url: str) -> Scrape:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert response.status == 200
        assert response.content_type == "text/plain"
        return Scrape(await response.text())


@pytest.fixture(autouse=True)
def fresh_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each scrape read the database again."""
    monkeypatch.setattr("service.server.metrics_listener.KEPT_SECONDS", 0)
    monkeypatch.setattr("service.monitoring.database_gauges.KEPT_SECONDS", 0)
    monkeypatch.setattr("service.monitoring.database_gauges.LISTS_KEPT_SECONDS", 0)


async def test_a_scrape_counts_deliveries_requests_and_positions(dsn: str, tmp_path: Path) -> None:
    async with serving(dsn, "acme") as [acme], scraping(acme, tmp_path) as url:
        async with acme.database() as connection:
            await administration.create(
                connection, MASTER_KEY, acme.ledger, "https://example.com", EndpointOptions(),
                destinations=PUBLIC_ONLY, after=None, since=None,
            )  # fmt: skip
        await acme.deliver(issued("a", 0, 1, 10, programCurrentPoints=10))
        await acme.deliver(issued("a", 0, 1, 10, programCurrentPoints=10))
        await acme.deliver(issued("a", 0, 1, 99, programCurrentPoints=10))
        await acme.deliver(issued("b", 9, 1, 5, programCurrentPoints=99))
        await acme.deliver(b"no JSON")
        await acme.deliver(issued("c", 2, 1, 5), **{"x-webhook-secret": "wrong"})
        await acme.client.post("/v1/hooks/unknown", data=b"{}")
        await acme.client.get("/v1/nothing")
        await acme.ask_now("/v1/accounts/1:77:points")

        await scrape(url)
        found = await read_with_lists(url)

    outcomes = {one: found.value("loyalty_deliveries_total", ledger="acme", source="capillary", outcome=one)
                for one in ("appended", "duplicate", "conflict")}  # fmt: skip
    assert outcomes == {"appended": 3, "duplicate": 1, "conflict": 1}
    assert found.value("loyalty_deliveries_refused_total", reason="credentials") == 1
    assert found.value("loyalty_deliveries_refused_total", reason="unknown_connection") == 1
    assert found.value("loyalty_deliveries_refused_total", reason="slow") == 0
    hooks = {"http_request_method": "POST", "http_route": "/v1/hooks/{connection_id}"}
    assert found.value("http_server_request_duration_seconds_count", **hooks, http_response_status_code="200") == 5
    assert found.value("http_server_request_duration_seconds_count", **hooks, http_response_status_code="401") == 1
    assert found.value("http_server_active_requests", **hooks) == 0
    assert found.value("loyalty_append_seconds_count") == 5
    assert found.value("loyalty_append_events_sum") == 5
    assert found.value("loyalty_event_delay_seconds_count", ledger="acme", source="capillary") == 3
    assert found.value("loyalty_ledger_position", ledger="acme") == 4
    assert found.value("loyalty_projection_position", ledger="acme", generation_state="active") == 4
    assert found.value("loyalty_projection_lag_events", ledger="acme", generation_state="active") == 0
    assert found.value("loyalty_unread_events", ledger="acme", source="capillary", why="quarantined") == 1
    assert found.value("loyalty_open_items", ledger="acme", list="conflicts") == 1
    assert found.value("loyalty_open_items", ledger="acme", list="drift") == 1
    assert (found.value("loyalty_points_at_stake", ledger="acme", list="drift", unit="points") or 0) > 0
    assert found.value("loyalty_unsealed_events", ledger="acme") == 4
    assert found.value("loyalty_projection_rebuild_due", projection="accounts") == 0
    assert found.families.keys() >= NAMES


async def read_with_lists(url: str) -> Scrape:
    """Scrape until the gauges of open matters, which are read in the background, are there."""
    while "loyalty_open_items" not in (found := await scrape(url)).families:
        pass
    return found


async def test_no_label_names_a_person_an_account_or_an_event_and_histograms_are_small(
    dsn: str, tmp_path: Path
) -> None:
    async with serving(dsn, "acme") as [acme], scraping(acme, tmp_path) as url:
        for source, name in (("capillary", "pointsIssued"), ("fabric", "offers.redemption.coupon.created")):
            await acme.deliver(sample(source, name), source)
        await acme.ask("/v1/customers/capillary:9001:87884897")
        await acme.ask("/v1/accounts/87884897:838:points")
        await acme.client.get("/v1/accounts/someone@example.com")
        await acme.client.request("BREW", "/v1/accounts/1:77:points")
        found = await read_with_lists(url)

    assert {label for family in found.families.values() for one in family.samples for label in one.labels} <= LABELS
    assert "87884897" not in found.text
    assert "example.com" not in found.text
    assert "BREW" not in found.text
    for family in found.families.values():
        if family.type == "histogram":
            series = {tuple(sorted((name, value) for name, value in one.labels.items() if name != "le"))
                      for one in family.samples}  # fmt: skip
            buckets = [one for one in family.samples if one.name.endswith("_bucket")]
            assert len(buckets) <= BUCKETS_MAX * len(series), family.name


async def test_deliveries_that_a_full_database_refuses_are_counted(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object) -> list[list[Delivery]]:
        raise asyncpg.DiskFullError("could not extend file")

    async with serving(dsn, "acme") as [acme], scraping(acme, tmp_path) as url:
        monkeypatch.setattr(appender, "append_replicated", full)
        status, _ = await acme.deliver(issued("a", 0, 1, 10))

        found = await scrape(url)

    assert status == 503
    assert found.value("loyalty_deliveries_refused_total", reason="unavailable") == 1


async def test_without_a_database_process_metrics_are_still_served(tmp_path: Path) -> None:
    settings = Settings(metrics="127.0.0.1:0", data=tmp_path)
    async with metrics_listener("postgresql://nobody@127.0.0.1:1/none", settings, Instruments()) as url:
        assert url is not None
        found = await scrape(url)
        async with aiohttp.ClientSession() as session, session.get(url.replace("/metrics", "/live")) as live:
            assert live.status == 200

    assert found.value("loyalty_database_up") == 0
    assert "loyalty_ledger_position" not in found.families
    assert (found.value("process_resident_memory_bytes") or 0) > 0


async def test_an_address_in_use_is_refused(tmp_path: Path) -> None:
    settings = Settings(metrics="127.0.0.1:0", data=tmp_path)
    async with metrics_listener("postgresql://nobody@127.0.0.1:1/none", settings, Instruments()) as url:
        assert url is not None
        taken = settings.model_copy(update={"metrics": url.removeprefix("http://").removesuffix("/metrics")})

        with pytest.raises(SetupWrong, match="metrics cannot be served"):
            async with metrics_listener("", taken, Instruments()):
                pass


@pytest.mark.parametrize("address", ["9464", "127.0.0.1", ":9464", "host:port", "http://127.0.0.1:9464", "a:1/x"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="an address and a port"):
        Settings(metrics=address)
