"""`loyalty rebuild` refuses an option that it would ignore."""

import pytest

from tests.service.cli.test_cli import loyalty


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("--join --compare", "--join excludes --compare"),
        ("--plan --promote", "--plan excludes --promote"),
        ("--ledger acme --subject account:1 --basis facts", "--subject excludes --basis"),
        ("--scheduler tls://scheduler.example.com:8786 --workers 2", "--scheduler excludes --workers"),
    ],
)
def test_an_option_without_a_meaning_beside_another_is_refused(options: str, reason: str) -> None:
    run = loyalty("rebuild", *options.split())

    assert run.code == 2
    assert reason in run.err
