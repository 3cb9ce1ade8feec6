"""Arguments and options of the commands about endpoints."""

from pathlib import Path
from typing import Annotated

import typer

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
