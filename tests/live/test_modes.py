"""The four stream modes of a run, against a real server and a scripted model."""

import itertools

import pytest

from client import (
    AgentClient,
    Done,
    Event,
    InvalidRequest,
    Mode,
    Token,
    ToolCall,
    ToolResult,
    Update,
    Values,
)
from tests.model_server import ModelServer, Reply
from tests.model_server import ToolCall as Call

MODES: tuple[Mode, ...] = ("values", "updates", "messages", "events")
KIND = {"values": Values, "updates": Update, "messages": Token, "events": Event}
QUESTION = "What is 6 x 7, really?"


@pytest.fixture(autouse=True)
def script(model: ModelServer) -> None:
    model.on(
        QUESTION,
        Reply("Let me see.", tool_calls=[Call("calculate", {"expression": "6 * 7"})]),
        Reply("It is 42. \U0001f389\nReally."),
    )


async def result(agent: AgentClient, modes: tuple[Mode, ...]) -> tuple[str, list[object], str]:
    async with agent.stream(QUESTION, modes=modes) as run:
        events = [event async for event in run]
        text = await run.text()
    assert {type(e) for e in events} >= {KIND[mode] for mode in modes}
    assert isinstance(events[-1], Done)
    assert sum(isinstance(e, Done) for e in events) == 1
    return text, [(c["name"], c["args"]) for c in run.tool_calls], events[-1].status


@pytest.mark.parametrize("mode", MODES)
async def test_each_mode_gives_the_same_text_and_tool_calls(agent: AgentClient, mode: Mode) -> None:
    """Whatever the mode, the answer's text, its tool calls and the status are the same."""
    assert await result(agent, (mode,)) == (
        "It is 42. \U0001f389\nReally.",
        [("calculate", {"expression": "6 * 7"})],
        "success",
    )


@pytest.mark.parametrize(
    "modes", [pair for size in (2, 3, 4) for pair in itertools.combinations(MODES, size)]
)
async def test_any_set_of_modes_streams_in_one_run(
    agent: AgentClient, modes: tuple[Mode, ...]
) -> None:
    """One run streams any set of the modes, and its result is that of each alone."""
    text, calls, status = await result(agent, modes)
    assert (text, len(calls), status) == ("It is 42. \U0001f389\nReally.", 1, "success")


async def test_tokens_tool_call_and_result_come_in_order(agent: AgentClient) -> None:
    """`messages` mode tells the text, then the call, then its result, then the answer."""
    async with agent.stream(QUESTION) as run:
        events = [e async for e in run if isinstance(e, Token | ToolCall | ToolResult)]
    shown = [
        e.content if isinstance(e, Token) else e.tool if isinstance(e, ToolCall) else e
        for e in events
    ]
    call = shown.index("calculate")
    assert "".join(map(str, shown[:call])) == "Let me see."
    outcome = shown[call + 1]
    assert isinstance(outcome, ToolResult)
    assert (outcome.status, outcome.content) == ("ok", "6 * 7 = 42")
    assert "".join(map(str, shown[call + 2 :])) == "It is 42. \U0001f389\nReally."


async def test_tokens_joined_are_the_message_in_the_state(agent: AgentClient) -> None:
    """The tokens of each message, joined, are that message's text in the thread's state."""
    async with agent.stream(QUESTION) as run:
        texts: dict[str, str] = {}
        async for event in run:
            if isinstance(event, Token):
                texts[event.message_id] = texts.get(event.message_id, "") + event.content
        state = await run.final_state()
    assert texts == {m["id"]: m["content"] for m in state["messages"] if m["type"] == "ai"}


async def test_one_mode_and_one_node_need_no_list(agent: AgentClient) -> None:
    """A text is one mode or one node, and is not read letter by letter."""
    async with agent.stream(QUESTION, modes="updates") as run:
        nodes = {event.node async for event in run if isinstance(event, Update)}
    assert nodes >= {"model", "tools"}
    async with agent.stream(QUESTION, modes="messages", nodes="model") as run:
        text = "".join([event.content async for event in run if isinstance(event, Token)])
    assert text == "Let me see.It is 42. \U0001f389\nReally."
    again = agent.runs.join(str(run.thread_id), str(run.run_id), nodes="model")
    assert await again.text() == await run.text() == "It is 42. \U0001f389\nReally."


async def test_a_run_is_read_once(agent: AgentClient) -> None:
    """A loop that was left is continued by the next one; after the end, a loop says what to do."""
    async with agent.stream(QUESTION) as run:
        events = []
        async for event in run:
            events.append(event)
            if isinstance(event, Token):
                break
        events += [event async for event in run]
        assert [type(event) for event in events].count(Done) == 1
        with pytest.raises(InvalidRequest, match=r"runs\.join\('.+', '.+'\)"):
            events += [event async for event in run]
        assert isinstance(events[-1], Done)
        assert await run.text() == "It is 42. \U0001f389\nReally."
