"""Who of a run's models speaks to the person, by the metadata of the call."""

import pytest

from client.decoding.audience import Audience, path_of
from client.events import JSON


def at(*nodes: str, **more: object) -> JSON:
    """The metadata of a call in the last of these nodes, each in the graph of the one before."""
    namespace = "|".join(f"{node}:{number}-task" for number, node in enumerate(nodes))
    return {"langgraph_node": nodes[-1], "langgraph_checkpoint_ns": namespace, **more}


def test_a_path_names_the_nodes_without_their_tasks() -> None:
    """A top-level node is its own path; metadata without a namespace has its node's name."""
    assert path_of(at("model")) == "model"
    assert path_of(at("team", "writer", "model")) == "team|writer|model"
    assert path_of({"langgraph_node": "model"}) == "model"
    assert path_of({}) == ""


@pytest.mark.parametrize(
    ("metadata", "is_shown"),
    [
        (at("model"), True),
        (at("writer", "model"), True),
        (at("v1.5 writer", "model"), True),
        (at("tools"), False),
        (at("tools", "model"), False),
        (at("writer", "tools", "model"), False),
        (at("Summaries.before_model"), False),
        (at("model", lc_source="tool_selection"), False),
        (at("model", lc_internal_call="token"), False),
    ],
)
def test_what_is_for_the_program_stays_out(metadata: JSON, is_shown: bool) -> None:
    """Calls within tools, in middleware, and those that LangChain marks are not shown."""
    assert Audience().is_shown(metadata) == is_shown


@pytest.mark.parametrize("tag", ["nostream", "langsmith:nostream"])
def test_a_call_may_be_tagged_to_stay_out(tag: str) -> None:
    """LangGraph's tag, which `events` mode leaves to its reader."""
    assert not Audience().is_shown(at("model"), [tag])


@pytest.mark.parametrize(
    ("nodes", "metadata", "is_shown"),
    [
        ("writer", at("writer"), True),
        ("writer", at("writer", "model"), True),
        ("writer|model", at("writer", "model"), True),
        ("model", at("writer", "model"), False),
        ("writer", at("writer", "tools", "model"), False),
        ("writer|tools", at("writer", "tools", "model"), True),
        ("tools", at("tools"), True),
        ("Summaries.before_model", at("Summaries.before_model", lc_source="summary"), True),
        ("model", at("model", lc_source="tool_selection"), False),
    ],
)
def test_nodes_narrow(nodes: str, metadata: JSON, is_shown: bool) -> None:
    """A path shows its node and what is within; tools and middleware only where it names them."""
    assert Audience([nodes]).is_shown(metadata) == is_shown


@pytest.mark.parametrize(
    ("nodes", "metadata", "is_shown"),
    [
        (None, at("tools"), True),
        (None, at("writer", "tools"), True),
        (None, at("tools", "tools"), False),
        (["writer"], at("writer", "tools"), True),
        (["writer"], at("other", "tools"), False),
        (["writer|model"], at("writer", "tools"), True),
        (["model"], at("tools"), True),
    ],
)
def test_results_follow_the_graph_of_their_calls(
    nodes: list[str] | None, metadata: JSON, is_shown: bool
) -> None:
    """A tool's result is shown where the calls of its graph are."""
    assert Audience(nodes).is_result_shown(metadata) == is_shown
