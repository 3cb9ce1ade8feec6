"""The hosts of a DSN are tried one by one."""

import pytest

from ledger.hosts import split_hosts


@pytest.mark.parametrize(
    ("dsn", "hosts"),
    [
        ("postgresql://u:p@a/db", ["postgresql://u:p@a/db"]),
        ("postgresql:///db", ["postgresql:///db"]),
        ("postgresql://u:p@/db?host=/run/pg&port=5432", ["postgresql://u:p@/db?host=/run/pg&port=5432"]),
        (
            "postgresql://u:p%40@a:5432,[::1]:5433/db?sslmode=require",
            ["postgresql://u:p%40@a:5432/db?sslmode=require", "postgresql://u:p%40@[::1]:5433/db?sslmode=require"],
        ),
        (
            "postgresql://u:p@/db?host=/a,/b&port=5432",
            ["postgresql://u:p@/db?host=%2Fa&port=5432", "postgresql://u:p@/db?host=%2Fb&port=5432"],
        ),
        (
            "postgresql://u@/db?host=a,b&port=1,2&sslmode=require",
            ["postgresql://u@/db?host=a&port=1&sslmode=require", "postgresql://u@/db?host=b&port=2&sslmode=require"],
        ),
    ],
)
def test_a_dsn_of_several_hosts_becomes_one_for_each(dsn: str, hosts: list[str]) -> None:
    assert split_hosts(dsn) == hosts
