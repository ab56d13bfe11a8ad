"""Where messages are counted, and what is too long."""

import sys

import pytest
from starlette.exceptions import HTTPException

from agent.access import quota
from agent.settings import Settings


@pytest.mark.parametrize("kind", ["redis", "etcd"])
def test_a_storage_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """It is told what is missing, and nothing of the password; nor do the settings show it."""
    uri = f"{kind}://:a-password@127.0.0.1:6379/0"
    config = Settings(_env_file=None, steady_limits_storage=uri)  # type: ignore[call-arg, arg-type]
    monkeypatch.setattr(quota, "settings", lambda: config)
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ValueError, match="pip install redis") as told:
        quota.limiter.__wrapped__()
    assert "a-password" not in f"{told.value}{config!r}"


def test_a_text_however_deep() -> None:
    """A text is found too long wherever it lies, also deeper than calls can go."""
    deep: object = "x" * 100_000
    for _ in range(5_000):
        deep = {"more": [deep]}
    quota.check_length(deep)
    with pytest.raises(HTTPException):
        quota.check_length([deep, "x" * 100_001])
