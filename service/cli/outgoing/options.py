"""Arguments and options of the commands about endpoints."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from service.formatting import format_time

EndpointArgument = Annotated[str, typer.Argument(metavar="ENDPOINT", help="The endpoint's id.", show_default=False)]
AfterOption = Annotated[
    int | None, typer.Option(min=0, metavar="POSITION", help="Send what comes after this position of the ledger.")
]
SinceOption = Annotated[
    str | None, typer.Option(metavar="TIME", help="Send what was recorded after this time, such as 2026-03-01T00:00Z.")
]

CREDENTIALS_HELP = "A TOML file with the credentials of a stream: user, password_file, creds_file, ca_file ..."
CredentialsOption = Annotated[Path | None, typer.Option(metavar="FILE", help=CREDENTIALS_HELP)]


def split_words(text: str) -> list[str]:
    """Return the words of a list with commas."""
    return [word for word in (part.strip() for part in text.split(",")) if word]


def plain_text(value: Any) -> Any:
    """Return a value of an endpoint as a cell of a table shows it."""
    if isinstance(value, datetime):
        return format_time(value)
    return ", ".join(value) if isinstance(value, tuple) else value
