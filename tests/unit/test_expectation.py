"""What a reader who joins a run learns of it from the run itself."""

from typing import Any

import pytest

from client.delivery.expectation import Expectation

USUAL = ["messages-tuple", "custom"]
QUESTION = {"messages": [{"role": "user", "content": "6 x 7?", "id": "q"}]}


def joined(expectation: Expectation, body: dict[str, Any], **run: Any) -> Expectation:
    """As read from a run that was started with this body."""
    return Expectation.of_run({"metadata": expectation.metadata(body), **run})


@pytest.mark.parametrize("modes", [USUAL, ["updates", "custom"], ["values", "events", "custom"]])
@pytest.mark.parametrize("body", [{"input": QUESTION}, {"input": None}, {"command": {}}])
def test_a_server_that_returns_only_input_and_metadata_is_enough(
    modes: list[str], body: dict[str, Any]
) -> None:
    """Modes and the message before the run come back whole, whatever started the run."""
    expectation = Expectation(frozenset(modes), "q")
    assert joined(expectation, body, input=body.get("input")) == expectation


def test_a_run_that_another_client_started_tells_it_too() -> None:
    """The server's own record of the run is read where there is no metadata of ours."""
    kwargs = {"stream_mode": ["updates", "custom"], "input": QUESTION}
    expectation = Expectation.of_run({"metadata": {}, "kwargs": kwargs})
    assert expectation == Expectation(frozenset({"updates", "custom"}), "q")
    assert not expectation.has_tokens
    bare = {"kwargs": {"stream_mode": "values", "input": {"messages": "hi"}}}
    assert Expectation.of_run(bare) == Expectation(frozenset({"values"}))


def test_the_usual_run_has_no_metadata() -> None:
    """A question in `messages` mode adds nothing to what each of its checkpoints keeps."""
    assert Expectation(frozenset(USUAL), "q").metadata({"input": QUESTION}) == {}
