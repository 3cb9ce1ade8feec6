"""Taking part in a rebuild from another process: it does the parts that the rebuild's own process leaves."""

import asyncio
import json
import sys
from collections.abc import Sequence

import pytest

from ledger.database import Connection, connect
from ledger.errors import NoRebuildRuns, WorkerRefused
from ledger.store.registry import Ledger
from projections import rebuild
from projections.engine import generations
from projections.rebuild import join, pipeline, work_items
from projections.rebuild.join import join_rebuild
from projections.rebuild.work_items import WorkItem
from projections.rebuild.workers import OnItemDone, Workers
from tests.projections.rebuild.test_rebuild import digest_of, in_small_parts, told
from tests.service.cli.test_cli import ROOT, clean_environment

__all__ = ["in_small_parts"]  # a fixture


class IdleWorkers:
    """Workers that leave every item to other hosts. `items_known` is set when there are some."""

    def __init__(self) -> None:
        self.items_known = asyncio.Event()

    async def process(self, _stage: str, _items: Sequence[WorkItem], _on_done: OnItemDone) -> None:
        self.items_known.set()

    async def stop(self) -> None:
        pass


async def test_another_process_does_all_parts_of_a_rebuild_whose_own_workers_do_none(
    connection: Connection, dsn: str, ledger: Ledger, in_small_parts: None
) -> None:
    live = await told(connection, ledger)
    idle = IdleWorkers()
    items = set[tuple[str, int]]()

    def make_idle(schema: str, fill_id: str) -> Workers:
        return idle

    def count(stage: str, done: int, of: int) -> None:
        items.add((stage, of))

    building = asyncio.create_task(rebuild.build_generation(dsn, cluster=make_idle, progress=count))
    await idle.items_known.wait()
    helper = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service.cli.main", "rebuild", "--join", "--workers", "1", "--json",
        cwd=ROOT, env=clean_environment() | {"DATABASE_URL": dsn}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await helper.communicate()
    built, filled = await building

    report = json.loads(output)
    assert (helper.returncode, report["generation"], report["complete"]) == (0, built.generation, True)
    assert report["parts"] > len(items) == 4  # four stages, several parts in most
    assert filled.facts == await connection.fetchval("SELECT count(*) FROM facts")
    assert await digest_of(dsn, built.schema_name, ledger) == live


async def test_a_rebuild_that_ends_early_is_left_by_those_who_joined(
    connection: Connection, dsn: str, ledger: Ledger, in_small_parts: None
) -> None:
    await told(connection, ledger)
    idle = IdleWorkers()
    building = asyncio.create_task(rebuild.build_generation(dsn, cluster=lambda _schema, _fill_id: idle))
    await idle.items_known.wait()
    [filling] = [one for one in await generations.list_generations(connection) if one.state == "filling"]
    other = await connect(dsn, search_path=filling.schema_name)

    def break_off(stage: str, done: int, of: int) -> None:
        building.cancel()

    report = await join_rebuild(dsn, workers=1, progress=break_off)

    assert (report.generation, report.complete) == (filling.generation, False)
    assert report.parts
    assert await work_items.read_undone_items(other, "facts of events") == []
    await other.close()
    with pytest.raises(asyncio.CancelledError):
        await building


async def test_without_a_rebuild_there_is_nothing_to_join(connection: Connection, dsn: str) -> None:
    with pytest.raises(NoRebuildRuns):
        await join_rebuild(dsn, workers=1)


async def test_other_software_does_not_join(
    connection: Connection, dsn: str, ledger: Ledger, in_small_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    await told(connection, ledger)
    idle = IdleWorkers()
    building = asyncio.create_task(rebuild.build_generation(dsn, cluster=lambda _schema, _fill_id: idle))
    await idle.items_known.wait()
    monkeypatch.setattr(join, "software_hash", lambda: "another")

    with pytest.raises(WorkerRefused, match="its software differs"):
        await join_rebuild(dsn, workers=1)

    building.cancel()
    await asyncio.wait([building])


async def test_a_part_of_another_fill_is_refused(connection: Connection, dsn: str, ledger: Ledger) -> None:
    async with connection.transaction():
        created = await generations.create_generation(connection)
    other = await connect(dsn, search_path=created.schema_name)
    await other.execute(pipeline.CREATE_FILLED_BY)
    await other.execute(pipeline.WRITE_SOFTWARE, pipeline.software_hash())
    await other.close()

    with pytest.raises(WorkerRefused, match="names another database"):
        await join.process_part(dsn, created.schema_name, "00000000-0000-0000-0000-000000000000", "rows", 0)
    with pytest.raises(WorkerRefused, match="names another database"):
        await join.process_part(dsn, "generation_99", "00000000-0000-0000-0000-000000000000", "rows", 0)
