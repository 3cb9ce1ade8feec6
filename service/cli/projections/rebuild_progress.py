"""loyalty rebuild --join, and the progress bar of rebuilds."""

from collections.abc import Iterator
from contextlib import contextmanager

import uvloop
from rich.progress import TimeRemainingColumn

from projections.rebuild.join import JoinReport, join_rebuild
from projections.rebuild.pipeline import Progress
from service.cli.terminal.console import DataOption, RateColumn, progress_bar, show, show_json
from service.environment import Environment, load_settings, open_environment


@contextmanager
def show_stages() -> Iterator[Progress]:
    """Show a progress bar while the block runs. The block reports the stages of a rebuild."""
    with progress_bar(RateColumn(), TimeRemainingColumn()) as progress:
        task = progress.add_task("", total=None)

        def report(stage: str, done: int, of: int) -> None:
            if progress.tasks[0].description != stage:
                progress.reset(task, total=of or None, description=stage)
            progress.update(task, completed=done)

        yield report


def join_running(workers: int | None, data: DataOption, *, as_json: bool) -> None:
    """Take part in the running rebuild of another process until no part is left."""

    async def work(environment: Environment) -> JoinReport:
        await environment.prepare()
        with show_stages() as progress:
            return await join_rebuild(environment.dsn, workers=workers, progress=progress)

    with open_environment(load_settings(data)) as environment:
        report = uvloop.run(work(environment))
    if as_json:
        show_json(report._asdict())
        return
    show(f"Did {report.parts:,} parts of the rebuild of generation {report.generation}.")
    if not report.complete:
        show("Its process has ended before all parts were done; `loyalty rebuild` resumes it.")
