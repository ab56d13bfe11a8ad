"""The HTTP clients by which a model endpoint is asked, and what can be known to be wrong with it.

What the OpenAI SDK's own client gives is kept: keep-alive, proxies of the environment, redirects.
"""

import importlib.util
from email.utils import parsedate_to_datetime
from time import time
from urllib.parse import urlsplit

import httpx2

from agent import embedded
from agent.model.frames import AnswerLimits, FrameTransport, RegularTransport
from agent.model.time_limits import TimeLimitTransport
from agent.model.transport import MergingTransport
from agent.settings import OPENAI_URL, Settings
from client.proxies import proxy_for, proxy_trouble

LONGEST_RETRY_AFTER_SECONDS = 30.0
REDIRECT_HEADER = "x-steady-redirect"
_QUOTA = ("insufficient_quota", "billing", "exceeded your current quota", "credit", "balance")
_BUSY = (429, 503, 529)
_CONNECT_SECONDS = 5.0
_TOTAL_SECONDS = 600.0


def base_url(config: Settings) -> str:
    """Where the model is asked."""
    return embedded.BASE_URL if config.embedded else config.openai_base_url or OPENAI_URL


def origin(config: Settings) -> str:
    """The endpoint's scheme, host and port: what may be shown of its URL."""
    parts = urlsplit(config.openai_base_url or OPENAI_URL)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"


def is_openai(config: Settings) -> bool:
    """Whether it is OpenAI's own, at OpenAI or Azure, which takes no fields of others."""
    host = (urlsplit(base_url(config)).hostname or "").rstrip(".")
    return not config.embedded and f".{host}".endswith((".openai.com", ".openai.azure.com"))


def trouble(config: Settings) -> str | None:
    """Why no call can be made with these settings, in one line that names the setting."""
    if config.embedded:
        return None
    key = config.openai_api_key.get_secret_value() if config.openai_api_key else ""
    if not all("!" <= character <= "~" for character in key):
        return (
            "OPENAI_API_KEY has a space, a line break or a letter that no key has: copy it again."
        )
    if not _is_http_url(base_url(config)):
        return (
            "OPENAI_BASE_URL is not an http:// or https:// address: one looks like "
            f"{OPENAI_URL} or http://127.0.0.1:11434/v1."
        )
    variable, proxy = proxy_for(base_url(config)) or ("", None)
    return proxy_trouble(variable) if proxy and not _is_usable_proxy(proxy) else None


def _is_http_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(httpx2.URL(url).host) and parts.port != 0
    except (ValueError, httpx2.InvalidURL):
        return False


def _is_usable_proxy(url: str) -> bool:
    try:
        scheme = httpx2.Proxy(url).url.scheme
    except (ValueError, httpx2.InvalidURL):
        return False
    return not scheme.startswith("socks") or importlib.util.find_spec("socksio") is not None


def async_client(config: Settings) -> httpx2.AsyncClient:
    """With token frames and the model's time limits."""
    inner: httpx2.AsyncBaseTransport
    if config.embedded:
        inner = embedded.AsyncTransport(config.steady_gguf, MergingTransport(verify=False))
    else:
        inner = MergingTransport(proxy=_proxy(config))
    limited = TimeLimitTransport(
        inner, config.steady_model_first_token_seconds, config.steady_model_idle_seconds
    )
    return httpx2.AsyncClient(
        transport=FrameTransport(limited, config.steady_frame_seconds, _limits(config)),
        timeout=httpx2.Timeout(None, connect=_CONNECT_SECONDS, pool=_TOTAL_SECONDS),
        follow_redirects=True,
        event_hooks={"response": [_check_response_async]},
    )


def sync_client(config: Settings) -> httpx2.Client:
    """Without frames: it is read as fast as the caller asks for more."""
    transport: httpx2.BaseTransport
    if config.embedded:
        transport = embedded.Transport(config.steady_gguf)
    else:
        transport = httpx2.HTTPTransport(proxy=_proxy(config))
    first_token_seconds = config.steady_model_first_token_seconds
    idle_seconds = config.steady_model_idle_seconds

    def read_with_idle_limit(response: httpx2.Response) -> None:
        response.request.extensions["timeout"]["read"] = idle_seconds

    return httpx2.Client(
        transport=RegularTransport(transport, _limits(config)),
        timeout=httpx2.Timeout(_TOTAL_SECONDS, connect=_CONNECT_SECONDS, read=first_token_seconds),
        follow_redirects=True,
        event_hooks={"response": [read_with_idle_limit, _check_response]},
    )


def _limits(config: Settings) -> AnswerLimits:
    return AnswerLimits(config.steady_longest_answer_characters, config.steady_model_call_seconds)


def _proxy(config: Settings) -> str | None:
    if trouble(config):
        return None
    chosen = proxy_for(base_url(config))
    return chosen[1] if chosen else None


def _check_response(response: httpx2.Response) -> None:
    _refuse_other_hosts(response)
    if response.status_code in _BUSY:
        response.read()
        _refuse_useless_retries(response)


async def _check_response_async(response: httpx2.Response) -> None:
    _refuse_other_hosts(response)
    if response.status_code in _BUSY:
        await response.aread()
        _refuse_useless_retries(response)


def _refuse_other_hosts(response: httpx2.Response) -> None:
    """A conversation goes to the configured endpoint alone, and as the POST that it is."""
    if not response.has_redirect_location:
        return
    asked, target = response.request.url, response.request.url.join(response.headers["location"])
    is_same = (asked.scheme, asked.host, asked.port) == (target.scheme, target.host, target.port)
    if not is_same or response.status_code in (301, 302, 303):
        del response.headers["location"]
        response.headers[REDIRECT_HEADER] = f"{target.scheme}://{target.netloc.decode()}"
        response.headers["x-should-retry"] = "false"


def _refuse_useless_retries(response: httpx2.Response) -> None:
    """The OpenAI SDK tries again what is over a quota, and waits for up to two minutes."""
    wait_seconds = retry_after_seconds(response.headers)
    if is_over_quota(response.text) or wait_seconds > LONGEST_RETRY_AFTER_SECONDS:
        response.headers["x-should-retry"] = "false"


def is_over_quota(words: str) -> bool:
    """Whether a 429 is for want of credit, which no waiting brings back."""
    return any(sign in words.lower() for sign in _QUOTA)


def retry_after_seconds(headers: httpx2.Headers) -> float:
    """How long the endpoint wants us to wait; 0 where it does not say."""
    value = headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    except ValueError:
        return 0.0
