"""Which web pages may use the server, by their origin: a browser always tells it, a program never.

Where no tokens are configured, the gate serves this machine alone, and so pages of this machine's
own web servers may ask too. Any other origin is named in STEADY_ALLOWED_ORIGINS.
"""

from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

import structlog

from agent.access.tokens import tokens
from agent.settings import settings

log = structlog.stdlib.get_logger(__name__)

STUDIO = "https://smith.langchain.com"
MOST_LOGGED = 100  # whoever asks chooses the text
_DEFAULT_PORTS = {"http": 80, "https": 443}

_logged: set[str] = set()


def is_allowed_origin(origin: str | None, host: str) -> bool:
    """Whether pages of `origin` may use the server that was asked for as `host`.

    `origin` is the header Origin, None where there is none. The gate has made sure that, without
    tokens, the request itself is from this machine, and for it.
    """
    if origin is None:
        return True
    known = normalized(origin)
    if known is None:
        return False
    if known in allowed_origins() or known.partition("://")[2] == host.lower():
        return True
    return not tokens().are_configured and is_loopback(urlsplit(known).hostname or "")


@lru_cache(maxsize=1)
def allowed_origins() -> frozenset[str]:
    """Studio's, and those of STEADY_ALLOWED_ORIGINS. Raises ValueError for what is no origin."""
    allowed = {STUDIO}
    for text in filter(None, map(str.strip, settings().steady_allowed_origins.split(","))):
        if (origin := normalized(text)) is None:
            raise ValueError(
                f"STEADY_ALLOWED_ORIGINS has {text!r}: an origin is http:// or https://, a host, "
                "and a port if it is not the usual one. Put commas between origins."
            )
        allowed.add(origin)
    return frozenset(allowed)


def normalized(origin: str) -> str | None:
    """As browsers write it: lower case, no default port, no slash. None for what is no origin."""
    try:
        parts = urlsplit(origin.lower())
        port = parts.port
    except ValueError:
        return None
    is_bare = parts.path in ("", "/") and not (parts.query or parts.fragment)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or not is_bare:
        return None
    if "@" in parts.netloc or "*" in parts.netloc:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (
        "" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}"
    )


def is_loopback(host: str) -> bool:
    """Whether a host name or address always means this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def origin_error(origin: str) -> str:
    """What a page of an origin that may not ask is told."""
    if normalized(origin) is None:
        return (
            f"A page without a web origin ({origin[:100]!r}) may not use this server: open it "
            "from a web server, and add that origin to STEADY_ALLOWED_ORIGINS."
        )
    return (
        f"Pages of {origin[:200]} may not use this server: add the origin to "
        "STEADY_ALLOWED_ORIGINS, and start the server again."
    )


def log_refused_page(origin: str, reason: str) -> None:
    """Logs each origin once: a page of it was refused, which its browser may not show."""
    if origin not in _logged and len(_logged) < MOST_LOGGED:
        _logged.add(origin)
        log.warning(f"A request of a web page was refused. {reason}", origin=origin[:200])
