"""What a model call raised, in one line that says which setting to change. Pure."""

import math
import ssl
import traceback
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai

from agent.model.dialects import UnusableAnswer
from agent.model.endpoint import REDIRECT_HEADER, is_over_quota, origin, retry_after_seconds
from agent.model.redaction import redact_exception
from agent.model.time_limits import FIRST_TOKEN_HEADER, FirstTokenTimeout
from agent.settings import OPENAI_URL, Settings
from client.proxies import proxy_for

_NOT_CONNECTED = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError)


class ModelError(RuntimeError):
    """The model cannot answer; the message is one line that says which setting to change.

    A RuntimeError because the LangGraph server passes only built-in kinds' messages on to clients.
    `is_transient`: the same call may succeed in a moment. `is_broken_off`: and it failed once the
    answer had begun, so that nobody below has tried again. `is_hint`: the same call will succeed.
    """

    def __init__(
        self,
        message: str,
        *,
        is_transient: bool = False,
        is_broken_off: bool = False,
        is_hint: bool = False,
    ) -> None:
        super().__init__(message)
        self.is_transient = is_transient or is_broken_off
        self.is_broken_off = is_broken_off
        self.is_hint = is_hint


def explain(error: BaseException, config: Settings, model: str) -> ModelError | None:
    """Turns what a call of `model` raised into one line for the person; None: not its doing.

    Neither the line, nor the exception and those that led to it, hold the key from here on.
    """
    keys = _keys(config)
    explained = error if isinstance(error, ModelError) else _explain(error, config, model)
    if explained is not None:
        redact_exception(error, keys)
        redact_exception(explained, keys)
    return explained


def _explain(error: BaseException, config: Settings, model: str) -> ModelError | None:
    where = "The embedded model" if config.embedded else f"The model endpoint {origin(config)}"
    match error:
        case openai.APIStatusError(status_code=503) if config.embedded:
            return ModelError(_words(error))
        case openai.APIStatusError():
            return _explain_status(error, where, model)
        case openai.APIConnectionError() if _caused_by(error, ssl.SSLCertVerificationError):
            return ModelError(
                f"{where} has a certificate that is not trusted here: name its authority's file "
                "in SSL_CERT_FILE, or check OPENAI_BASE_URL."
            )
        case openai.APIConnectionError() if _caused_by(error, *_NOT_CONNECTED):
            return ModelError(
                f"{where} cannot be reached: {_what_to_check(config)}", is_transient=True
            )
        case _ if _caused_by(error, FirstTokenTimeout):
            return _no_first_token(where)
        case openai.APITimeoutError() | httpx2.TimeoutException() | TimeoutError():
            text = f"{where} went silent: try again, or raise STEADY_MODEL_IDLE_SECONDS."
            return ModelError(text, is_broken_off=True)
        case openai.APIConnectionError() | httpx2.TransportError():
            text = f"{where} broke off in the middle of its answer: try again."
            return ModelError(text, is_broken_off=True)
        case openai.APIError():
            return ModelError(f"{where} reported an error: {_words(error)}", is_broken_off=True)
        case UnusableAnswer():
            can_help = error.can_help
            return ModelError(f"{where} {error}", is_broken_off=can_help, is_hint=error.is_hint)
        case ValueError() | TypeError() | LookupError() | AttributeError() if _is_of_reading(error):
            text = f"{where} sent something that cannot be read: try again."
            return ModelError(text, is_broken_off=True)
    return None


def _is_of_reading(error: BaseException) -> bool:
    """Whether it was raised by what reads an answer, and not while a request was made."""
    names = {frame.name for frame in traceback.extract_tb(error.__traceback__)}
    return "_get_request_payload" not in names


def _explain_status(error: openai.APIStatusError, where: str, model: str) -> ModelError:
    """An HTTP status that is no success. What another try cannot help is not transient."""
    status, headers, words = error.status_code, error.response.headers, _words(error)
    if FIRST_TOKEN_HEADER in headers:
        return _no_first_token(where)
    if target := headers.get(REDIRECT_HEADER):
        return ModelError(
            f"{where} redirects to {target}, where the conversation is not sent: "
            "check OPENAI_BASE_URL."
        )
    match status:
        case 401 | 403:
            return ModelError(f"{where} refused the key: check OPENAI_API_KEY. {_quoted(words)}")
        case 402:
            return ModelError(f"{where} wants to be paid: check your account. {_quoted(words)}")
        case 404:
            return ModelError(
                f"{where} does not know the model {model!r}, or its URL is wrong: check "
                f"STEADY_MODEL and OPENAI_BASE_URL{_missing_path(error)}. {_quoted(words)}"
            )
        case 413:
            return ModelError(
                f"{where} finds the conversation too large: lower STEADY_CONTEXT_TOKENS, or begin "
                f"a new thread. {_quoted(words)}"
            )
        case 429 if is_over_quota(f"{words} {error.code} {error.type}"):
            return ModelError(f"{where} is over its quota: check your account. {_quoted(words)}")
        case 429:
            text = f"{where} is over its rate limit: {_when(headers)}. {_quoted(words)}"
            return ModelError(text, is_transient=True)
        case 400 | 422:
            return ModelError(f"{where} rejected the request: {words}")
    text = f"{where} failed with status {status}: {_when(headers)}. {_quoted(words)}"
    return ModelError(text, is_transient=status >= 500 or status in (408, 409))


def _when(headers: httpx2.Headers) -> str:
    seconds = math.ceil(retry_after_seconds(headers))
    return f"try again in {seconds} s" if seconds else "try again later"


def _no_first_token(where: str) -> ModelError:
    text = (
        f"{where} went silent before its first token: try again later, or raise "
        "STEADY_MODEL_FIRST_TOKEN_SECONDS."
    )
    return ModelError(text, is_transient=True)


def _caused_by(error: BaseException | None, *kinds: type[BaseException]) -> bool:
    while error is not None and not isinstance(error, kinds):
        error = error.__cause__ or error.__context__
    return error is not None


def _missing_path(error: openai.APIStatusError) -> str:
    has_none = error.request.url.path in ("/chat/completions", "/responses")
    return " (which has no path here, and at most endpoints ends in /v1)" if has_none else ""


def _what_to_check(config: Settings) -> str:
    proxy = proxy_for(config.openai_base_url or OPENAI_URL)
    return f"check OPENAI_BASE_URL{f', and the proxy that {proxy[0]} names' if proxy else ''}."


def _keys(config: Settings) -> list[str]:
    """What must not be told: the key, and a password in the endpoint's URL."""
    key = config.openai_api_key.get_secret_value() if config.openai_api_key else ""
    return [key.strip(), urlsplit(config.openai_base_url or "").password or ""]


def _words(error: openai.APIError) -> str:
    """What the endpoint itself said, one line, at most 300 characters; maybe nothing."""
    text = words_of(error.body) or (
        "" if isinstance(error, openai.APIStatusError) else error.message
    )
    return " ".join(text.split())[:300]


def words_of(body: Any) -> str:
    """The message in the body of an error, in any of the forms that endpoints have; no HTML."""
    if isinstance(body, str):
        return "" if body.lstrip().startswith("<") else body
    if isinstance(body, list):
        return " ".join(filter(None, map(words_of, body)))
    if isinstance(body, dict):
        for name in ("message", "error", "detail", "msg", "error_description", "title"):
            if words := words_of(body.get(name)):
                return f"{_place(body)}{words}"
    return ""


def _place(body: dict[str, Any]) -> str:
    """The field that a validation error is about, such as `body.messages.2: `."""
    place = body.get("loc")
    return f"{'.'.join(map(str, place))}: " if isinstance(place, list) else ""


def _quoted(words: str) -> str:
    return f"It says: {words}" if words else ""
