"""Users and their tokens, as a server that knows tokens is asked by them."""

import time
from typing import Any

import jwt

from client.cli.local_server import LocalServer

SECRET = "a secret that only the tests know, long enough"
AUDIENCE = "steadystream-tests"
METRICS_TOKEN = "what only Prometheus knows"
KNOWS_TOKENS = {
    "STEADY_JWT_SECRET": SECRET,
    "STEADY_JWT_AUDIENCE": AUDIENCE,
    "STEADY_METRICS_TOKEN": METRICS_TOKEN,
}
NO_LIMITS = {
    "STEADY_MESSAGES_PER_MINUTE": "100000",
    "STEADY_RUNS_PER_USER": "1000",
    "STEADY_STREAMS_PER_USER": "1000",
}


def token_of(user: str, secret: str = SECRET, **claims: Any) -> str:
    """A JWT of the user that the tests' servers take, unless a claim or the secret is another."""
    now = int(time.time())
    made = {"sub": user, "aud": AUDIENCE, "iat": now, "exp": now + 3600, **claims}
    return jwt.encode(made, secret, algorithm="HS256")


def bad_tokens(user: str) -> dict[str, str]:
    """One of each kind that lets nobody in."""
    return {
        "no token": "",
        "broken": token_of(user)[:-4] + "AAAA",
        "expired": token_of(user, exp=int(time.time()) - 3600),
        "wrong audience": token_of(user, aud="somebody else's server"),
        "wrong key": token_of(user, secret="another secret, just as long as the real one"),
        "unsigned": jwt.encode({"sub": user, "aud": AUDIENCE, "exp": 2**33}, None, "none"),
    }


def bearer(token: str) -> dict[str, str]:
    """The header that carries the token."""
    return {"Authorization": f"Bearer {token}"} if token else {}


def socket_url(server: LocalServer, path: str) -> str:
    """The WebSocket address of a path."""
    return f"ws://127.0.0.1:{server.port}{path}"
