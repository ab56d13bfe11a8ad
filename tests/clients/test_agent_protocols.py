"""MCP and A2A, asked by the Python clients of those protocols."""

import json

from langgraph_sdk import get_sync_client

from client.cli.local_server import LocalServer
from tests.clients.environments import PYTHON, needs, run
from tests.model_server import Fault, ModelServer, Reply, ToolCall


def test_mcp(server: LocalServer, model: ModelServer) -> None:
    """An answer is an answer; a failed model and a call that waits are errors, in words."""
    needs(PYTHON)
    model.on("MCP fails.", Reply(fault=Fault("status", status=400)))
    note = ToolCall("save_note", {"title": "mcp", "text": "x"})
    model.on("MCP saves.", Reply(tool_calls=[note]))
    questions = ("stream 5 tokens", "MCP fails.", "MCP saves.")
    tools, answered, failed, waiting = run(
        str(PYTHON), "scripts/mcp_client.py", f"{server.url}/mcp/", *questions
    )
    assert "agent" in tools
    assert answered["is_error"] is False
    assert "word0 word1 word2 word3 word4" in answered["text"]
    assert failed["is_error"] is True
    assert "endpoint" in failed["text"]
    assert len(failed["text"].split()) > 3
    assert waiting["is_error"] is True
    assert "save_note" in waiting["text"]
    assert "approval" in waiting["text"]


def test_a2a(server: LocalServer) -> None:
    """The card is read, and a question is answered."""
    needs(PYTHON)
    assistants = get_sync_client(url=server.url, api_key=None).assistants.search(
        graph_id="agent", metadata={"created_by": "system"}
    )
    name, events = run(
        str(PYTHON),
        "scripts/a2a_client.py",
        server.url,
        assistants[0]["assistant_id"],
        "stream 5 tokens",
    )
    assert name == "agent"
    assert "word0 word1 word2 word3 word4" in json.dumps(events)
