"""The AI SDK's provider for OpenAI, from npm, as it is."""

from client.cli.local_server import LocalServer
from tests.clients.environments import HERE, needs, run_js
from tests.model_server import ModelServer, Reply, ToolCall


def test_the_ai_sdk(server: LocalServer, model: ModelServer) -> None:
    """Texts, reasoning, the agent's calls, a thread that goes on, a request for approval."""
    needs(HERE / "node_modules")
    call = ToolCall("calculate", {"expression": "6 * 7"})
    note = ToolCall("save_note", {"title": "ai-sdk", "text": "x"})
    model.on(
        "AI SDK computes.", Reply(reasoning="Six times", tool_calls=[call]), Reply("It is 42.")
    )
    model.on("AI SDK saves.", Reply(tool_calls=[note]))
    questions = ("AI SDK computes.", "AI SDK goes on.", "AI SDK saves.")
    response, follow_up, waiting, chat, missing = run_js("openai.mjs", server.url, *questions)
    assert (response["text"], response["reasoning"]) == ("It is 42.", "Six times")
    assert {"tool-call", "tool-result"} <= set(response["kinds"])
    assert response["finish"] == "stop"
    assert follow_up["text"] == "You said: AI SDK goes on."
    asked = [
        m["content"] for r in model.requests for m in r.get("messages", ()) if m["role"] == "user"
    ]
    assert asked.count("AI SDK computes.") > 2  # the thread has it in the next turn, too
    assert len(waiting["approvals"]) == 1
    assert chat["text"] == "It is 42."
    assert missing["status"] == 404
