"""Everything that can be configured, read from the environment here and nowhere else."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Each field is an environment variable: LOYALTY_ and its name in capitals; DATABASE_URL alone has no prefix."""

    model_config = SettingsConfigDict(env_prefix="LOYALTY_", hide_input_in_errors=True, populate_by_name=True)

    database_url: str | None = Field(
        default=None,
        validation_alias="DATABASE_URL",
        description="PostgreSQL 15 or newer; without it, one runs embedded in the data folder",
    )
    data: Path = Field(default=Path("data"), description="the data folder: embedded PostgreSQL, master key")
    master_key: str | None = Field(
        default=None, description="32 bytes in base64; without it, the file master.key in the data folder"
    )
    host: str = Field(default="127.0.0.1", description="the address to listen on")
    port: int = Field(default=8080, ge=0, le=65535, description="the port to listen on; 0 takes a free one")
    public_url: str | None = Field(default=None, description="how vendors reach us, for the URLs we print")
    pool_size: int = Field(default=8, ge=1, le=100, description="database connections for answers")
    erase_on_request: bool = Field(
        default=True, description="forget a customer when the vendor reports the request for it as approved"
    )
    wait_seconds_max: float = Field(default=10.0, ge=0, le=60, description="the longest wait for ?min_position=")
