"""What LangGraph Studio, and anyone with the stock SDK, asks of the server."""

from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from client import AgentClient, Event
from client.cli.local_server import LocalServer
from tests.model_server import ModelServer, Reply
from tests.model_server import ToolCall as Call

STUDIO = "https://smith.langchain.com"
JSON = dict[str, Any]
QUESTION = "What is 6 x 7, in Studio?"


@pytest.fixture
async def studio(server: LocalServer) -> AsyncIterator[httpx.AsyncClient]:
    """A browser on Studio's page, as far as the server can tell."""
    async with httpx.AsyncClient(base_url=server.url, headers={"Origin": STUDIO}) as http:
        yield http


@pytest.fixture
async def sdk(server: LocalServer) -> AsyncIterator[LangGraphClient]:
    """The stock SDK's own client, as its documentation makes it."""
    async with get_client(url=server.url) as stock:
        yield stock


@pytest.fixture(autouse=True)
def script(model: ModelServer) -> None:
    call = Call("calculate", {"expression": "6 * 7"}, id="call_s")
    model.on(QUESTION, Reply(tool_calls=[call]), Reply("It is 42."))


def asked(question: str) -> JSON:
    return {"messages": [{"role": "user", "content": question}]}


async def thread_after(sdk: LangGraphClient, question: str, **options: Any) -> str:
    """A new thread on which the agent was asked `question`, and ended or was interrupted."""
    thread_id = (await sdk.threads.create())["thread_id"]
    await sdk.runs.wait(thread_id, "agent", input=asked(question), **options)
    return thread_id


def contents(state: Any) -> list[str]:
    return [message["content"] for message in state["values"]["messages"]]


# What Studio reads when it connects


async def test_studio_may_read_the_answers_from_its_own_page(studio: httpx.AsyncClient) -> None:
    """Actual answers allow Studio's origin, without which a browser would hide them."""
    answer = await studio.get("/info")
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] in ("*", STUDIO)
    assert answer.json()["version"]


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
async def test_studios_preflight_is_allowed(studio: httpx.AsyncClient, method: str) -> None:
    """A browser's question whether Studio may send JSON and its key is answered with yes."""
    wanted = {
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "content-type,x-api-key,x-auth-scheme",
    }
    answer = await studio.options("/threads", headers=wanted)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] in ("*", STUDIO)
    assert method in answer.headers["access-control-allow-methods"]
    assert "x-api-key" in answer.headers["access-control-allow-headers"].lower()


async def test_a_stream_may_be_read_from_studios_page(studio: httpx.AsyncClient) -> None:
    """Studio's page may read a run's event stream, and the header that says where the run is."""
    body = {"assistant_id": "agent", "input": asked("Hello."), "stream_mode": ["values"]}
    async with studio.stream("POST", "/runs/stream", json=body) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["access-control-allow-origin"] in ("*", STUDIO)
        exposed = answer.headers["access-control-expose-headers"].lower()
        assert "content-location" in exposed
        text = (await answer.aread()).decode()
    assert "You said: Hello." in text


async def test_both_graphs_are_listed_with_their_descriptions(sdk: LangGraphClient) -> None:
    """Studio's list of assistants has `agent` and `chat`, each described."""
    found = {a["graph_id"]: a for a in await sdk.assistants.search()}
    assert found.keys() >= {"agent", "chat"}
    assert "tools" in str(found["agent"]["description"])
    assert "Plain chat" in str(found["chat"]["description"])


@pytest.mark.parametrize("graph", ["agent", "chat"])
async def test_the_context_schema_describes_each_choice(sdk: LangGraphClient, graph: str) -> None:
    """Studio can draw a form: each context field has a type, a bound and a description."""
    (assistant,) = await sdk.assistants.search(graph_id=graph, metadata={"created_by": "system"})
    schemas = await sdk.assistants.get_schemas(assistant["assistant_id"])
    fields = schemas["context_schema"]["properties"]
    assert fields.keys() == {"model", "temperature", "system_prompt"}
    assert all(field["description"] for field in fields.values())
    assert "messages" in schemas["input_schema"]["properties"]
    assert "messages" in schemas["state_schema"]["properties"]


async def test_the_graph_is_drawn(sdk: LangGraphClient) -> None:
    """The drawing has each node and the edges between them, with and without xray."""
    (assistant,) = await sdk.assistants.search(graph_id="agent", metadata={"created_by": "system"})
    for xray in (False, True):
        drawing = await sdk.assistants.get_graph(assistant["assistant_id"], xray=xray)
        assert {node["id"] for node in drawing["nodes"]} >= {"model", "tools"}
        edges = {(edge["source"], edge["target"]) for edge in drawing["edges"]}
        asks, decided = ("model", "Approval.after_model"), ("Approval.after_model", "tools")
        begins, ends = ("__start__", "model"), ("model", "__end__")
        assert {begins, asks, decided, ("tools", "model"), ends} <= edges


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/ok"])
async def test_the_servers_own_pages_answer(studio: httpx.AsyncClient, path: str) -> None:
    """The routes that the server adds of itself are not hidden by the project's."""
    answer = await studio.get(path)
    assert answer.status_code == 200
    assert len(answer.content) > 5


# What Studio does with a thread


async def test_a_threads_history_tells_each_step(sdk: LangGraphClient) -> None:
    """History has a checkpoint for each step, a call's approval too, with next and parent."""
    thread_id = await thread_after(sdk, QUESTION)
    history = await sdk.threads.get_history(thread_id)
    assert [state["next"] for state in history] == [
        [],
        ["model"],
        ["tools"],
        ["Approval.after_model"],
        ["model"],
        ["__start__"],
    ]
    for newer, older in pairwise(history):
        parent = newer["parent_checkpoint"]
        assert parent
        assert parent["checkpoint_id"] == older["checkpoint"]["checkpoint_id"]


@pytest.mark.parametrize("node", ["model", "Approval.after_model"])
async def test_a_state_update_as_a_node_is_what_the_node_said(
    sdk: LangGraphClient, model: ModelServer, node: str
) -> None:
    """An answer written as the model's, or as approved, ends the turn; the next one sees it."""
    thread_id = await thread_after(sdk, "Speak.")
    said = {"messages": [{"role": "assistant", "content": "Corrected."}]}
    await sdk.threads.update_state(thread_id, said, as_node=node)
    state = await sdk.threads.get_state(thread_id)
    assert state["next"] == []
    assert contents(state) == ["Speak.", "You said: Speak.", "Corrected."]
    await sdk.runs.wait(thread_id, "agent", input=asked("Go on."))
    sent = [m["content"] for m in model.requests[-1]["messages"] if m["role"] != "system"]
    assert sent == ["Speak.", "You said: Speak.", "Corrected.", "Go on."]


async def test_a_fork_goes_another_way_and_the_old_way_stays(sdk: LangGraphClient) -> None:
    """A run from an earlier checkpoint, its question edited, makes a branch beside the first."""
    thread_id = await thread_after(sdk, "First question.")
    history = await sdk.threads.get_history(thread_id)
    earlier = next(state for state in history if state["next"] == ["model"])
    question_id = earlier["values"]["messages"][-1]["id"]
    edited = {"role": "user", "content": "Another question.", "id": question_id}
    fork = await sdk.threads.update_state(
        thread_id,
        {"messages": [edited]},
        as_node="__start__",
        checkpoint=earlier["checkpoint"],
    )
    await sdk.runs.wait(thread_id, "agent", input=None, checkpoint=fork["checkpoint"])
    now = await sdk.threads.get_state(thread_id)
    assert contents(now) == ["Another question.", "You said: Another question."]
    assert len(await sdk.threads.get_history(thread_id)) > len(history)
    before = await sdk.threads.get_state(thread_id, checkpoint=history[0]["checkpoint"])
    assert contents(before) == ["First question.", "You said: First question."]


async def test_a_run_from_an_earlier_checkpoint_runs_it_again(
    sdk: LangGraphClient, model: ModelServer
) -> None:
    """From a checkpoint before the model, a run with no input asks the model once more."""
    thread_id = await thread_after(sdk, "Again, please.")
    history = await sdk.threads.get_history(thread_id)
    earlier = next(state for state in history if state["next"] == ["model"])
    count = len(model.requests)
    await sdk.runs.wait(thread_id, "agent", input=None, checkpoint=earlier["checkpoint"])
    assert len(model.requests) == count + 1
    assert contents(await sdk.threads.get_state(thread_id)) == [
        "Again, please.",
        "You said: Again, please.",
    ]


async def test_an_interrupt_before_the_tools_waits_and_resumes(sdk: LangGraphClient) -> None:
    """A run told to stop before the tools leaves them waiting; one with no input goes on."""
    thread_id = await thread_after(sdk, QUESTION, interrupt_before=["tools"])
    waiting = await sdk.threads.get_state(thread_id)
    assert waiting["next"] == ["tools"]
    assert waiting["values"]["messages"][-1]["tool_calls"][0]["name"] == "calculate"
    assert (await sdk.threads.get(thread_id))["status"] == "interrupted"
    await sdk.runs.wait(thread_id, "agent", input=None)
    ended = await sdk.threads.get_state(thread_id)
    assert ended["next"] == []
    assert contents(ended)[-2:] == ["6 * 7 = 42", "It is 42."]


async def test_a_tool_call_edited_while_it_waits_runs_as_edited(sdk: LangGraphClient) -> None:
    """Arguments changed in the state during the interrupt are those that the tool gets."""
    thread_id = await thread_after(sdk, QUESTION, interrupt_before=["tools"])
    call = (await sdk.threads.get_state(thread_id))["values"]["messages"][-1]
    call["tool_calls"][0]["args"] = {"expression": "7 * 7"}
    await sdk.threads.update_state(thread_id, {"messages": [call]}, as_node="model")
    await sdk.runs.wait(thread_id, "agent", input=None)
    assert contents(await sdk.threads.get_state(thread_id))[-2:] == ["7 * 7 = 49", "It is 42."]


# The stock SDK


async def test_the_stock_sdks_ten_lines_work(server: LocalServer) -> None:
    """The script of the LangGraph documentation runs as it stands, without a thread."""
    client = get_client(url=server.url)
    text = ""
    async for chunk in client.runs.stream(
        None, "agent", input=asked("Hello there."), stream_mode="messages-tuple"
    ):
        if chunk.event == "messages":
            message, _ = chunk.data
            text += message["content"]
    assert text == "You said: Hello there."


async def test_a_batch_of_modes_is_streamed_to_the_stock_sdk(sdk: LangGraphClient) -> None:
    """Every mode that the SDK can ask for is served."""
    modes: Any = ["values", "updates", "messages-tuple", "events", "custom", "debug", "tasks"]
    names = set()
    async for chunk in sdk.runs.stream(None, "agent", input=asked(QUESTION), stream_mode=modes):
        names.add(chunk.event.partition("|")[0])
    assert names >= {"metadata", "values", "updates", "messages", "events", "debug", "tasks"}


# Retrieval


async def searched(agent: AgentClient, model: ModelServer, query: str) -> list[Event]:
    model.on(query, Reply(tool_calls=[Call("search_docs", {"query": query})]), Reply("Read that."))
    async with agent.stream(query, modes=["events"]) as run:
        events = [event async for event in run if isinstance(event, Event)]
        assert await run.text() == "Read that."
    return events


async def test_a_search_shows_as_a_retriever(agent: AgentClient, model: ModelServer) -> None:
    """In `events` mode a search starts and ends as a retriever does, with its query and pages."""
    events = await searched(agent, model, "How do token frames work?")
    start = next(e for e in events if e.name == "on_retriever_start")
    end = next(e for e in events if e.name == "on_retriever_end")
    assert start.run_name == end.run_name == "knowledge"
    assert start.data["input"] == {"query": "How do token frames work?"}
    assert end.data["output"]
    assert all(page["metadata"]["source"] for page in end.data["output"])


async def test_a_search_finds_the_page_on_its_subject(
    agent: AgentClient, model: ModelServer
) -> None:
    """The best passage for streaming modes is of the page about them, and the model is sent it."""
    events = await searched(agent, model, "Explain LangGraph streaming modes")
    pages = next(e for e in events if e.name == "on_retriever_end").data["output"]
    assert pages[0]["metadata"]["source"] == "langgraph-streaming-modes"
    assert "[langgraph-streaming-modes]" in model.requests[-1]["messages"][-1]["content"]


async def test_a_search_for_what_is_not_there_says_so(
    agent: AgentClient, model: ModelServer
) -> None:
    """A query that matches no page gives a plain answer, not an error and not a random page."""
    await searched(agent, model, "xyzzy plugh quux")
    told = model.requests[-1]["messages"][-1]["content"]
    assert told == "Nothing about that was found in the documentation."
