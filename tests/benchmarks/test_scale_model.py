"""The model of docs/scale.md gives the rates that were measured, and adds up where nothing is shared."""

import pytest

from benchmarks.scale_model import Layout, simulate


@pytest.mark.parametrize(
    ("layout", "field", "measured"),
    [
        (Layout(), "stored", 3_400),
        (Layout(senders=0, projectors=1, backlog=50_000), "projected", 6_900),
    ],
)
def test_the_model_gives_the_measured_rates(layout: Layout, field: str, measured: float) -> None:
    assert getattr(simulate(layout, 5.0), field) == pytest.approx(measured, rel=0.15)


def test_projectors_of_disjoint_shares_add_up() -> None:
    layout = Layout(ledgers=8, senders=0, cores=8, own_machines=True, backlog=30_000)

    one, four = (simulate(layout._replace(projectors=count), 2.0).projected for count in (1, 4))

    assert four == pytest.approx(4 * one, rel=0.1)


def test_one_ledger_is_limited_however_many_services_there_are() -> None:
    layout = Layout(senders=128, cores=8, own_machines=True)

    one, eight = (simulate(layout._replace(services=count), 2.0).stored for count in (1, 8))

    assert eight == pytest.approx(one, rel=0.05)
