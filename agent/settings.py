"""Every environment variable the server side reads, typed; `.env.example` documents each."""

import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

OPENAI_URL = "https://api.openai.com/v1"
LONGEST_ANSWER_CHARACTERS = 1_000_000
LONGEST_CALL_SECONDS = 900.0
_SHORTEST_SECRET_BYTES = 32  # of an HMAC with SHA-256


class InvalidSettings(ValueError):
    """Variables that do not fit; the message names them in one line, without their values."""


class McpServer(BaseModel):
    """One MCP server: a program to start (`command`), or an address (`url`, Streamable HTTP).

    `approval`: the names of tools whose calls wait for a person, beside those that call themselves
    destructive; true: all wait; false: none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    command: str | None = None
    args: tuple[SecretStr, ...] = ()
    env: dict[str, SecretStr] = {}
    url: SecretStr | None = None
    headers: dict[str, SecretStr] = {}
    approval: bool | tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        if (self.command is None) == (self.url is None):
            raise ValueError("an MCP server has either a `command` or a `url`")
        return self


McpServerName = Annotated[str, Field(pattern=r"^[a-zA-Z][a-zA-Z0-9-]{0,30}$")]


class Settings(BaseSettings):
    """Read from the environment, then from the file `STEADY_ENV_FILE` names (default `.env`).

    Durations are in seconds. An empty variable counts as unset. Raises pydantic's ValidationError,
    which names the variable, when a value does not fit.
    """

    model_config = SettingsConfigDict(
        extra="ignore", env_ignore_empty=True, frozen=True, hide_input_in_errors=True
    )

    openai_api_key: SecretStr | None = None
    openai_base_url: str | None = None
    steady_model: str | None = Field(
        default=None, description="Model name; unset: the endpoint's default"
    )
    steady_responses_api: bool | None = Field(
        default=None, description="Use OpenAI's Responses API; unset: where the model needs it"
    )
    steady_model_first_token_seconds: float = Field(300.0, gt=0)
    steady_model_idle_seconds: float = Field(60.0, gt=0)
    steady_model_call_seconds: float = Field(
        LONGEST_CALL_SECONDS,
        gt=0,
        description="One answer of the model, from its first byte to its last",
    )
    steady_longest_answer_characters: int = Field(
        LONGEST_ANSWER_CHARACTERS,
        gt=0,
        description="Of one answer, with its reasoning and calls' arguments",
    )
    steady_model_retries: int = Field(2, ge=0, le=10)
    steady_fallback_model: str | None = None
    steady_context_tokens: int = Field(
        32_000, gt=0, description="About how much of a thread the model is sent"
    )
    steady_history: Literal["trim", "summarize"] = Field(
        "trim", description="What becomes of turns that no longer fit: left out, or summarized"
    )
    steady_memory: bool | None = None
    steady_tool_seconds: float = Field(60.0, gt=0)
    steady_max_steps: int = Field(
        100, gt=0, description="Steps of one run; a model call is one, its tool calls are another"
    )
    steady_threads_file: Path = Path(".langgraph_api/threads.sqlite")
    steady_postgres_uri: SecretStr | None = Field(
        default=None, description="Threads are kept there, and not in the file"
    )
    database_uri: SecretStr | None = Field(
        default=None, description="The PostgreSQL that all processes of `make scale` share"
    )
    redis_uri: SecretStr | None = Field(default=None, description="And the Redis")
    steady_gguf: Path | None = None
    steady_frame_seconds: float | None = Field(
        default=None, ge=0, le=0.2, description="Between two token frames; unset: by the load"
    )
    steady_dev_patches: bool = Field(
        default=True, description="Patches of `langgraph dev` (agent.dev_server)"
    )
    steady_chain_seconds: float = Field(30.0, gt=0)
    steady_run_seconds: float = Field(600.0, gt=0)
    steady_heartbeat_seconds: float = Field(15.0, gt=0)
    steady_stalled_reader_seconds: float = Field(60.0, gt=0)
    steady_largest_body_bytes: int = Field(4_000_000, gt=0)
    steady_largest_head_bytes: int = Field(64_000, gt=0)
    steady_request_seconds: float = Field(60.0, gt=0)
    steady_websocket_bytes_per_second: int = Field(1_000_000, gt=0)
    steady_longest_message_characters: int = Field(100_000, gt=0)
    steady_shutdown_seconds: float = Field(
        8.0, ge=0, description="How long running runs may take to end after SIGTERM"
    )
    steady_queue_seconds: float = Field(
        30.0, gt=0, description="A run that waits longer for its turn makes the server not ready"
    )
    steady_least_free_disk_bytes: int = Field(
        100_000_000, ge=0, description="With less free beside the threads, the server is not ready"
    )
    steady_log_json: bool = Field(default=False, description="Log lines as JSON")
    steady_trace_content: bool = Field(
        default=False, description="Traces hold what people and the model said"
    )
    steady_metrics_token: SecretStr | None = Field(
        default=None, description="What Prometheus brings to read /metrics, where there are users"
    )
    steady_openai_routes: bool = Field(
        default=True, description="OpenAI's protocol under /v1 (agent.http.protocols)"
    )
    steady_jwt_secret: SecretStr | None = None
    steady_jwt_keys_file: Path | None = None
    steady_jwt_issuer: str | None = None
    steady_jwt_audience: str | None = None
    steady_jwt_leeway_seconds: float = Field(10.0, ge=0, le=300)
    steady_api_keys_file: Path | None = None
    steady_allowed_origins: str = Field(
        default="",
        description="Origins of web pages that may use the server, beside LangGraph Studio's; "
        "with commas between them",
    )
    steady_messages_per_minute: int = Field(60, gt=0, description="Of one user")
    steady_runs_per_user: int = Field(5, gt=0, description="Of one user, at a time")
    steady_streams_per_user: int = Field(20, gt=0, description="Of one user, at a time")
    steady_streams: int = Field(2000, gt=0, description="Of all users, at a time")
    steady_store_items_per_user: int = Field(2000, gt=0)
    steady_store_bytes_per_user: int = Field(20_000_000, gt=0)
    steady_crons_per_user: int = Field(20, gt=0)
    steady_limits_storage: SecretStr = Field(
        default=SecretStr("memory://"),
        description="Where messages are counted; `redis://...` to share it",
    )
    steady_mcp_servers: dict[McpServerName, McpServer] = Field(
        default={}, description="MCP servers whose tools the agent has, as JSON: by name"
    )
    steady_largest_tool_media_bytes: int = Field(
        1_000_000, ge=0, description="Pictures and files of one MCP tool's result, as base64"
    )
    steady_notes_dir: Path = Path("notes")
    steady_geocoding_url: str = "https://geocoding-api.open-meteo.com/v1/search"
    steady_weather_url: str = "https://api.open-meteo.com/v1/forecast"
    steady_weather_seconds: float = Field(10.0, gt=0)

    @field_validator("steady_jwt_secret")
    @classmethod
    def _is_long_enough(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and len(secret.get_secret_value().encode()) < _SHORTEST_SECRET_BYTES:
            raise ValueError(
                f"shorter than {_SHORTEST_SECRET_BYTES} bytes: `openssl rand -hex 32` makes one"
            )
        return secret

    @property
    def has_users(self) -> bool:
        """Whether the server knows users, by their tokens; else it serves its own machine."""
        known = (self.steady_jwt_secret, self.steady_jwt_keys_file, self.steady_api_keys_file)
        return any(it is not None for it in known)

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
    """The process's settings, read once. Raises InvalidSettings where a variable does not fit."""
    try:
        return Settings(_env_file=os.environ.get("STEADY_ENV_FILE", ".env"))  # type: ignore[call-arg]
    except SettingsError:  # its cause has the text, which may hold secrets
        raise InvalidSettings("Wrong setting: STEADY_MCP_SERVERS is not JSON.") from None
    except ValidationError as error:
        wrong = (f"{each['loc'][0]!s}".upper() + f": {each['msg']}" for each in error.errors())
        raise InvalidSettings(f"Wrong setting: {'; '.join(wrong)}.") from error
