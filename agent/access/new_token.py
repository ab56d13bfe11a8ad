"""`python -m agent.access.new_token`: makes tokens with the server's own settings, for development.

Whoever can read the server's secret, or write its file of API keys, can name any user.
"""

import argparse
import secrets
import sys
import time

import jwt

from agent.access.tokens import hash_of
from agent.settings import Settings, settings

_DAY_SECONDS = 24 * 3600


def new_jwt(user: str, days: float, config: Settings) -> str:
    """A JWT for `user` that is valid for `days`, signed with STEADY_JWT_SECRET.

    Raises ValueError where the secret is not set, or `user` is not one word.
    """
    if config.steady_jwt_secret is None:
        raise ValueError(
            "Set STEADY_JWT_SECRET to the server's secret (`openssl rand -hex 32` makes one), or "
            "give --key for an API key."
        )
    now = int(time.time())
    optional = {"iss": config.steady_jwt_issuer, "aud": config.steady_jwt_audience}
    claims: dict[str, object] = {
        "sub": _checked(user),
        "iat": now,
        "exp": now + int(days * _DAY_SECONDS),
        **{claim: value for claim, value in optional.items() if value},
    }
    secret = config.steady_jwt_secret.get_secret_value()
    return jwt.encode(claims, secret, algorithm="HS256")


def new_api_key(user: str, config: Settings) -> str:
    """A random API key for `user`; its hash is added to STEADY_API_KEYS_FILE.

    The server reads the file when it starts. Raises ValueError where the file is not set, or
    `user` is not one word.
    """
    path = config.steady_api_keys_file
    if path is None:
        raise ValueError("Set STEADY_API_KEYS_FILE to the file of the server's API keys.")
    key = f"steady_{secrets.token_urlsafe(32)}"
    line = f"{_checked(user)} {hash_of(key)}\n"
    with path.open("a+", encoding="utf-8") as file:
        file.seek(0)
        file.write(line if file.read()[-1:] in ("", "\n") else f"\n{line}")
    return key


def _checked(user: str) -> str:
    if not user or not user.isprintable() or " " in user or user.startswith("#"):
        raise ValueError(f"{user!r} is no user id: give one word.")
    return user


def main() -> int:
    """`steady token`: prints the token; 2, with one line on stderr, for a wrong user or setting."""
    parser = argparse.ArgumentParser(prog="steady token")
    parser.add_argument("user")
    parser.add_argument("--days", type=float, default=1.0)
    parser.add_argument("--key", action="store_true")
    arguments = parser.parse_args()
    try:
        config = settings()
        made = (
            new_api_key(arguments.user, config)
            if arguments.key
            else new_jwt(arguments.user, arguments.days, config)
        )
    except (ValueError, OSError) as error:
        sys.stderr.write(f"steady: {error}\n")
        return 2
    sys.stdout.write(f"{made}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
