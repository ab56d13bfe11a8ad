"""What a model call raised, in one line that says which setting to change. Pure."""

from urllib.parse import urlsplit

import httpx2
import openai

from agent.settings import OPENAI_URL, Settings


class ModelError(RuntimeError):
    """The model cannot answer; the message is one line that says which setting to change.

    A RuntimeError because the LangGraph server passes only built-in kinds' messages on to clients.
    `is_transient`: the same call may succeed in a moment. `is_broken_off`: and it failed once the
    answer had begun, so that nobody below has tried again.
    """

    def __init__(
        self, message: str, *, is_transient: bool = False, is_broken_off: bool = False
    ) -> None:
        super().__init__(message)
        self.is_transient = is_transient or is_broken_off
        self.is_broken_off = is_broken_off


def explain(error: BaseException, config: Settings, model: str) -> ModelError | None:
    """Turns what a call of `model` raised into one line for the person; None: not its doing."""
    where = "The embedded model" if config.embedded else f"The model endpoint {_endpoint(config)}"
    match error:
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            return ModelError(f"{where} refused the key: check OPENAI_API_KEY.")
        case openai.NotFoundError():
            return ModelError(
                f"{where} does not know the model {model!r}, or its URL is wrong: "
                f"check STEADY_MODEL and OPENAI_BASE_URL."
            )
        case openai.APIStatusError(status_code=503) if config.embedded:
            return ModelError(_told(error))
        case openai.RateLimitError():
            told = f"{where} is over its rate limit or quota: try again later."
            return ModelError(told, is_transient=error.code != "insufficient_quota")
        case openai.BadRequestError() | openai.UnprocessableEntityError():
            return ModelError(f"{where} rejected the request: {_told(error)}")
        case openai.APIStatusError():
            told = f"{where} failed with status {error.status_code}: try again later."
            return ModelError(told, is_transient=error.status_code >= 500)
        case openai.APIConnectionError() if _never_connected(error):
            told = f"{where} cannot be reached: check OPENAI_BASE_URL."
            return ModelError(told, is_transient=True)
        case openai.APITimeoutError() | httpx2.TimeoutException() | TimeoutError():
            told = f"{where} went silent: try again, or raise STEADY_MODEL_IDLE_SECONDS."
            return ModelError(told, is_broken_off=True)
        case openai.APIConnectionError() | httpx2.TransportError():
            told = f"{where} broke off in the middle of its answer: try again."
            return ModelError(told, is_broken_off=True)
        case openai.APIError():
            return ModelError(f"{where} reported an error: {_told(error)}", is_broken_off=True)
        case ValueError() if "json" in type(error).__name__.lower():
            told = f"{where} sent something that is not valid JSON: try again."
            return ModelError(told, is_broken_off=True)
    return None


def _never_connected(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        error = error.__cause__
    return error is not None


def _endpoint(config: Settings) -> str:
    parts = urlsplit(config.openai_base_url or OPENAI_URL)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"


def _told(error: openai.APIError) -> str:
    """What the endpoint itself said, one line, at most 300 characters."""
    body = error.body if isinstance(error.body, dict) else {}
    text = str(body.get("message") or error.message)
    return " ".join(text.split())[:300]
