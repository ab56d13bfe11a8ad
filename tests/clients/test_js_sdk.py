"""LangGraph's JS SDK in Node: every stream mode of runs, and the thread streams of v3."""

import pytest

from client.cli.local_server import LocalServer
from tests.clients.environments import run_js

ANSWER = " ".join(f"word{number}" for number in range(30))
NAMES = {
    "values": {"values"},
    "updates": {"updates"},
    "messages": {"messages/metadata", "messages/partial"},
    "messages-tuple": {"messages"},
    "events": {"events"},
    "debug": {"debug"},
    "tasks": {"tasks"},
    "checkpoints": {"checkpoints"},
    "custom": set(),
}


def test_stream_modes(server: LocalServer) -> None:
    """Each mode brings its own parts, and where they have the text, all of it."""
    for line in run_js("modes.mjs", server.url, "stream 30 tokens"):
        assert set(line["names"]) - {"metadata"} == NAMES[line["mode"]]
        assert line["kept"] == ANSWER
        assert line["text"] in (ANSWER, "")
        if line["mode"] in ("values", "updates", "messages", "messages-tuple", "events"):
            assert line["text"] == ANSWER


@pytest.mark.parametrize("transport", ["sse", "websocket"])
def test_thread_stream(server: LocalServer, transport: str) -> None:
    """A new thread is streamed over either transport."""
    (line,) = run_js("thread_stream.mjs", server.url, transport, "stream 30 tokens")
    assert line == {"text": ANSWER, "kept": ANSWER}
