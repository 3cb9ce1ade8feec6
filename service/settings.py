"""All settings. They are read from environment variables here and nowhere else.

A secret may be in a file instead: the variable NAME_FILE holds its path, or systemd passes it as the credential NAME.
"""

import os
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from ledger.errors import KeyWrong, SetupWrong
from ledger.transparency.signed_notes import VerifierKey
from ledger.transparency.signer import read_seeds
from service.monitoring.logs import LogFormat
from service.outgoing.addresses import Destinations
from service.outgoing.sinks.stream_addresses import are_servers

SECRETS = ("database_url", "master_key", "signing_key", "anchors")  # settings that may be in a file
DATABASE_URL = "DATABASE_URL"
SECRET_BYTES_MAX = 65_536
CREDENTIALS = "CREDENTIALS_DIRECTORY"  # systemd sets it for LoadCredential=


class WitnessAddress(NamedTuple):
    """A witness: the key that verifies its cosignatures, and its URL."""

    key: VerifierKey
    url: str


class SecretFiles(PydanticBaseSettingsSource):
    """Reads secrets from files. Raises SetupWrong if a file cannot be read, or if a secret is given twice."""

    def __call__(self) -> dict[str, Any]:
        """Return the secrets that are in files."""
        found = {name: _read_secret(variable_name(name)) for name in SECRETS}
        keys = {"database_url": DATABASE_URL}  # as the environment names it, so that one of them wins
        return {keys.get(name, name): secret for name, secret in found.items() if secret is not None}

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Not used: __call__ returns all values."""
        raise NotImplementedError


def _read_secret(variable: str) -> str | None:
    path = os.environ.get(f"{variable}_FILE")
    if not path:
        folder = os.environ.get(CREDENTIALS)
        if not folder or not Path(folder, variable).exists():
            return None
        path = str(Path(folder, variable))
    elif os.environ.get(variable):
        raise SetupWrong(f"{variable} and {variable}_FILE are both set: unset one")
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(SECRET_BYTES_MAX).strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SetupWrong(f"{variable} cannot be read from {path}: {reason}") from None
    if not text:
        raise SetupWrong(f"{variable} cannot be read from {path}: it is empty")
    return text


def variable_name(setting: str) -> str:
    """Return the environment variable of a setting."""
    return DATABASE_URL if setting == "database_url" else f"LOYALTY_{setting.upper()}"


class Settings(BaseSettings):
    """Each field is an environment variable: LOYALTY_ and the name in capitals. Only DATABASE_URL has no prefix.

    An empty variable counts as not set.
    """

    model_config = SettingsConfigDict(
        env_prefix="LOYALTY_", env_ignore_empty=True, hide_input_in_errors=True, populate_by_name=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # not used
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # not used
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources of settings, the first one wins: arguments, environment, files."""
        return init_settings, env_settings, SecretFiles(settings_cls)

    database_url: str | None = Field(
        default=None,
        validation_alias=DATABASE_URL,
        description="PostgreSQL 15 or newer; without it, one runs embedded in the data folder",
    )
    data: Path = Field(default=Path("data"), description="the data folder: embedded PostgreSQL, master key")
    master_key: str | None = Field(
        default=None, description="32 bytes in base64; without it, the file master.key in the data folder"
    )
    host: str = Field(default="127.0.0.1", description="the address to listen on")
    port: int = Field(default=8080, ge=0, le=65535, description="the port to listen on; 0 takes a free one")
    workers: int = Field(default=1, ge=1, le=64, description="processes that receive webhooks and answer queries")
    public_url: str | None = Field(
        default=None, description="public address of the service, the beginning of webhook URLs"
    )
    connections_per_address: int = Field(
        default=256, ge=1, description="connections that one address may have open at once"
    )
    proxies: str = Field(
        default="127.0.0.0/8 ::1",
        description="addresses and networks of proxies, without that limit, separated by blanks",
    )
    metrics: str | None = Field(
        default=None, description="address and port of metrics, such as 127.0.0.1:9464; without it, none are served"
    )
    log: LogFormat = Field(default="text", description="form of log lines: text, or json")
    access_log: bool = Field(default=False, description="log a line for each request, with the template of its route")
    traces: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s@?#]+$",
        description="address of an OpenTelemetry collector (OTLP over HTTP)",
    )
    pool_size: int = Field(default=8, ge=1, le=100, description="database connections for answers")
    memory_mib: int = Field(
        default=1024,
        ge=0,
        description="MiB of memory of the service process, above which answers are refused; 0: no limit",
    )
    attest_hours: float = Field(
        default=0, ge=0, le=8760, description="hours between attestations of each ledger; 0: only by `loyalty attest`"
    )
    erase_on_request: bool = Field(
        default=True, description="erase a customer when the vendor reports an approved request for deletion"
    )
    console: bool = Field(default=True, description="serve the console at /console; `off` serves the API alone")
    console_user_header: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9-]{1,100}$",
        description="header in which a proxy of LOYALTY_PROXIES names the person, such as X-Forwarded-User",
    )
    wait_seconds_max: float = Field(default=10.0, ge=0, le=60, description="the longest wait for ?min_position=")
    seal: bool = Field(default=True, description="seal ledgers and sign checkpoints where projections are kept up")
    checkpoint_events: int = Field(default=10_000, ge=1, description="a checkpoint is signed after so many events")
    checkpoint_seconds: float = Field(default=60.0, ge=0, description="or, if there are any, after so many seconds")
    signer: Path | None = Field(
        default=None,
        description="the folder of the signing key and of the last heads signed; without it, signer in the data folder",
    )
    signing_key: str | None = Field(
        default=None,
        description="Ed25519 keys, 32 bytes in base64 each, oldest first; without it, those in the signer's folder",
    )
    log_origin: str | None = Field(
        default=None,
        pattern=r"^[^\s+]{1,200}$",
        description="beginning of the names of new logs, such as logs.example.com; default: the host of the public URL",
    )
    witnesses: str = Field(
        default="", description="witnesses that cosign checkpoints: a key and a URL for each, separated by blanks"
    )
    anchors: str = Field(
        default="", description="receivers of checkpoints: files, and URLs to POST to, separated by blanks"
    )

    outgoing: bool = Field(default=True, description="send outgoing webhooks where projections are kept up")
    outgoing_networks: str = Field(
        default="",
        description="private networks to which outgoing webhooks may go, such as 10.0.0.0/8, separated by blanks",
    )
    outgoing_servers: str = Field(
        default="",
        description="servers of NATS and Kafka to which messages may go, such as nats-1:4222, separated by blanks",
    )
    outgoing_days: float = Field(
        default=5.0, gt=0, le=365, description="days of failures after which an endpoint is disabled"
    )

    @field_validator("public_url")
    @classmethod
    def _is_a_url(cls, text: str | None) -> str | None:
        """Refuse a URL that vendors could not reach. Printed webhook URLs begin with it."""
        if text is not None and not _is_public_url(text):
            raise ValueError("it is a URL such as https://loyalty.example.com, without query and password")
        return text

    @field_validator("metrics")
    @classmethod
    def _is_an_address(cls, text: str | None) -> str | None:
        if text is not None:
            try:
                split_address(text)
            except ValueError:
                raise ValueError("it is an address and a port, such as 127.0.0.1:9464") from None
        return text

    @field_validator("proxies", "outgoing_networks")
    @classmethod
    def _are_networks(cls, text: str) -> str:
        try:
            [ip_network(address) for address in text.split()]
        except ValueError:
            raise ValueError("it is addresses such as 10.0.0.5 and networks such as 10.0.0.0/8") from None
        return text

    @field_validator("outgoing_servers")
    @classmethod
    def _are_servers(cls, text: str) -> str:
        if not are_servers(text.lower().split()):
            raise ValueError("it is hosts with ports, such as nats.example.com:4222, separated by blanks")
        return text

    @field_validator("witnesses")
    @classmethod
    def _are_witnesses(cls, text: str) -> str:
        words = text.split()
        if len(words) % 2 or not all(url.startswith(("http://", "https://")) for url in words[1::2]):
            raise ValueError("it is a key and a URL for each witness, separated by blanks")
        _check_key(lambda: [VerifierKey.read(key) for key in words[::2]])
        return text

    @field_validator("signing_key")
    @classmethod
    def _are_seeds(cls, text: str | None) -> str | None:
        if text is not None:
            _check_key(lambda: read_seeds(text))
        return text

    def proxy_networks(self) -> list[IPv4Network | IPv6Network]:
        """Return the networks without a limit of connections."""
        return [ip_network(address) for address in self.proxies.split()]

    def allowed_destinations(self) -> Destinations:
        """Return where outgoing messages may go besides public addresses."""
        networks = [ip_network(address) for address in self.outgoing_networks.split()]
        return Destinations(networks, frozenset(self.outgoing_servers.lower().split()))

    def witness_addresses(self) -> list[WitnessAddress]:
        """Return the witnesses that cosign checkpoints."""
        words = self.witnesses.split()
        return [
            WitnessAddress(VerifierKey.read(key), url.rstrip("/"))
            for key, url in zip(words[::2], words[1::2], strict=True)
        ]

    def anchor_addresses(self) -> list[str]:
        """Return the files and URLs that receive checkpoints."""
        return self.anchors.split()


def split_address(text: str) -> tuple[str, int]:
    """Split "host:port" or "[host]:port" into its parts. Port 0 means a free one. Raises ValueError."""
    parts = urlsplit(f"//{text}")
    if not parts.hostname or parts.port is None or parts.netloc != text:
        raise ValueError(text)
    return parts.hostname, parts.port


def _is_public_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    complete = parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0
    return complete and "@" not in parts.netloc and text.isascii() and not set(text) & set(" \t\r\n?#")


def _check_key(read: Callable[[], object]) -> None:
    """Parse a key. A wrong key gives an error that names the setting, without its value."""
    try:
        read()
    except KeyWrong as error:
        raise ValueError(str(error)) from None
