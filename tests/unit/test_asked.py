"""What a reader who joins a run learns of it from the run itself."""

from typing import Any

import pytest

from client.delivery.asked import Asked

USUAL = ["messages-tuple", "custom"]
QUESTION = {"messages": [{"role": "user", "content": "6 x 7?", "id": "q"}]}


def joined(asked: Asked, body: dict[str, Any], **told: Any) -> Asked:
    """As read from a run that was started with this body."""
    return Asked.of({"metadata": asked.notes(body), **told})


@pytest.mark.parametrize("modes", [USUAL, ["updates", "custom"], ["values", "events", "custom"]])
@pytest.mark.parametrize("body", [{"input": QUESTION}, {"input": None}, {"command": {}}])
def test_a_server_that_tells_only_input_and_metadata_is_enough(
    modes: list[str], body: dict[str, Any]
) -> None:
    """Modes and place come back whole, whatever began the run."""
    asked = Asked(frozenset(modes), "q")
    assert joined(asked, body, input=body.get("input")) == asked


def test_a_run_that_another_client_started_tells_it_too() -> None:
    """The server's own record of the run is read where there are no notes."""
    told = {"stream_mode": ["updates", "custom"], "input": QUESTION}
    found = Asked.of({"metadata": {}, "kwargs": told})
    assert found == Asked(frozenset({"updates", "custom"}), "q")
    assert (found.tells_state, found.tells_tokens) == (True, False)
    assert Asked.of({"kwargs": {"stream_mode": "values", "input": {"messages": "hi"}}}) == Asked(
        frozenset({"values"})
    )


def test_the_usual_run_is_not_noted() -> None:
    """A question in `messages` mode adds nothing to what each of its checkpoints keeps."""
    assert Asked(frozenset(USUAL), "q").notes({"input": QUESTION}) == {}
