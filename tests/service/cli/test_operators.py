"""Each change by a command is recorded with the user of the operating system, and a look at an endpoint is not."""

from ledger.privacy.access_log import accesses_after
from service.cli.terminal.operators import called_by, operator_name
from tests.service.cli.test_deliveries import loyalty_of_tests
from tests.support.client import serving


async def test_a_change_by_a_command_is_recorded_with_the_user(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        connection_id = acme.inbound["capillary"].connection_id
        commands = (
            ("key", "create", "--ledger", "acme"),
            ("connection", "disable", connection_id),
            ("endpoint", "create", "--ledger", "acme", "--url", "https://receiver.example/hook"),
            ("endpoint", "list", "--ledger", "acme"),
        )
        codes = [(await loyalty_of_tests(dsn, *words))[0] for words in commands]
        async with acme.database() as connection:
            looks = await accesses_after(connection, acme.ledger.ledger_id, 0, 10)

    assert codes == [0, 0, 0, 0]
    assert [look.object for look in looks] == [
        "command key create",
        f"command connection disable {connection_id}",
        "command endpoint create",
    ]
    assert {(look.key_id, look.reason) for look in looks} == {("operator", called_by())}
    assert operator_name() in called_by()
