"""Tokens for development, made with the server's own settings: what whoever runs it may do."""

import hashlib
import os
import secrets
import time
from pathlib import Path

from ..errors import InvalidRequest

_DAY_SECONDS = 24 * 3600


def new_jwt(user: str, days: float) -> str:
    """A JWT signed with STEADY_JWT_SECRET. Raises InvalidRequest where it is not set."""
    import jwt

    secret = os.environ.get("STEADY_JWT_SECRET")
    if not secret:
        raise InvalidRequest(
            "Set STEADY_JWT_SECRET to the server's secret (`openssl rand -hex 32` makes one), or "
            "give --key for an API key."
        )
    now = int(time.time())
    claims: dict[str, object] = {"sub": _checked(user), "iat": now}
    claims["exp"] = now + int(days * _DAY_SECONDS)
    for claim, name in {"iss": "STEADY_JWT_ISSUER", "aud": "STEADY_JWT_AUDIENCE"}.items():
        if value := os.environ.get(name):
            claims[claim] = value
    return jwt.encode(claims, secret, algorithm="HS256")


def new_api_key(user: str) -> str:
    """A random key; the file of STEADY_API_KEYS_FILE gets its hash, for the server's next start."""
    file = os.environ.get("STEADY_API_KEYS_FILE")
    if not file:
        raise InvalidRequest("Set STEADY_API_KEYS_FILE to the file of the server's API keys.")
    key = f"steady_{secrets.token_urlsafe(32)}"
    line = f"{_checked(user)} {hashlib.sha256(key.encode()).hexdigest()}\n"
    with Path(file).open("a+", encoding="utf-8") as kept:
        kept.seek(0)
        kept.write(line if kept.read()[-1:] in ("", "\n") else f"\n{line}")
    return key


def _checked(user: str) -> str:
    if not user or not user.isprintable() or " " in user or user.startswith("#"):
        raise InvalidRequest(f"{user!r} is no user's id: give one word.")
    return user
