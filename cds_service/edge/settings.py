"""What a site sets: read once from the environment (`CDS_…`), checked, frozen. Every default is the safe choice."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """The settings of one process. The environment variable of a field is its name in capitals after `CDS_`;
    lists and mappings are written as JSON.
    """

    model_config = SettingsConfigDict(env_prefix="CDS_", frozen=True, extra="ignore")

    max_body: int = Field(default=16 * 1024 * 1024, gt=0, description="Largest body of a call, in bytes.")


def settings() -> Settings:
    """The settings of the environment. Raises pydantic's ValidationError, which names the variables at fault."""
    return Settings()
