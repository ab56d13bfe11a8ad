"""Keys in what an endpoint says."""

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model.redaction import redact_exception, redacted

KEY = "sk-proj-4f9aQ7x2LmN8abcd"


@pytest.mark.parametrize(
    "text",
    [
        f"Incorrect API key provided: {KEY}. You can find your key in your account.",
        "Incorrect API key provided: sk-proj-****************abcd.",
        "Incorrect API key provided: sk-...abcd",
        "Incorrect API key provided: sk-p…abcd",
        "The key ending in ****abcd has no credit.",
        "The key sk-proj-4f9a... is blocked.",
        "Invalid header: Authorization: Bearer eyJhbGciOiJIUzI1.e30.abcd",
        f"header 'Bearer {KEY}' refused",
        "The key gsk_Zz91LmN8abcdQ7x2 is of another organization.",
    ],
)
def test_a_quoted_key_is_taken_out(text: str) -> None:
    """In full, shortened by stars or dots, or behind `Bearer`: neither begin nor end is left."""
    told = redacted(text, [KEY])
    assert "[key]" in told
    assert not any(part in told for part in ("4f9a", "abcd", "Q7x2", "sk-"))


@pytest.mark.parametrize(
    "text",
    [
        "Rate limit reached for gpt-5-mini: try again in 20 s...",
        "The model `ollama` does not exist: none found.",
        "** bold ** and 2**3 and wait...what",
        "task-id-of-a-long-name-that-is-no-key failed",
    ],
)
def test_other_words_stay(text: str) -> None:
    """What is no key is left alone, also where the configured key is a common word."""
    assert redacted(text, [KEY, "none", "ollama"]) == text


@given(st.text(), st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8))
def test_the_key_is_never_left(text: str, key: str) -> None:
    """Wherever a key of eight characters or more stands, it is gone."""
    if key not in text:
        assert key not in redacted(f"{text} {key} {text}", [key])


def test_an_exception_and_its_causes_are_redacted() -> None:
    """The texts that a log writes of an exception, and the body that it keeps, are redacted."""
    request = httpx.Request("POST", "http://127.0.0.1/v1")
    body = {"error": {"message": f"Wrong key {KEY}", "keys": [KEY]}}
    cause = openai.APIError(f"Wrong key {KEY}", request=request, body=body)  # type: ignore[arg-type]
    error = RuntimeError(f"It said: {KEY}")
    error.__cause__ = cause
    redact_exception(error, [KEY])
    assert KEY not in f"{error!r} {cause!r} {cause.message} {cause.body}"
