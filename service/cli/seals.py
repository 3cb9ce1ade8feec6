"""loyalty seal, checkpoint, log: sign a ledger's tree head, show checkpoints, and publish the log."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from ledger.database import Connection
from ledger.errors import KeyWrong, NotSealedYet, Unsealable
from ledger.store import registry
from ledger.store.registry import Ledger
from ledger.transparency import public_logs, tree_heads
from ledger.transparency.kept_checkpoints import SCISSORS_CLOSE, SCISSORS_OPEN
from ledger.transparency.tree_heads import SignedCheckpoint
from service.background.checkpoint_publisher import send_checkpoint
from service.cli.terminal.console import (
    DataOption,
    JsonOption,
    LedgerOption,
    show,
    show_json,
    show_note,
    show_result,
    show_table,
    warn_if_url_guessed,
)
from service.environment import Environment, run_with_connection
from service.formatting import format_time
from service.queries.checkpoints import cosigned_note

seal = typer.Typer(help="Sign a checkpoint of a ledger now; manage signing keys.")
checkpoint = typer.Typer(help="Show the newest checkpoint of a ledger.", no_args_is_help=True)
log = typer.Typer(help="Published logs: addresses to read a ledger's log without a key.", no_args_is_help=True)


@seal.callback(invoke_without_command=True)
def seal_ledger(
    context: typer.Context,
    ledger: Annotated[str | None, typer.Option("--ledger", help="The ledger's name.")] = None,
    adopt: Annotated[
        bool,
        typer.Option(
            "--adopt",
            help="Sign the current ledger even if it does not continue the last head; starts a new log if needed.",
        ),
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sign a checkpoint over the whole ledger now, collect cosignatures of witnesses, and copy it to the anchors.

    Ends with 1, and signs nothing, if the ledger does not continue the last signed head.
    """
    if context.invoked_subcommand is not None:
        return
    if ledger is None:
        raise typer.BadParameter("--ledger is required", param_hint="--ledger")

    async def work(destination: Environment, connection: Connection) -> tuple[SignedCheckpoint, dict[str, str], bytes]:
        chosen = await registry.find_ledger(connection, ledger)
        try:
            signed = await tree_heads.sign_head(connection, destination.signer, chosen, adopt=adopt)
        except Unsealable as error:
            await tree_heads.record_seal_problem(connection, chosen.ledger_id, error)
            raise
        witnesses, anchors = destination.settings.witness_addresses(), destination.settings.anchor_addresses()
        results = await send_checkpoint(destination.dsn, chosen, signed, witnesses, anchors)
        return signed, results, await cosigned_note(connection, chosen, signed)

    signed, results, text = run_with_connection(data, work)
    if as_json:
        show_json({**_checkpoint_json(signed), "handed_out": results, "note": text.decode()})
    else:
        show(text.decode().rstrip("\n"))
        for destination, result in results.items():
            show_note(f"{destination}: {result}")


@seal.command("keys")
def list_keys(ledger: LedgerOption, data: DataOption = None, as_json: JsonOption = False) -> None:
    """List every public key of a ledger's log in the format of verifiers: active, retired and pending."""

    async def work(environment: Environment, connection: Connection) -> list[dict[str, Any]]:
        chosen = await registry.find_ledger(connection, ledger)
        signed = await tree_heads.latest_checkpoint(connection, chosen.ledger_id)
        now = set() if signed is None else tree_heads.signing_keys_of(signed)
        listed: list[dict[str, Any]] = [
            {
                "key": listed_key.key.write(),
                "key_id": listed_key.key.key_id.hex(),
                "added_at": format_time(listed_key.added_at),
                "signs_now": (listed_key.key.name, listed_key.key.key_id) in now,
                "status": "signs" if (listed_key.key.name, listed_key.key.key_id) in now else "retired",
            }
            for listed_key in await tree_heads.log_keys(connection, chosen.ledger_id)
        ]
        for key in await tree_heads.pending_keys(connection, environment.signer, chosen):
            shown = {"key": key.write(), "key_id": key.key_id.hex(), "added_at": None}
            listed.append({**shown, "signs_now": False, "status": "pending"})
        return listed

    found = run_with_connection(data, work)
    if as_json:
        show_json(found)
    else:
        columns = ("key", "added_at", "status")
        show_table(columns, [tuple(listed_key[column] or "-" for column in columns) for listed_key in found])
        if any(listed_key["status"] == "pending" for listed_key in found):
            show_note("A pending key signs from the next checkpoint on; `loyalty seal` signs a checkpoint now.")


@seal.command("rotate")
def rotate_key(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Add a signing key. Old and new keys sign until `loyalty seal retire`; distribute the new key meanwhile."""

    async def work(environment: Environment, _connection: Connection) -> int:
        environment.signer.add_key()
        return len(environment.signer.seeds())

    keys = run_with_connection(data, work)
    done = (
        "Added a key. It signs beside the old keys from the next checkpoint on. Until then `loyalty seal keys --ledger "
        "LEDGER` shows it as pending."
    )
    show_result({"signing_keys": keys}, done, as_json=as_json)


@seal.command("retire")
def retire_key(
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="Eight hexadecimal digits.", show_default=False)],
    ledger: LedgerOption,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Destroy a signing key, named by its id in a ledger's log. It stops signing for all ledgers. Its old signatures
    stay valid.
    """

    async def work(environment: Environment, connection: Connection) -> None:
        chosen = await tree_heads.find_or_create_log(
            connection, environment.signer, await registry.find_ledger(connection, ledger)
        )
        for seed, key in zip(environment.signer.seeds(), environment.signer.keys(chosen.origin), strict=True):
            if key.public.key_id.hex() == key_id:
                environment.signer.drop_key(seed)
                return
        raise KeyWrong(f"there is no signing key with the id {key_id}; `loyalty seal keys` lists them")

    run_with_connection(data, work)
    show_result(
        {"key_id": key_id, "retired": True}, f"Key {key_id} is retired and signs nothing more.", as_json=as_json
    )


@checkpoint.command("show")
def show_checkpoint(
    ledger: LedgerOption,
    format_: Annotated[str, typer.Option("--format", help="note, or email: a message for an auditor.")] = "note",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the newest checkpoint with the cosignatures of witnesses."""
    if format_ not in ("note", "email"):
        raise typer.BadParameter("it must be note or email", param_hint="--format")

    async def work(
        _environment: Environment, connection: Connection
    ) -> tuple[Ledger, SignedCheckpoint, bytes, list[str]]:
        chosen = await registry.find_ledger(connection, ledger)
        signed = await tree_heads.latest_checkpoint(connection, chosen.ledger_id)
        if signed is None:
            raise NotSealedYet
        keys = [one.key.write() for one in await tree_heads.log_keys(connection, chosen.ledger_id)]
        return chosen, signed, await cosigned_note(connection, chosen, signed), keys

    chosen, signed, text, keys = run_with_connection(data, work)
    if as_json:
        show_json({**_checkpoint_json(signed), "note": text.decode(), "keys": keys})
    elif format_ == "note":
        show(text.decode().rstrip("\n"))
    else:
        show(email_of(chosen, signed, text.decode(), keys))


def email_of(ledger: Ledger, signed: SignedCheckpoint, text: str, keys: Sequence[str]) -> str:
    """Write an e-mail with a checkpoint, headers first, for an auditor to keep."""
    now = tuple(f"{name}+{key_id.hex()}+" for name, key_id in tree_heads.signing_keys_of(signed))
    signing = [key for key in keys if key.startswith(now)]
    retired = [key for key in keys if key not in signing]
    before = f"\n\nRetired keys:\n{chr(10).join(retired)}" if retired else ""
    return (
        f"Subject: Checkpoint of ledger {ledger.name}: {signed.size} events\n"
        f"Content-Type: text/plain; charset=utf-8\n\n"
        f"Please keep this message. It fixes the content of the ledger {ledger.name} at "
        f"{signed.signed_at:%Y-%m-%d %H:%M:%S} UTC.\n"
        f"A later change of any earlier event can be detected with it. `loyalty-verify BUNDLE --older FILE` accepts\n"
        f"this e-mail as a file, or the text between the two lines.\n\n"
        f"{SCISSORS_OPEN}\n{text}{SCISSORS_CLOSE}\n\n"
        f"Keys that signed it:\n{chr(10).join(signing)}{before}"
    )


def _checkpoint_json(signed: SignedCheckpoint) -> dict[str, Any]:
    return {"size": signed.size, "root": signed.root.hex(), "signed_at": format_time(signed.signed_at)}


@log.command("publish")
def publish_log(ledger: LedgerOption, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Publish a log at a secret address: entries, hashes and checkpoints, without payloads."""

    async def work(environment: Environment, connection: Connection) -> str:
        found = await registry.find_ledger(connection, ledger)
        token = await public_logs.publish(connection, environment.master_key, found)
        warn_if_url_guessed(environment)
        return f"{environment.url()}/v1/logs/{token}"

    url = run_with_connection(data, work)
    if as_json:
        show_json({"url": url, "ledger": ledger})
    else:
        show(url)


@log.command("list")
def list_logs(ledger: LedgerOption, data: DataOption = None, as_json: JsonOption = False) -> None:
    """List the addresses at which a log is published."""

    async def work(environment: Environment, connection: Connection) -> list[dict[str, str]]:
        found = await public_logs.list_published(connection, await registry.find_ledger(connection, ledger))
        return [
            {
                "url": f"{environment.url()}/v1/logs/{published.token}",
                "since": format_time(published.created_at),
                "token": published.token,
            }
            for published in found
        ]

    found = run_with_connection(data, work)
    if as_json:
        show_json(found)
    else:
        show_table(("url", "since"), [(published["url"], published["since"]) for published in found])


@log.command("withdraw", context_settings={"ignore_unknown_options": True})
def withdraw_log(
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="The last part of the address.", show_default=False)],
    ledger: LedgerOption,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Close the address of a published log."""

    async def work(environment: Environment, connection: Connection) -> None:
        found = await registry.find_ledger(connection, ledger)
        await public_logs.withdraw(connection, environment.master_key, found, token)

    run_with_connection(data, work)
    show_result({"token": token, "withdrawn": True}, "The address is closed.", as_json=as_json)
