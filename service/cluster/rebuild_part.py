"""The task that a rebuild sends to a Dask worker: process one work item.

Only the names of a schema, a stage and numbers are sent. The worker takes DATABASE_URL from its own environment, and
answers with True or False. Its errors hold no text of a row.
"""

import asyncio
import gc
import socket

import uvloop

from ledger.errors import LedgerError, PartFailed, WorkerRefused
from ledger.failures import describe_failure
from projections.rebuild import join
from service.environment import load_settings


def process_part(schema: str, fill_id: str, stage: str, number: int) -> bool:
    """Process a work item in this thread. Return False if another worker has it. Raises WorkerRefused, PartFailed."""
    gc.disable()  # the objects of a part live until its end, so looking for garbage among them is wasted
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(join.process_part(_own_database_url(), schema, fill_id, stage, number))
    except LedgerError as error:
        failure = error
    except Exception as error:
        failure = PartFailed(socket.gethostname(), f"{stage} {number}", describe_failure(error))
    finally:
        gc.enable()
    raise failure  # outside of the handler, so that no other exception is sent with it


def _own_database_url() -> str:
    """Return the DSN of this process's environment. Raises WorkerRefused if it has none."""
    url = load_settings(None).database_url
    if not url:
        raise WorkerRefused(socket.gethostname(), "DATABASE_URL is not set in the environment of its dask worker")
    return url
