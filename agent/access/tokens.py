"""Bearer tokens: whose a token is. JWTs signed with a secret or a key pair, and static API keys.

Nothing of a token is ever in an error or a log line.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from agent.settings import Settings, settings

LONGEST_TOKEN_CHARACTERS = 8192
LONGEST_USER_CHARACTERS = 200
_ALGORITHMS = ("RS256", "ES256")
_SHORTEST_RSA_BITS = 2048
_WANTED = "public RSA and P-256 keys, for signatures with RS256 and ES256,"
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True)
class _Key:
    """A key with the one algorithm it may be used for, and its id, if it has one."""

    algorithm: str
    key: Any = field(repr=False)
    kid: str | None = None


class Unauthorized(Exception):
    """A token that is not accepted; the message says why, and may be sent to whoever sent it."""


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
        token_hash, match = hash_of(token), None
        for user, known in self._hashes:
            if hmac.compare_digest(token_hash, known):
                match = user
        return match

    def _user_of_jwt(self, token: str) -> str:
        reason = "The token is not one of this server's."
        for key in self._keys_for(token):
            try:
                return str(self._claims(token, key)["sub"])
            except jwt.ExpiredSignatureError:
                raise Unauthorized("The token has expired: get a new one.") from None
            except (jwt.InvalidAudienceError, jwt.InvalidIssuerError):
                reason = "The token was made for, or by, somebody else."
            except jwt.MissingRequiredClaimError as error:
                reason = f"The token lacks the claim {error.claim!r}."
            except (jwt.PyJWTError, ValueError, TypeError):
                continue
        raise Unauthorized(reason)

    def _keys_for(self, token: str) -> list[_Key]:
        """The keys with the token's `kid` and those without one; all, where it names none."""
        try:
            kid = jwt.get_unverified_header(token).get("kid")
        except (jwt.PyJWTError, ValueError):
            return []
        return [key for key in self._keys if None in (kid, key.kid) or key.kid == kid]

    def _claims(self, token: str, key: _Key) -> dict[str, Any]:
        audience, issuer = self._config.steady_jwt_audience, self._config.steady_jwt_issuer
        required = ["exp", "sub", *(["aud"] if audience else []), *(["iss"] if issuer else [])]
        return jwt.decode(
            token,
            key.key,
            algorithms=[key.algorithm],
            audience=audience,
            issuer=issuer,
            leeway=self._config.steady_jwt_leeway_seconds,
            options={"require": required, "verify_aud": audience is not None},
        )


def hash_of(api_key: str) -> str:
    """As the file of API keys has it. The keys are random and long: there is nothing to stretch."""
    return hashlib.sha256(api_key.encode()).hexdigest()


@lru_cache(maxsize=1)
def tokens() -> Tokens:
    """The process's tokens, read once."""
    return Tokens(settings())


def _verification_keys(config: Settings) -> Iterable[_Key]:
    if config.steady_jwt_secret is not None:
        yield _Key("HS256", config.steady_jwt_secret.get_secret_value())
    if config.steady_jwt_keys_file is not None:
        yield from _public_keys(config.steady_jwt_keys_file.read_text())


def _public_keys(text: str) -> Iterable[_Key]:
    """Of a PEM file, or of a JSON Web Key Set: those of its keys that sign in a way we know."""
    if not text.lstrip().startswith("{"):
        key = load_pem_public_key(text.encode())
        yield _Key(_algorithm(key), key)
        return
    usable = [
        _Key(_algorithm(jwk.key), jwk.key, jwk.key_id)
        for jwk in jwt.PyJWKSet.from_json(text).keys
        if jwk.public_key_use in (None, "sig") and jwk.algorithm_name in _ALGORITHMS
    ]
    if unused := len(json.loads(text)["keys"]) - len(usable):
        log.warning(
            f"{unused} of the keys in STEADY_JWT_KEYS_FILE are passed over: {_WANTED} are used."
        )
    if not usable:
        raise ValueError(f"STEADY_JWT_KEYS_FILE has no key to verify with: {_WANTED} are used.")
    yield from usable


def _algorithm(key: Any) -> str:
    """The one that a public key is used for. Raises ValueError."""
    if isinstance(key, RSAPublicKey):
        if key.key_size < _SHORTEST_RSA_BITS:
            raise ValueError(
                f"STEADY_JWT_KEYS_FILE has an RSA key of {key.key_size} bits: "
                f"{_SHORTEST_RSA_BITS} or more are needed."
            )
        return "RS256"
    if isinstance(key, EllipticCurvePublicKey) and key.curve.name == "secp256r1":
        return "ES256"
    raise ValueError(f"STEADY_JWT_KEYS_FILE has a key of another kind: {_WANTED} are used.")


def _hashes_in(file: Path | None) -> list[tuple[str, str]]:
    """The file's lines: a user, a blank, the SHA-256 of an API key in hex."""
    if file is None:
        return []
    hashes = []
    for number, line in enumerate(file.read_text().splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2 or not _SHA256.fullmatch(words[1]):
            raise ValueError(f"{file}, line {number}: not a user and the SHA-256 of an API key.")
        hashes.append((words[0], words[1].lower()))
    return hashes
