"""The HTTP client of one server: its URL, its token, the environment's proxy."""

import os
import ssl
from functools import cache

import httpx

from .errors import CannotConnect, InvalidRequest, translated
from .limits import Limits
from .proxies import proxy_for, proxy_trouble
from .version import __version__

DEFAULT_URL = "http://127.0.0.1:2024"


def server_url(url: str | None) -> str:
    """The URL that is given, of `LANGGRAPH_URL`, or where `langgraph dev` listens."""
    return (url or os.environ.get("LANGGRAPH_URL") or DEFAULT_URL).rstrip("/")


def http_client(
    url: str,
    token: str | None,
    limits: Limits,
    transport: httpx.AsyncBaseTransport | None,
    client_class: type[httpx.AsyncClient],
) -> httpx.AsyncClient:
    """The client for a server; see `AgentClient` for the parameters.

    Raises:
        InvalidRequest: the URL or the token cannot be used.
        CannotConnect: the environment names a proxy that cannot be used.
    """
    token = os.environ.get("STEADY_TOKEN") if token is None else token
    if token and not (token.isascii() and token.isprintable()):
        raise InvalidRequest(
            "The token holds characters that no HTTP header can carry: check STEADY_TOKEN, or "
            "what was given as `token`."
        )
    with translated(url):
        return client_class(
            base_url=url,
            timeout=httpx.Timeout(limits.request_timeout_seconds, connect=limits.connect_seconds),
            transport=transport or _transport_for(url),
            trust_env=False,
            headers={
                "User-Agent": f"steadystream/{__version__}",
                **({"Authorization": f"Bearer {token}"} if token else {}),
            },
        )


def _transport_for(url: str) -> httpx.AsyncHTTPTransport:
    """Raises CannotConnect for a proxy of the environment that cannot be used."""
    variable, proxy = proxy_for(url) or ("", None)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    try:
        return httpx.AsyncHTTPTransport(verify=_authorities(), proxy=proxy, limits=limits)
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise CannotConnect(proxy_trouble(variable)) from error


@cache
def _authorities() -> ssl.SSLContext:
    """Whose certificates are trusted: read once, which takes longer than a short run."""
    return httpx.create_ssl_context()
