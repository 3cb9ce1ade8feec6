"""Write the alert rules of Prometheus and the runbook from the table of conditions."""

import re
from pathlib import Path

from service.monitoring.conditions import CONDITIONS, Condition

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
RUNBOOK = ROOT / "docs" / "runbook.md"
BEGIN, END = "<!-- conditions -->", "<!-- end of conditions -->"
HEAD = """\
# Alerts of Loyalty Ledger. Written by `python -m service.monitoring.alert_rules`, from the table in
# service/monitoring/conditions.py. Change limits in a copy, or there.
groups:
  - name: loyalty
    rules:
"""


def rules_yaml() -> str:
    """Return the alert rules as YAML."""
    return HEAD + "".join(map(_rule, CONDITIONS))


def _rule(condition: Condition) -> str:
    return (
        f"      - alert: {condition.name}\n"
        f"        expr: {_quoted(condition.expression)}\n"
        f"        for: {condition.minutes}m\n"
        f"        labels: {{severity: {condition.severity}}}\n"
        "        annotations:\n"
        f"          summary: {_quoted(condition.summary)}\n"
        f"          description: {_quoted(condition.meaning)}\n"
        f"          runbook: {_quoted(f'docs/runbook.md#{condition.name.lower()}')}\n"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def runbook_sections() -> str:
    """Return the sections of the runbook, one for each condition."""
    return "\n".join(map(_section, CONDITIONS))


def _section(condition: Condition) -> str:
    words = {"page": "Somebody is called", "ticket": "It can wait for the next working day"}[condition.severity]
    return (
        f"### {condition.name}\n\n"
        f"`{condition.expression}` for {condition.minutes} minutes. {words}.\n\n"
        f"- **Meaning.** {condition.meaning}\n"
        f"- **Look at.** {condition.look}\n"
        f"- **Do.** {condition.act}\n"
    )


def runbook(current: str) -> str:
    """Return the runbook with its sections about conditions replaced."""
    return re.sub(
        f"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n\n{runbook_sections()}\n{END}", current, count=1, flags=re.DOTALL
    )


if __name__ == "__main__":
    RULES.parent.mkdir(parents=True, exist_ok=True)
    RULES.write_text(rules_yaml())
    RUNBOOK.write_text(runbook(RUNBOOK.read_text()))
