r"""The six characters `\u0000` in the server's JSON."""

import functools
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.dev_server.null_escapes import NULL_ESCAPES


@pytest.fixture(scope="module")
def encoders() -> Any:
    """The server's own encoder and the patched one."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {"DATABASE_URI": ":memory:", "REDIS_URI": "fake"}.items():
            environment.setenv(name, value)
        environment.setenv("MIGRATIONS_PATH", "__inmem")
        from langgraph_api import serde
    patched = SimpleNamespace(**vars(serde))

    @functools.wraps(serde.json_dumpb)
    def encode(obj: Any) -> bytes:
        return bytes(serde.json_dumpb(obj))

    patched.json_dumpb = encode  # the modules in use are left alone
    assert NULL_ESCAPES.apply_once(patched) is None
    assert patched.json_dumpb is not encode
    return serde.json_dumpb, patched.json_dumpb


def test_the_server_still_rewrites_them(encoders: Any) -> None:
    """When this fails, upstream keeps the six characters, and the patch can go."""
    assert orjson.loads(encoders[0](r"a \u0000")) != r"a \u0000"


pieces = st.lists(
    st.sampled_from(
        ["\\", "u0000", r"\u0000", "\0", r"\ufffd", "\ufffd", '"', "a", "\U0001f389", "\n"]
    )
).map("".join)


@given(st.recursive(pieces, lambda inner: st.lists(inner) | st.dictionaries(pieces, inner)))
def test_only_nul_is_replaced(encoders: Any, value: Any) -> None:
    """Whatever stands around them, NUL becomes U+FFFD and all other characters stay."""

    def replaced(part: Any) -> Any:
        if isinstance(part, str):
            return part.replace("\0", "\ufffd")
        if isinstance(part, list):
            return [replaced(item) for item in part]
        return {replaced(key): replaced(item) for key, item in part.items()}

    assert orjson.loads(encoders[1](value)) == replaced(value)


def test_lone_surrogates_are_encoded_as_before(encoders: Any) -> None:
    """The encoder's second attempt, for text that is not valid Unicode, keeps them too."""
    assert orjson.loads(encoders[1](["\ud800", r"\u0000", "\0"])) == ["?", r"\u0000", "\ufffd"]
