"""The settings: what the environment says, typed."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from agent.settings import Settings, settings

NAMES = [name.upper() for name in Settings.model_fields]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting comes from the environment that the tests run in."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def read(env_file: Path | None = None) -> Settings:
    return Settings(_env_file=env_file)  # type: ignore[call-arg]


def test_nothing_set_is_the_embedded_model() -> None:
    """Without any variable everything has a default, and the embedded model answers."""
    found = read()
    assert found.embedded
    assert (found.steady_model, found.steady_frame_seconds) == (None, None)


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "OPENAI_BASE_URL"])
def test_a_key_or_an_endpoint_turns_the_embedded_model_off(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Either is enough: a local endpoint needs no key, and OpenAI's needs no URL."""
    monkeypatch.setenv(name, "something")
    assert not read().embedded
    monkeypatch.setenv(name, "")
    assert read().embedded


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("STEADY_FRAME_SECONDS", "-1"),
        ("STEADY_FRAME_SECONDS", "1"),
        ("STEADY_FRAME_SECONDS", "fast"),
        ("STEADY_MODEL_IDLE_SECONDS", "0"),
        ("STEADY_WEATHER_SECONDS", "0"),
        ("STEADY_MAX_STEPS", "0"),
        ("STEADY_RESPONSES_API", "perhaps"),
    ],
)
def test_a_value_that_does_not_fit_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, wrong: str
) -> None:
    """A value out of range or of the wrong kind stops the start with the variable's name."""
    monkeypatch.setenv(name, wrong)
    with pytest.raises(ValidationError, match=name.lower()):
        read()


def test_the_environment_goes_before_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A variable beats the same one in the file; what only the file has is taken from it."""
    env_file = tmp_path / ".env"
    env_file.write_text("STEADY_MODEL=from-file\nSTEADY_FRAME_SECONDS=0.1\nUNRELATED=1\n")
    monkeypatch.setenv("STEADY_MODEL", "from-environment")
    found = read(env_file)
    assert (found.steady_model, found.steady_frame_seconds) == ("from-environment", 0.1)


def test_the_process_reads_the_file_that_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`STEADY_ENV_FILE` chooses the file; the settings are read once."""
    env_file = tmp_path / "other.env"
    env_file.write_text("STEADY_MODEL=named-file\n")
    monkeypatch.setenv("STEADY_ENV_FILE", str(env_file))
    settings.cache_clear()
    try:
        assert settings().steady_model == "named-file"
        assert settings() is settings()
    finally:
        settings.cache_clear()


def test_the_key_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """Printing the settings, as logs do, hides the key."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    found = read()
    assert "sk-secret" not in f"{found!r} {found}"
    assert found.openai_api_key
    assert found.openai_api_key.get_secret_value() == "sk-secret"


def test_a_secret_that_does_not_fit_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variable and what is wrong, not what it holds."""
    monkeypatch.setenv("STEADY_JWT_SECRET", "too-short-a-secret")
    with pytest.raises(ValidationError, match="steady_jwt_secret") as told:
        read()
    assert "too-short-a-secret" not in str(told.value)


def test_settings_cannot_be_changed() -> None:
    """What was read holds for the process."""
    with pytest.raises(ValidationError):
        read().steady_model = "other"


def test_names_are_the_products_own_or_everyones() -> None:
    """A new variable starts with STEADY_; the others are names that people already have."""
    known = {"OPENAI_API_KEY", "OPENAI_BASE_URL", "DATABASE_URI", "REDIS_URI"}
    assert [n for n in NAMES if not n.startswith("STEADY_") and n not in known] == []


def test_numbers_tell_their_unit() -> None:
    """A duration ends in _SECONDS, a size in _BYTES, a rate in what it is of; else they count."""
    numbers = {
        name.upper()
        for name, field in Settings.model_fields.items()
        if field.annotation in (int, float)
    }
    counts = {"STEADY_MAX_STEPS", "STEADY_MODEL_RETRIES", "STEADY_CONTEXT_TOKENS", "STEADY_STREAMS"}
    units = ("_SECONDS", "_BYTES", "_CHARACTERS", "_PER_SECOND", "_PER_MINUTE", "_PER_USER")
    assert [n for n in numbers - counts if not n.endswith(units)] == []
