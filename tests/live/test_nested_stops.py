"""A run that is stopped inside a graph of agents keeps what those had said."""

import asyncio

from agent.middleware.open_calls import STOPPED_CALL
from client import AgentClient, Run, Token, ToolCall
from tests.model_server import ModelServer, Reply
from tests.model_server import ToolCall as Call

LONG = Reply(tuple(f"word{n} " for n in range(900)), tokens_per_second=60.0)


async def stopped_at(run: Run, node: str, tokens: int = 5) -> str:
    """Stops the run after so many token events of a node; all the text that came of it."""
    texts: list[str] = []
    async with run:
        async for event in run:
            if isinstance(event, Token) and event.node == node:
                texts.append(event.content)
                if len(texts) == tokens:
                    await run.stop()
    assert run.done is not None
    assert run.done.status == "stopped"
    return "".join(texts)


async def kept(agent: AgentClient, run: Run) -> list[tuple[str, str]]:
    messages = await agent.threads.messages(str(run.thread_id))
    return [(message["type"], message["content"]) for message in messages]


async def test_an_inner_agents_text_and_steps_are_kept(
    graphs: AgentClient, model: ModelServer
) -> None:
    """Its call, the call's result and the text so far, which is what the person has read."""
    call = Call("look_up", {"topic": "frames"})
    model.on("Research frames.", Reply("I look.", tool_calls=[call]), LONG)
    run = graphs.stream("Research frames.", assistant_id="parent")
    read = await stopped_at(run, "researcher|model")
    assert await run.text() == read.removeprefix("I look.")
    assert await kept(graphs, run) == [
        ("human", "Research frames."),
        ("ai", "I look."),
        ("tool", "All about frames."),
        ("ai", read.removeprefix("I look.")),
    ]


async def test_the_next_turn_goes_on(graphs: AgentClient, model: ModelServer) -> None:
    """After the stop the thread takes a message as any other, and the model is sent what stands."""
    model.on("Research ids.", LONG)
    model.on("Write it up.", Reply("Written."))
    run = graphs.stream("Research ids.", assistant_id="parent")
    read = await stopped_at(run, "researcher|model")
    again = graphs.stream("Shorter.", thread_id=run.thread_id)
    assert await again.text() == "Written."
    assert await kept(graphs, run) == [
        ("human", "Research ids."),
        ("ai", read),
        ("human", "Shorter."),
        ("ai", "You said: Shorter."),
        ("ai", "Written."),
    ]


async def test_an_agent_that_a_node_calls_is_kept(graphs: AgentClient, model: ModelServer) -> None:
    """Its text is kept without the question that the node made up; what had ended stays once."""
    model.on("Research joins.", Reply("Researched."))
    model.on("Write it up.", LONG)
    run = graphs.stream("Research joins.", assistant_id="parent")
    read = await stopped_at(run, "writing|model")
    assert await kept(graphs, run) == [
        ("human", "Research joins."),
        ("ai", "Researched."),
        ("ai", read),
    ]


async def test_a_call_that_was_running_is_closed(graphs: AgentClient, model: ModelServer) -> None:
    """The inner agent's call gets a result that says it was stopped: the thread can go on."""
    model.on("Wait for it.", Reply("I wait.", tool_calls=[Call("wait", {})]))
    run = graphs.stream("Wait for it.", assistant_id="parent")
    async with run:
        async for event in run:
            if isinstance(event, ToolCall):
                await run.stop()
    assert await kept(graphs, run) == [
        ("human", "Wait for it."),
        ("ai", "I wait."),
        ("tool", STOPPED_CALL),
    ]


async def test_what_an_agent_said_to_a_tool_is_not_kept(
    graphs: AgentClient, model: ModelServer
) -> None:
    """Nobody was shown it: the tool's call gets a result that says it was stopped."""
    model.on("Ask the writer.", Reply("I ask.", tool_calls=[Call("ask_writer", {"topic": "ids"})]))
    model.on("Write about ids.", LONG)
    run = graphs.stream("Ask the writer.", assistant_id="parent")
    async with run:
        async for event in run:
            if isinstance(event, ToolCall):
                await asyncio.to_thread(
                    model.wait_for, lambda it: "Write about ids." in str(it.requests[-1])
                )
                await asyncio.to_thread(model.wait_for, lambda it: it.open_streams > 0)
                await run.stop()
    assert await kept(graphs, run) == [
        ("human", "Ask the writer."),
        ("ai", "I ask."),
        ("tool", STOPPED_CALL),
    ]
