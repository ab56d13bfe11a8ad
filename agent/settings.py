"""Every environment variable the server side reads, typed; `.env.example` documents each."""

import os
from functools import lru_cache
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Read from the environment, then from the file `STEADY_ENV_FILE` names (default `.env`).

    Durations are in seconds. An empty variable counts as unset. Raises pydantic's ValidationError,
    which names the variable, when a value does not fit.
    """

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True, frozen=True)

    openai_api_key: SecretStr | None = None
    openai_base_url: str | None = None
    steady_model: str | None = Field(
        default=None, description="Model name; unset: the endpoint's default"
    )
    steady_responses_api: bool | None = Field(
        default=None, description="Use OpenAI's Responses API; unset: where the model needs it"
    )
    steady_model_silence_seconds: float = Field(60.0, gt=0)
    steady_model_retries: int = Field(2, ge=0, le=10)
    steady_fallback_model: str | None = None
    steady_context_tokens: int = Field(
        32_000, gt=0, description="About how much of a thread the model is sent"
    )
    steady_memory: bool | None = None
    steady_tool_seconds: float = Field(60.0, gt=0)
    steady_max_steps: int = Field(
        100, gt=0, description="Steps of one run; a model call is one, its tool calls are another"
    )
    steady_threads_file: Path = Path(".langgraph_api/threads.sqlite")
    steady_gguf: Path | None = None
    steady_frame_seconds: float = Field(0.04, ge=0, le=0.2)
    steady_queue_wake: bool = True
    steady_chain_seconds: float = Field(30.0, gt=0)
    steady_run_seconds: float = Field(600.0, gt=0)
    steady_heartbeat_seconds: float = Field(15.0, gt=0)
    steady_stalled_reader_seconds: float = Field(60.0, gt=0)
    steady_largest_body_bytes: int = Field(4_000_000, gt=0)
    steady_server_url: str | None = None
    steady_notes_dir: Path = Path("notes")
    steady_geocoding_url: str = "https://geocoding-api.open-meteo.com/v1/search"
    steady_weather_url: str = "https://api.open-meteo.com/v1/forecast"
    steady_weather_seconds: float = Field(10.0, gt=0)

    @property
    def embedded(self) -> bool:
        """Whether the embedded model answers: neither a key nor a base URL is set."""
        return self.openai_api_key is None and self.openai_base_url is None

    @property
    def remembers(self) -> bool:
        """Whether the agent has its memory tools; the embedded model does better with fewer."""
        return not self.embedded if self.steady_memory is None else self.steady_memory


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The process's settings, read once."""
    return Settings(_env_file=os.environ.get("STEADY_ENV_FILE", ".env"))  # type: ignore[call-arg]
