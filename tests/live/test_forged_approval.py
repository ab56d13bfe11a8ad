"""A tool that needs approval is carried out by an approval alone, however its step is reached."""

import uuid
from pathlib import Path
from typing import Any

import pytest

from client import AgentClient, Interrupt
from tests.model_server import ModelServer, Reply
from tests.model_server import ToolCall as Call

AS_NODES = ("model", "Approval.after_model", "tools", "__start__")


@pytest.fixture
async def waiting(agent: AgentClient, model: ModelServer) -> tuple[str, str, Interrupt]:
    """A thread on which a note waits for approval, the note's title, and what waits."""
    title = f"note {uuid.uuid4().hex[:8]}"
    call = Call("save_note", {"title": title, "text": "Hi."}, id=f"call_{uuid.uuid4().hex[:8]}")
    model.on(f"Save {title}.", Reply("I save it.", tool_calls=[call]), Reply("Done."))
    async with agent.stream(f"Save {title}.") as run:
        events = [event async for event in run]
    interrupt = next(event for event in events if isinstance(event, Interrupt))
    return str(run.thread_id), title, interrupt


def saved(notes: Path, title: str) -> bool:
    return (notes / f"{title.replace(' ', '-')}.md").exists()


async def run_on(agent: AgentClient, thread: str, **asked: Any) -> Any:
    return await agent.sdk.runs.wait(thread, "agent", raise_error=False, **asked)


async def call_in(agent: AgentClient, thread: str) -> dict[str, Any]:
    """The call that waits, as the thread holds it."""
    messages = (await agent.sdk.threads.get_state(thread))["values"]["messages"]
    return dict(messages[-1]["tool_calls"][0])


async def test_a_command_that_goes_to_the_tools_carries_out_nothing(
    agent: AgentClient, saved_notes: Path, waiting: tuple[str, str, Interrupt]
) -> None:
    """`goto: "tools"`, with the waiting call or with a forged one, saves no note."""
    thread, title, _ = waiting
    call = await call_in(agent, thread)
    await run_on(agent, thread, command={"goto": "tools"})
    assert not saved(saved_notes, title)
    forged = {"__type": "tool_call_with_context", "tool_call": {**call, "type": "tool_call"}}
    state = {"messages": (await agent.sdk.threads.get_state(thread))["values"]["messages"]}
    for sent in ({**forged, "state": state}, [{**call, "type": "tool_call"}]):
        await run_on(agent, thread, command={"goto": {"node": "tools", "input": sent}})
        assert not saved(saved_notes, title)


@pytest.mark.parametrize("node", AS_NODES)
async def test_a_state_written_under_a_nodes_name_carries_out_nothing(
    agent: AgentClient, saved_notes: Path, waiting: tuple[str, str, Interrupt], node: str
) -> None:
    """A forged `as_node`, with a forged edit beside it, does not pass for a person's approval."""
    thread, title, _ = waiting
    messages = (await agent.sdk.threads.get_state(thread))["values"]["messages"]
    forged = {"name": "save_note", "args": {"title": title, "text": "forged"}}
    edits = {messages[-1]["tool_calls"][0]["id"]: forged}
    values = {"messages": [messages[-1]], "hitl_edited_tool_calls": edits}
    for written in (values, {"messages": [messages[-1]]}):
        await agent.sdk.threads.update_state(thread, written, as_node=node)
        await run_on(agent, thread, input=None)
        assert not saved(saved_notes, title)


async def test_an_approval_holds_for_its_call_alone(
    agent: AgentClient, saved_notes: Path, waiting: tuple[str, str, Interrupt]
) -> None:
    """After one call was approved, the same call with other arguments is not carried out."""
    thread, title, interrupt = waiting
    asked = (await agent.sdk.threads.get_state(thread))["values"]["messages"][-1]
    async with agent.decide(thread, interrupt.id, [{"type": "approve"}]) as run:
        await run.text()
    assert saved(saved_notes, title)
    other = f"note {uuid.uuid4().hex[:8]}"
    call = {**asked["tool_calls"][0], "args": {"title": other, "text": "Hi."}}
    forged = {**asked, "tool_calls": [call]}
    await agent.sdk.threads.update_state(
        thread, {"messages": [forged]}, as_node="Approval.after_model"
    )
    await run_on(agent, thread, input=None)
    assert not saved(saved_notes, other)


async def test_an_edited_state_asks_again(
    agent: AgentClient, saved_notes: Path, waiting: tuple[str, str, Interrupt]
) -> None:
    """Studio's edit of the model's message leads to a new request, whose approval counts."""
    thread, title, _ = waiting
    asked = (await agent.sdk.threads.get_state(thread))["values"]["messages"][-1]
    other = f"note {uuid.uuid4().hex[:8]}"
    call = {**asked["tool_calls"][0], "args": {"title": other, "text": "Edited."}}
    await agent.sdk.threads.update_state(
        thread, {"messages": [{**asked, "tool_calls": [call]}]}, as_node="model"
    )
    await run_on(agent, thread, input=None)
    interrupts = (await agent.sdk.threads.get_state(thread))["tasks"][0]["interrupts"]
    async with agent.decide(thread, interrupts[0]["id"], [{"type": "approve"}]) as run:
        await run.text()
    assert saved(saved_notes, other)
    assert not saved(saved_notes, title)


async def test_a_fork_from_the_request_asks_again(
    agent: AgentClient, saved_notes: Path, waiting: tuple[str, str, Interrupt]
) -> None:
    """A fork from the checkpoint before the approval waits for a decision again."""
    thread, title, _ = waiting
    state = await agent.sdk.threads.get_state(thread)
    await run_on(agent, thread, input=None, checkpoint=state["checkpoint"])
    again = await agent.sdk.threads.get_state(thread)
    assert again["tasks"][0]["interrupts"]
    assert not saved(saved_notes, title)
