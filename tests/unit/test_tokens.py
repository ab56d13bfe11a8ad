"""Whose a token is: keys of every kind, and everything that could pass for a token."""

import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.hazmat.primitives.serialization import PublicFormat as Public
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agent.access.new_token import new_api_key, new_jwt
from agent.access.tokens import Tokens, Unauthorized, hash_of
from agent.settings import Settings

SECRET = "s" * 32
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
KEYS = {"RS256": RSA, "ES256": EC}


def configured(**config: Any) -> Settings:
    return Settings(_env_file=None, **config)  # type: ignore[call-arg]


def known(**config: Any) -> Tokens:
    return Tokens(configured(**config))


def claims(**more: Any) -> dict[str, Any]:
    return {"sub": "ada", "exp": int(time.time()) + 60, **more}


def signed(algorithm: str, **more: Any) -> str:
    key: Any = SECRET if algorithm == "HS256" else KEYS[algorithm]
    return jwt.encode(claims(**more), key, algorithm=algorithm)


def pem(key: Any) -> str:
    return str(key.public_key().public_bytes(Encoding.PEM, Public.SubjectPublicKeyInfo).decode())


def jwk(algorithm: str) -> dict[str, Any]:
    return json.loads(jwt.get_algorithm_by_name(algorithm).to_jwk(KEYS[algorithm].public_key()))


@pytest.mark.parametrize("algorithm", KEYS)
@pytest.mark.parametrize("form", ["PEM", "JWKS"])
def test_public_keys(tmp_path: Path, algorithm: str, form: str) -> None:
    """A token of a key pair is known by its public key, from a PEM file or a key set."""
    file = tmp_path / "keys"
    both = json.dumps({"keys": [jwk("RS256"), jwk("ES256")]})
    file.write_text(pem(KEYS[algorithm]) if form == "PEM" else both)
    tokens = known(steady_jwt_keys_file=file)
    assert tokens.user_of(signed(algorithm)) == "ada"
    with pytest.raises(Unauthorized):
        tokens.user_of(signed("HS256"))


def key_set(tmp_path: Path, *keys: dict[str, Any]) -> Tokens:
    """What knows tokens by a JSON Web Key Set of these."""
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": keys}))
    return known(steady_jwt_keys_file=file)


def test_a_key_that_a_token_names(tmp_path: Path) -> None:
    """It alone is asked; a token that names none is tried with all."""
    old, new = ({**jwk("RS256"), "kid": "old"}, {**jwk("ES256"), "kid": "new"})
    tokens = key_set(tmp_path, old, new)
    for kid, fits in {"old": True, "new": False, "unknown": False, None: True}.items():
        headers = {"kid": kid} if kid else {}
        token = jwt.encode(claims(), RSA, algorithm="RS256", headers=headers)
        if fits:
            assert tokens.user_of(token) == "ada"
        else:
            with pytest.raises(Unauthorized):
                tokens.user_of(token)


NOT_FOR_TOKENS: dict[str, dict[str, Any]] = {
    "Ed25519": {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
    "a secret": {"kty": "oct", "k": "c" * 43},
    "of an unknown kind": {"kty": "lattice"},
    "no key": {},
    "for encryption": {**jwk("RS256"), "use": "enc"},
    "of another algorithm": {**jwk("RS256"), "alg": "RS512"},
}


@pytest.mark.parametrize("kind", NOT_FOR_TOKENS)
def test_keys_that_are_passed_over(tmp_path: Path, kind: str) -> None:
    """Such a key stops nothing, and verifies nothing; a set of nothing else is refused."""
    tokens = key_set(tmp_path, NOT_FOR_TOKENS[kind], jwk("ES256"))
    assert tokens.user_of(signed("ES256")) == "ada"
    for token in (signed("RS256"), jwt.encode(claims(), "c" * 43, algorithm="HS256")):
        with pytest.raises(Unauthorized):
            tokens.user_of(token)
    with pytest.raises((ValueError, jwt.PyJWTError)):
        key_set(tmp_path, NOT_FOR_TOKENS[kind])


@pytest.mark.parametrize("form", ["PEM", "JWKS"])
def test_a_short_rsa_key(tmp_path: Path, form: str) -> None:
    """A key that could be broken is refused, with its size."""
    short = rsa.generate_private_key(65537, 1024)  # noqa: S505 - that is the point
    file = tmp_path / "keys"
    told = jwt.get_algorithm_by_name("RS256").to_jwk(short.public_key())
    file.write_text(pem(short) if form == "PEM" else json.dumps({"keys": [json.loads(told)]}))
    with pytest.raises(ValueError, match="1024 bits"):
        known(steady_jwt_keys_file=file)


def test_a_public_key_is_no_secret(tmp_path: Path) -> None:
    """A token signed with the public key's text, as if it were an HMAC's secret, lets nobody in."""
    file = tmp_path / "key.pem"
    file.write_text(pem(RSA))
    header = jwt.utils.base64url_encode(b'{"alg":"HS256","typ":"JWT"}')
    body = jwt.utils.base64url_encode(json.dumps(claims()).encode())
    algorithm = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    signature = algorithm.sign(header + b"." + body, pem(RSA).encode())
    forged = b".".join([header, body, jwt.utils.base64url_encode(signature)]).decode()
    for config in ({}, {"steady_jwt_secret": SECRET}):
        with pytest.raises(Unauthorized):
            known(steady_jwt_keys_file=file, **config).user_of(forged)


REFUSED: dict[str, dict[str, Any]] = {
    "expired": {"exp": int(time.time()) - 60},
    "not yet": {"nbf": int(time.time()) + 86_400},
    "another issuer": {"iss": "somebody"},
    "another audience": {"aud": "somebody"},
    "no user": {"sub": ""},
    "a user of control characters": {"sub": "a\nb"},
    "a very long user": {"sub": "a" * 1000},
    "a number for a user": {"sub": 7},
}


@pytest.mark.parametrize("kind", REFUSED)
def test_claims_that_do_not_fit(kind: str) -> None:
    """Each claim is checked, and what is said of it holds nothing of the token."""
    tokens = known(steady_jwt_secret=SECRET, steady_jwt_issuer="us", steady_jwt_audience="here")
    good = {"iss": "us", "aud": "here"}
    assert tokens.user_of(signed("HS256", **good)) == "ada"
    with pytest.raises(Unauthorized) as refused:
        tokens.user_of(token := signed("HS256", **{**good, **REFUSED[kind]}))
    assert token[:10] not in str(refused.value)


@pytest.mark.parametrize("missing", ["exp", "sub"])
def test_claims_that_are_missing(missing: str) -> None:
    """A token that never ends, or that names nobody, lets nobody in."""
    made = claims()
    del made[missing]
    with pytest.raises(Unauthorized, match=missing):
        known(steady_jwt_secret=SECRET).user_of(jwt.encode(made, SECRET))


def test_leeway() -> None:
    """Clocks may differ by a little."""
    token = signed("HS256", exp=int(time.time()) - 5)
    assert known(steady_jwt_secret=SECRET).user_of(token) == "ada"
    with pytest.raises(Unauthorized, match="expired"):
        known(steady_jwt_secret=SECRET, steady_jwt_leeway_seconds=1).user_of(token)


@given(st.text(max_size=200) | st.binary(max_size=200).map(repr))
def test_any_text(text: str) -> None:
    """What is no token is refused, and never raises anything else."""
    with pytest.raises(Unauthorized):
        known(steady_jwt_secret=SECRET).user_of(text)


def test_api_keys(tmp_path: Path) -> None:
    """The file holds hashes, `steady token --key` adds to it, and each key is its user's."""
    file = tmp_path / "keys"
    config = configured(steady_api_keys_file=file)
    keys = {user: new_api_key(user, config) for user in ("ada", "eve")}
    assert not any(key in file.read_text() for key in keys.values())
    tokens = Tokens(config)
    assert {user: tokens.user_of(key) for user, key in keys.items()} == {"ada": "ada", "eve": "eve"}
    for wrong in ("", hash_of(keys["ada"]), keys["ada"][:-1]):
        with pytest.raises(Unauthorized):
            tokens.user_of(wrong)


def test_a_development_token() -> None:
    """`steady token` makes what the server with the same settings takes."""
    config = configured(
        steady_jwt_secret=SECRET, steady_jwt_issuer="us", steady_jwt_audience="here"
    )
    assert Tokens(config).user_of(new_jwt("ada", 1, config)) == "ada"
    with pytest.raises(ValueError, match="one word"):
        new_jwt("two words", 1, config)
    with pytest.raises(ValueError, match="STEADY_JWT_SECRET"):
        new_jwt("ada", 1, configured())


def test_settings_that_would_let_anybody_in(tmp_path: Path) -> None:
    """A short secret, a private key, another kind of key, a spoilt line: the server says so."""
    with pytest.raises(ValidationError, match="32 bytes"):
        known(steady_jwt_secret="short")
    file = tmp_path / "keys"
    private = RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    for text in (private, pem(ec.generate_private_key(ec.SECP384R1())), "{}", "nonsense"):
        file.write_text(text)
        with pytest.raises((ValueError, jwt.PyJWTError)):
            known(steady_jwt_keys_file=file)
    file.write_text("# users\nada 0123\n")
    with pytest.raises(ValueError, match="line 2"):
        known(steady_api_keys_file=file)


def test_an_empty_file_of_keys_lets_nobody_in(tmp_path: Path) -> None:
    """It is a server that knows tokens, of which there are none yet: not one that is open."""
    file = tmp_path / "keys"
    file.touch()
    assert known(steady_api_keys_file=file).are_configured
    assert not known().are_configured
