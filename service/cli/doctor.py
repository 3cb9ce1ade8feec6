"""loyalty doctor: examine the installation, and name the remedy of each problem."""

import typer
import uvloop

from service.cli.terminal.console import DataOption, JsonOption, show, show_json
from service.cli.terminal.exit_codes import FINDINGS
from service.environment import Environment, load_settings, open_environment
from service.monitoring.doctor import Diagnosis, examine

MARKS = {"ok": "ok     ", "warning": "warning", "problem": "PROBLEM"}


def doctor(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Examine database, schema, roles, keys, signer, disks and clock, and the conditions of all alerts about gauges.

    Changes nothing. Ends with 1 if there is a problem. docs/runbook.md explains each alert.
    """

    async def work(environment: Environment) -> list[Diagnosis]:
        return await examine(environment)

    with open_environment(load_settings(data)) as environment:
        found = uvloop.run(work(environment))
    if as_json:
        show_json({"checks": [one._asdict() for one in found]})
    else:
        for one in found:
            show(f"{MARKS[one.status]}  {one.check}: {one.sentence}")
            if one.act:
                show(f"         {one.act}")
    if any(one.status == "problem" for one in found):
        raise typer.Exit(FINDINGS)
