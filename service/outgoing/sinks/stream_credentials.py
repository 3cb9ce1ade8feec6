"""Credentials of streams: passwords, tokens and keys. They are stored encrypted, and never shown again."""

import os
import ssl
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ledger.errors import RequestInvalid
from service.outgoing.sinks.stream_addresses import KAFKA, NATS, StreamAddress

CHARACTERS_MAX = 64_000
FILE_SUFFIX = "_file"


class StreamCredentials(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, frozen=True):
    """The credentials of a stream. Each is a text; files are read by the command line, not by the service."""

    user: Annotated[str, Meta(description="The name of the user.")] = ""
    password: Annotated[str, Meta(description="The password of the user.")] = ""
    token: Annotated[str, Meta(description="A token of NATS.")] = ""
    creds: Annotated[str, Meta(description="The text of a .creds file of NATS.")] = ""
    ca: Annotated[str, Meta(description="Certificates of authorities in PEM. Default: those of the system.")] = ""
    certificate: Annotated[str, Meta(description="A certificate of the client in PEM.")] = ""
    key: Annotated[str, Meta(description="The key of that certificate in PEM, not encrypted.")] = ""


CREDENTIAL_FIELDS = StreamCredentials.__struct_fields__
FIELDS_OF_KIND = {NATS: {*CREDENTIAL_FIELDS}, KAFKA: {*CREDENTIAL_FIELDS} - {"token", "creds"}}


def read_credentials_file(path: Path) -> StreamCredentials:
    """Read the credentials of a TOML file. A name such as `password_file` names a file with the value.

    A relative name begins in the folder of the TOML file. Raises RequestInvalid; the message holds no value.
    """
    document = _parse_toml(_read_text(path))
    values: dict[str, str] = {}
    for name, value in document.items():
        field = name.removesuffix(FILE_SUFFIX)
        if field not in CREDENTIAL_FIELDS or not isinstance(value, str) or field in values:
            fields = ", ".join(CREDENTIAL_FIELDS)
            raise RequestInvalid(f"{path.name} must hold texts named {fields}, or files, such as `password_file`")
        is_file = name != field
        values[field] = _read_text(path.parent / value).rstrip("\r\n") if is_file else value
    return StreamCredentials(**values)


def _parse_toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise RequestInvalid('the file of credentials must be TOML, such as user = "loyalty"') from None


def _read_text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(CHARACTERS_MAX + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise RequestInvalid(f"{path} cannot be read: {type(error).__name__}") from None


def check_credentials(credentials: StreamCredentials, address: StreamAddress) -> None:
    """Check credentials before they are stored. Raises RequestInvalid; the message holds no value."""
    given = {name for name in CREDENTIAL_FIELDS if getattr(credentials, name)}
    for name in sorted(given):
        text = getattr(credentials, name)
        if len(text) > CHARACTERS_MAX or "\0" in text:
            raise RequestInvalid(f"`{name}` must have at most {CHARACTERS_MAX:,} characters, none of them NUL")
    if given - FIELDS_OF_KIND[address.kind]:
        raise RequestInvalid("`token` and `creds` are for NATS")
    if bool(credentials.user) != bool(credentials.password):
        raise RequestInvalid("`user` and `password` belong together")
    if len(given & {"user", "token", "creds"}) > 1:
        raise RequestInvalid("choose one of `user` with `password`, `token` and `creds`")
    if bool(credentials.certificate) != bool(credentials.key):
        raise RequestInvalid("`certificate` and `key` belong together")
    if given & {"ca", "certificate"} and not address.uses_tls:
        raise RequestInvalid("`ca`, `certificate` and `key` are for addresses with +tls")
    if address.uses_tls:
        make_tls_context(credentials)


def make_tls_context(credentials: StreamCredentials) -> ssl.SSLContext:
    """Return the context of TLS connections; names of hosts are checked. Raises RequestInvalid for wrong PEM."""
    try:
        context = ssl.create_default_context(cadata=credentials.ca or None)
        if credentials.certificate:
            with _private_file(f"{credentials.certificate}\n{credentials.key}") as path:
                context.load_cert_chain(path, password=_refuse_password)
    except (ssl.SSLError, ValueError):
        raise RequestInvalid("`ca`, `certificate` and `key` must be PEM, and belong together") from None
    return context


def _refuse_password() -> str:
    """Refuse an encrypted key. Without this function OpenSSL would ask on the terminal."""
    raise ValueError("the key is encrypted")


@contextmanager
def _private_file(text: str) -> Iterator[str]:
    """Lend the name of a file with a text: Python reads keys from files only. On Linux it is in memory."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("certificate")
        try:
            os.write(descriptor, text.encode())
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(text)
        file.flush()
        yield file.name
