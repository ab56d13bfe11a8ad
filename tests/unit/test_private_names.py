"""Private names of LangGraph and LangChain that are used: what happens where they are others."""

import importlib
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from agent.middleware import approval
from agent.scale.aegra import mismatches
from agent.storage import serializer as module
from agent.storage.serializer import StoredMessages, serializer
from agent.tools import NEEDS_APPROVAL
from agent.tools.mcp import McpTools


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    logged: list[str] = []
    for each in (module, approval):
        monkeypatch.setattr(each, "log", SimpleNamespace(warning=logged.append))
    serializer.cache_clear()
    return logged


def test_the_fast_serializer_fits_what_is_installed(warnings: list[str]) -> None:
    """It reads what LangGraph's reads; when it does not, look at it again."""
    assert type(serializer()) is StoredMessages
    assert warnings == []


@pytest.mark.parametrize("fault", ["another value", "an error"])
def test_another_way_of_storing_is_read_by_langgraph(
    warnings: list[str], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """Where the fast one would read something else, or fail, LangGraph's own is used, and said."""

    def read(kind: Any, fields: dict[str, Any]) -> Any:
        if fault == "an error":
            raise AttributeError("__pydantic_fields_set__")
        return kind(**{**fields, "content": "something else"})

    monkeypatch.setattr(module, "_restored", read)
    assert type(serializer()) is JsonPlusSerializer
    assert "long threads cost more" in warnings[0]
    serializer.cache_clear()


def test_a_request_for_approval_holds_the_argument_schema(warnings: list[str]) -> None:
    """The private method that adds it is the one that is installed."""
    approval.Approval(NEEDS_APPROVAL, McpTools({}))
    assert warnings == []


def test_another_way_to_ask_for_approval_is_said(
    warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where LangChain has no such method, the log says what is not checked."""
    monkeypatch.delattr(HumanInTheLoopMiddleware, "_create_action_and_config")
    approval.Approval(NEEDS_APPROVAL, McpTools({}))
    assert "edits are not checked" in warnings[0]


def test_a_langgraph_without_the_reducer_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads could not be read: the import fails with what to install."""
    message = ModuleType("langgraph.graph.message")
    message.REMOVE_ALL_MESSAGES = "__remove_all__"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "langgraph.graph.message", message)
    monkeypatch.delitem(sys.modules, "agent.middleware.thread_state", raising=False)
    with pytest.raises(ImportError, match=r"requirements\.lock"):
        importlib.import_module("agent.middleware.thread_state")


def test_another_aegra_is_told_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module, a function or a parameter that is missing is named; what fits is not."""
    fake = ModuleType("fake_aegra")
    fake.Class = SimpleNamespace(method=lambda self, run_id: None)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fake_aegra", fake)
    assert mismatches("fake_aegra", {"Class.method": "self run_id"}) == []
    assert mismatches("fake_aegra", {"Class.method": "self"}) == [
        "Class.method takes other parameters"
    ]
    assert mismatches("fake_aegra", {"gone": ""}) == ["fake_aegra has no gone"]
    assert mismatches("no_aegra_at_all", {"gone": ""}) == ["there is no no_aegra_at_all"]
