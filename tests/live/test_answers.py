"""What an answer may hold, and what a run may choose, against a real server and scripted model."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from client import AgentClient, InvalidRequest, Mode, Reasoning, Token, ToolCall, ToolResult, Usage
from client.cli.local_server import LocalServer, find_config
from client.events import AgentEvent
from tests.conftest import server_env
from tests.model_server import ModelServer, Reply
from tests.model_server import ToolCall as Call
from tests.model_server import Usage as Counted
from tests.scale.storage import Postgres, missing
from tests.sse_reader import ask as ask_route

MODES: tuple[Mode, ...] = ("values", "updates", "messages", "events")
ANSWER = "Well, *here* it is:\n\n- one \U0001f389\n- two\n"


@contextmanager
def server_with(model: ModelServer, folder: Path, **env: str) -> Iterator[LocalServer]:
    config = find_config(Path(__file__).parent)
    with LocalServer(config, env=server_env(model.url, **env), folder=folder) as running:
        yield running


@pytest.fixture(scope="module")
def frameless(
    model: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalServer]:
    """A server that passes every token on by itself."""
    with server_with(model, tmp_path_factory.mktemp("frameless"), STEADY_FRAME_SECONDS="0") as up:
        yield up


@pytest.fixture(scope="module")
def responses(
    model: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalServer]:
    """A server that asks its model through OpenAI's Responses API."""
    folder = tmp_path_factory.mktemp("responses")
    with server_with(model, folder, STEADY_RESPONSES_API="true") as up:
        yield up


async def ask(agent: AgentClient, question: str, **options: Any) -> list[AgentEvent]:
    async with agent.stream(question, **options) as run:
        events = [event async for event in run]
    assert run.done
    assert run.done.status == "success"
    return events


def said(events: list[AgentEvent], kind: type[Token] | type[Reasoning] = Token) -> str:
    return "".join(event.content for event in events if isinstance(event, kind))


TEXTS = {
    "emoji": "Family: "
    "\U0001f468\u200d\U0001f469\u200d\U0001f467, flag \U0001f1ee\U0001f1f9, \U0001f44d\U0001f3fd.",
    "combining marks": "Cafe\u0301 and caf\u00e9 differ; Z\u0351\u036b\u0343a\u0300lgo.",
    "right to left": "Mixed: "
    "\u05e9\u05dc\u05d5\u05dd \u200fabc\u200e \u0645\u0631\u062d\u0628\u0627 \u202e12\u202c.",
    "newlines": "\n\none\r\ntwo\rthree\u2028four\u2029five\u0085six\n",
    "quotes and escapes": '"a" \'b\' \\n \\u0041 `c` {"d": [null]} </script> %s {x}',
    "control characters": "tab\tbell\x07 escape\x1b[31m end\x7f",
    "server-sent events": "data: [DONE]\n\ndata: {}\nevent: end\n\n: comment",
    "white space": "   leading,  double,   and trailing   ",
    "escape of NUL": r"Write \u0000, \\u0000 or \ufffd for NUL.",
    "outside the BMP": "\U00020000\U0001d49c\U0010fffd",
}


@pytest.mark.parametrize("name", TEXTS)
async def test_text_arrives_exactly(agent: AgentClient, model: ModelServer, name: str) -> None:
    """Whatever characters an answer has, tokens and state have exactly the same ones."""
    model.on(f"Say {name}.", Reply(tuple(TEXTS[name])))
    async with agent.stream(f"Say {name}.") as run:
        events = [event async for event in run]
        state = await run.final_state()
    assert said(events) == TEXTS[name]
    assert state["messages"][-1]["content"] == TEXTS[name]


@pytest.mark.parametrize("name", TEXTS)
async def test_a_question_arrives_exactly(
    agent: AgentClient, model: ModelServer, name: str
) -> None:
    """Whatever characters a question has, the model is sent exactly those."""
    await ask(agent, TEXTS[name])
    assert model.requests[-1]["messages"][-1]["content"] == TEXTS[name]


ESCAPED = r"\u0000 \\u0000"


async def test_an_escape_of_nul_stays_in_calls_and_results(
    server: LocalServer, agent: AgentClient, model: ModelServer
) -> None:
    """The six characters are the same in a call, its result, the state and on the route."""
    call = Call("current_time", {"timezone": ESCAPED})
    model.on(ESCAPED, Reply(tool_calls=[call]), Reply(ESCAPED))
    async with agent.stream(ESCAPED) as run:
        events = [event async for event in run]
        messages = (await run.final_state())["messages"]
    assert [event.args for event in events if isinstance(event, ToolCall)] == [call.args]
    (result,) = [event for event in events if isinstance(event, ToolResult)]
    assert repr(ESCAPED) in result.content
    assert [m["content"] for m in messages] == [ESCAPED, "", result.content, ESCAPED]
    routed = await ask_route(server.url, "/agent/stream", {"message": ESCAPED})
    assert "".join(e["content"] for e in routed if e["type"] == "token") == ESCAPED


async def test_nul_in_a_question_and_an_answer(
    server: LocalServer, agent: AgentClient, model: ModelServer
) -> None:
    """A real NUL breaks nothing: tokens and state have the same text, and the thread goes on."""
    question, answer = "What is \0?", ("NUL", " is \0", ".")
    model.on(question, Reply(answer))
    async with agent.stream(question) as run:
        events = [event async for event in run]
        state = await run.final_state()
    assert said(events) == state["messages"][-1]["content"]
    assert said(events).replace("\ufffd", "\0") == "".join(answer)
    assert await agent.stream("And now?", thread_id=run.thread_id).text() == "You said: And now?"


@pytest.mark.skipif(bool(missing()), reason=missing())
async def test_nul_on_postgres(model: ModelServer, tmp_path: Path) -> None:
    """Threads in PostgreSQL, which has no NUL in its texts, hold and give it as those in a file."""
    call = Call("current_time", {"timezone": "a\0b"})
    model.on("NUL: \0", Reply("Well \0:", tool_calls=[call]), Reply((r"\u0000", " is \0.")))
    with (
        Postgres(tmp_path / "postgres") as postgres,
        server_with(model, tmp_path, STEADY_POSTGRES_URI=postgres.uri) as server,
    ):
        async with AgentClient(server.url) as agent:
            run = agent.stream("NUL: \0")
            assert (await run.text()).replace("\ufffd", "\0") == "\\u0000 is \0."
            again = agent.stream("And now?", thread_id=run.thread_id)
            assert await again.text() == "You said: And now?"
    sent = [message["content"] for message in model.requests[-1]["messages"][1:]]
    assert sent[0] == "NUL: \0"
    assert sent[-2] == "\\u0000 is \0."


async def test_twenty_thousand_tokens_arrive_exactly(agent: AgentClient) -> None:
    """A very long answer is whole: the tokens joined are the message in the state."""
    async with agent.stream("stream 20000 tokens") as run:
        events = [event async for event in run]
        state = await run.final_state()
    assert said(events) == " ".join(f"word{n}" for n in range(20_000))
    assert state["messages"][-1]["content"] == said(events)


@pytest.mark.parametrize("mode", MODES)
async def test_an_empty_answer_is_a_success(
    agent: AgentClient, model: ModelServer, mode: Mode
) -> None:
    """A model that says nothing ends the run well, with empty text and no token."""
    model.on("Say nothing.", Reply(""))
    async with agent.stream("Say nothing.", modes=[mode]) as run:
        assert [e for e in [e async for e in run] if isinstance(e, Token)] == []
        assert await run.text() == ""
    assert run.done
    assert (run.done.status, run.done.ttft_ms) == ("success", None)


@pytest.mark.parametrize("mode", MODES)
async def test_reasoning_is_not_the_answer(
    agent: AgentClient, model: ModelServer, mode: Mode
) -> None:
    """`reasoning_content` arrives as Reasoning events, before the text and never in it."""
    model.on("Think.", Reply("It is 42.", reasoning="Six sevens, that is..."))
    async with agent.stream("Think.", modes=[mode]) as run:
        events = [event async for event in run]
        assert await run.text() == "It is 42."
    if mode == "messages":
        assert said(events, Reasoning) == "Six sevens, that is..."
        kinds = [type(e) for e in events if isinstance(e, Reasoning | Token)]
        assert kinds == sorted(kinds, key=[Reasoning, Token].index)


async def test_reasoning_before_a_tool_call(agent: AgentClient, model: ModelServer) -> None:
    """Each model call's reasoning arrives with that call's message, tools or not."""
    model.on(
        "Think and reckon.",
        Reply(reasoning="A tool.", tool_calls=[Call("calculate", {"expression": "2+2"})]),
        Reply("Four.", reasoning="I know now."),
    )
    events = await ask(agent, "Think and reckon.")
    thoughts: dict[str, str] = {}
    for event in events:
        if isinstance(event, Reasoning):
            thoughts[event.message_id] = thoughts.get(event.message_id, "") + event.content
    assert list(thoughts.values()) == ["A tool.", "I know now."]
    assert said(events) == "Four."


async def test_several_tool_calls_of_one_message(agent: AgentClient, model: ModelServer) -> None:
    """Calls made together are each told once, with their own arguments, and each has its result."""
    sums = ["1+1", "2*2", "3**3"]
    calls = [Call("calculate", {"expression": e}, id=f"call-{e}") for e in sums]
    model.on("Three sums.", Reply(tool_calls=calls), Reply("Done."))
    events = await ask(agent, "Three sums.")
    made = [e for e in events if isinstance(e, ToolCall)]
    assert [(c.id, c.tool, c.args) for c in made] == [
        (f"call-{e}", "calculate", {"expression": e}) for e in sums
    ]
    results = {e.id: e.content for e in events if isinstance(e, ToolResult)}
    assert results == {"call-1+1": "1+1 = 2", "call-2*2": "2*2 = 4", "call-3**3": "3**3 = 27"}


async def test_usage_is_told_once_for_each_model_call(
    agent: AgentClient, model: ModelServer
) -> None:
    """The counts that the model reports arrive as one Usage event."""
    model.on("Count.", Reply("One two three.", usage=Counted(11, 3)))
    events = await ask(agent, "Count.")
    assert [e for e in events if isinstance(e, Usage)] == [Usage(11, 3)]


async def test_done_tells_the_first_tokens_time(agent: AgentClient, model: ModelServer) -> None:
    """`ttft_ms` is when the first text came, which is before the end and after the model's wait."""
    model.on("Take your time.", Reply("At last, it is here.", first_token_seconds=0.3))
    async with agent.stream("Take your time.") as run:
        await run.text()
    assert run.done
    assert run.done.ttft_ms is not None
    assert 300 <= run.done.ttft_ms <= run.done.duration_ms


# The Responses API


async def test_responses_api_gives_text_and_reasoning(
    responses: LocalServer, model: ModelServer
) -> None:
    """Through the Responses API, text and reasoning summary arrive exactly as they do without."""
    model.on("Respond.", Reply(tuple(ANSWER), reasoning="Thinking it\nover.", usage=Counted(7, 9)))
    async with AgentClient(responses.url) as agent:
        events = await ask(agent, "Respond.")
    assert model.requests[-1].path == "/v1/responses"
    assert said(events) == ANSWER
    assert said(events, Reasoning) == "Thinking it\nover."
    assert [e for e in events if isinstance(e, Usage)] == [Usage(7, 9)]


@pytest.mark.parametrize("mode", MODES)
async def test_responses_api_calls_tools(
    responses: LocalServer, model: ModelServer, mode: Mode
) -> None:
    """Through the Responses API, in every mode, the same tool call, result and answer arrive."""
    model.on(
        "Respond with a sum.",
        Reply("Let me see.", tool_calls=[Call("calculate", {"expression": "6*7"}, id="call_a")]),
        Reply(ANSWER),
    )
    async with (
        AgentClient(responses.url) as agent,
        agent.stream("Respond with a sum.", modes=[mode]) as run,
    ):
        events = [event async for event in run]
        assert await run.text() == ANSWER
    assert run.tool_calls == [{"id": "call_a", "name": "calculate", "args": {"expression": "6*7"}}]
    if mode == "messages":
        results = [e for e in events if isinstance(e, ToolResult)]
        assert results == [ToolResult("call_a", "calculate", "ok", "6*7 = 42")]
        assert [e.id for e in events if isinstance(e, ToolCall)] == ["call_a"]


async def test_responses_api_tokens_are_the_message_in_the_state(
    responses: LocalServer, model: ModelServer
) -> None:
    """Through the Responses API too, the tokens joined are the text in the thread's state."""
    async with AgentClient(responses.url) as agent, agent.stream("stream 500 tokens") as run:
        events = [event async for event in run]
        state = await run.final_state()
    blocks = [b["text"] for b in state["messages"][-1]["content"] if b["type"] == "text"]
    assert said(events) == "".join(blocks) == " ".join(f"word{n}" for n in range(500))


# Context: what one run may choose


async def test_context_chooses_the_model_and_its_temperature(
    agent: AgentClient, model: ModelServer
) -> None:
    """A run's `model` and `temperature` reach the endpoint, and the next run has the defaults."""
    await ask(agent, "With context.", context={"model": "other-model", "temperature": 0.25})
    assert model.requests[-1]["model"] == "other-model"
    assert model.requests[-1]["temperature"] == 0.25
    await ask(agent, "Without context.")
    assert model.requests[-1]["model"] != "other-model"
    assert "temperature" not in model.requests[-1]


async def test_context_holds_for_every_model_call_of_the_run(
    agent: AgentClient, model: ModelServer
) -> None:
    """The calls after a tool's result are made with the same model as the first."""
    question = 'call calculate {"expression": "2+3"}'
    await ask(agent, question, context={"model": "other-model"})
    assert [r["model"] for r in model.requests[-2:]] == ["other-model"] * 2


@pytest.mark.parametrize("assistant", ["agent", "chat"])
async def test_system_prompt_replaces_the_agents_own(
    agent: AgentClient, model: ModelServer, assistant: str
) -> None:
    """A run's `system_prompt` is the only one that the model is sent."""
    wanted = {"system_prompt": "Speak like a heron."}
    await ask(agent, "Who are you?", assistant_id=assistant, context=wanted)
    system = [m["content"] for m in model.requests[-1]["messages"] if m["role"] == "system"]
    assert system == ["Speak like a heron."]


async def test_the_chat_assistant_has_no_tools(agent: AgentClient, model: ModelServer) -> None:
    """`chat` is the model alone; `agent` sends its tools along."""
    await ask(agent, "Just talk.", assistant_id="chat")
    assert "tools" not in model.requests[-1]
    await ask(agent, "With tools.")
    offered = {tool["function"]["name"] for tool in model.requests[-1]["tools"]}
    assert offered == {
        "get_weather",
        "calculate",
        "search_docs",
        "current_time",
        "save_note",
        "remember",
        "recall",
    }


@pytest.mark.parametrize(
    ("context", "named"),
    [
        ({"temperature": 5}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"system_prompt": 7}, "system_prompt"),
    ],
)
async def test_a_context_that_does_not_fit_is_rejected(
    agent: AgentClient, model: ModelServer, context: dict[str, Any], named: str
) -> None:
    """A field that is unknown or out of range is named in one line, and no model is asked."""
    asked = len(model.requests)
    with pytest.raises(InvalidRequest, match=named) as caught:
        await ask(agent, "Hello?", context=context)
    assert "\n" not in caught.value.message
    assert len(model.requests) == asked


# Frames


@pytest.mark.parametrize("mode", MODES)
async def test_frames_change_no_text(
    frameless: LocalServer, agent: AgentClient, model: ModelServer, mode: Mode
) -> None:
    """With token frames and without, each mode delivers the same text, calls and reasoning."""
    model.on(
        "Framed?",
        Reply("A sum.", tool_calls=[Call("calculate", {"expression": "9*9"}, id="call_f")]),
        Reply(tuple(ANSWER * 20), reasoning=tuple("Hm, hm.")),
    )
    outcomes = []
    async with AgentClient(frameless.url) as without_frames:
        for client in (agent, without_frames):
            async with client.stream("Framed?", modes=[mode]) as run:
                events = [event async for event in run]
                text = await run.text()
            outcomes.append((text, run.tool_calls, said(events), said(events, Reasoning)))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0] == ANSWER * 20


async def test_frames_are_fewer_than_tokens(frameless: LocalServer, agent: AgentClient) -> None:
    """Frames put many model tokens into one event; without frames each has its own."""
    counts = []
    async with AgentClient(frameless.url) as without_frames:
        for client in (agent, without_frames):
            events = await ask(client, "stream 500 tokens")
            counts.append(sum(isinstance(event, Token) for event in events))
    assert counts[0] < 100
    assert counts[1] == 500
