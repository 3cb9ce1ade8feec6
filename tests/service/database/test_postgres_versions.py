"""Old PostgreSQL servers: refused where they cannot work, told of where they lack fixes, and not a word otherwise."""

import pytest

from ledger.database import Connection
from ledger.errors import SetupWrong
from service.postgres_versions import KNOWN_AS_OF, NEWEST_MINORS, OLDEST_MAJOR, check_version, judge_version


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (150018, "PostgreSQL 15.18 lacks security fixes of 15.19"),
        (150019, None),
        (170004, "PostgreSQL 17.4 lacks security fixes of 17.11"),
        (180004, "PostgreSQL 18.4 lacks security fixes of 18.7"),
        (180007, None),
        (180012, None),
        (190001, None),
    ],
)
def test_a_server_without_the_newest_minor_release_gives_a_warning(number: int, told: str | None) -> None:
    found = judge_version(number, embedded=False)

    assert found == (None if told is None else f"{told}, known by {KNOWN_AS_OF}: update the server.")


def test_the_embedded_server_is_for_trying_things_out() -> None:
    assert judge_version(180004, embedded=True) == (
        f"The embedded PostgreSQL 18.4 lacks security fixes of 18.7, known by {KNOWN_AS_OF}: use it to try things out, "
        "and a server of your own in production."
    )


@pytest.mark.parametrize("number", [90624, 130023, 140024])
def test_a_server_that_is_too_old_is_refused(number: int) -> None:
    with pytest.raises(SetupWrong, match="15 is the oldest that is supported"):
        judge_version(number, embedded=False)


async def test_the_server_of_the_tests_is_one_that_is_supported(connection: Connection) -> None:
    told = await check_version(connection, embedded=True)

    assert told is None or "lacks security fixes" in told
    assert min(NEWEST_MINORS) == OLDEST_MAJOR
