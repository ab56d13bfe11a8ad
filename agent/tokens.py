"""Bearer tokens: whose a token is. JWTs signed with a secret or a key pair, and static API keys.

Nothing of a token is ever in an error or a log line.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from agent.settings import Settings, settings

LONGEST_TOKEN_CHARACTERS = 8192
LONGEST_USER_CHARACTERS = 200
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


class Unauthorized(Exception):
    """A token that lets nobody in; the message says why, and can be told to who sent it."""


class Tokens:
    """What the settings accept. Raises ValueError where a key or a file does not fit."""

    def __init__(self, config: Settings) -> None:
        self._config = config
        self._keys = list(_verification_keys(config))
        self._hashes = _hashes_in(config.steady_api_keys_file)

    @property
    def are_configured(self) -> bool:
        """Whether there is any way to know a user."""
        return bool(self._keys or self._config.steady_api_keys_file)

    def user_of(self, token: str) -> str:
        """The user's id. Raises Unauthorized."""
        if not token or len(token) > LONGEST_TOKEN_CHARACTERS:
            raise Unauthorized("Give a token: Authorization: Bearer <token>.")
        user = self._user_of_api_key(token) or self._user_of_jwt(token)
        if not 0 < len(user) <= LONGEST_USER_CHARACTERS or not user.isprintable():
            raise Unauthorized("The token names no user that could be served.")
        return user

    def _user_of_api_key(self, token: str) -> str | None:
        """Every hash is compared, and each in constant time: how long it takes tells nothing."""
        given, found = hash_of(token), None
        for user, known in self._hashes:
            if hmac.compare_digest(given, known):
                found = user
        return found

    def _user_of_jwt(self, token: str) -> str:
        told = "The token is not one of this server's."
        for algorithm, key in self._keys:
            try:
                return str(self._claims(token, algorithm, key)["sub"])
            except jwt.ExpiredSignatureError:
                raise Unauthorized("The token has expired: get a new one.") from None
            except (jwt.InvalidAudienceError, jwt.InvalidIssuerError):
                told = "The token was made for, or by, somebody else."
            except jwt.MissingRequiredClaimError as error:
                told = f"The token lacks the claim {error.claim!r}."
            except (jwt.PyJWTError, ValueError, TypeError):
                continue
        raise Unauthorized(told)

    def _claims(self, token: str, algorithm: str, key: Any) -> dict[str, Any]:
        audience, issuer = self._config.steady_jwt_audience, self._config.steady_jwt_issuer
        needed = ["exp", "sub", *(["aud"] if audience else []), *(["iss"] if issuer else [])]
        return jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=audience,
            issuer=issuer,
            leeway=self._config.steady_jwt_leeway_seconds,
            options={"require": needed, "verify_aud": audience is not None},
        )


def hash_of(api_key: str) -> str:
    """As the file of API keys has it. The keys are random and long: there is nothing to stretch."""
    return hashlib.sha256(api_key.encode()).hexdigest()


@lru_cache(maxsize=1)
def tokens() -> Tokens:
    """The process's tokens, read once."""
    return Tokens(settings())


def _verification_keys(config: Settings) -> Iterable[tuple[str, Any]]:
    """Each key with the one algorithm it may be used for."""
    if config.steady_jwt_secret is not None:
        yield "HS256", config.steady_jwt_secret.get_secret_value()
    if config.steady_jwt_keys_file is not None:
        for key in _public_keys(config.steady_jwt_keys_file.read_text()):
            yield _algorithm(key), key


def _public_keys(text: str) -> list[Any]:
    """Of a PEM file, or of a JSON Web Key Set."""
    if text.lstrip().startswith("{"):
        return [key.key for key in jwt.PyJWKSet.from_dict(json.loads(text)).keys]
    return [load_pem_public_key(text.encode())]


def _algorithm(key: Any) -> str:
    if isinstance(key, RSAPublicKey):
        return "RS256"
    if isinstance(key, EllipticCurvePublicKey) and key.curve.name == "secp256r1":
        return "ES256"
    raise ValueError("STEADY_JWT_KEYS_FILE may hold public RSA and P-256 keys only.")


def _hashes_in(file: Path | None) -> list[tuple[str, str]]:
    """The file's lines: a user, a blank, the SHA-256 of an API key in hex."""
    if file is None:
        return []
    found = []
    for number, line in enumerate(file.read_text().splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2 or not _SHA256.fullmatch(words[1]):
            raise ValueError(f"{file}, line {number}: not a user and the SHA-256 of an API key.")
        found.append((words[0], words[1].lower()))
    return found
