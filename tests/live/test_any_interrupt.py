"""Whatever a graph waits for is shown and answered, by its id, and nothing is done twice."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from client import (
    AgentClient,
    Checkpoint,
    Debug,
    Done,
    Interrupt,
    InvalidRequest,
    Mode,
    NotFound,
    Progress,
    Run,
    RunStarted,
    StructuredResponse,
    SyncAgentClient,
    Task,
    Token,
)
from client.cli.local_server import LocalServer
from tests.model_server import ModelServer, Reply
from tests.model_server import ToolCall as Call
from tests.pseudo_terminal import PseudoTerminal


async def waiting(graphs: AgentClient, city: str) -> tuple[Run, Interrupt, Interrupt]:
    """A trip that waits twice: for the stars of a hotel, and for a seat in the train."""
    run = graphs.stream({"city": city}, assistant_id="trip")
    async with run:
        events = [event async for event in run]
    assert [event for event in events if isinstance(event, Interrupt)] == run.interrupts
    hotel, seat = sorted(run.interrupts, key=lambda each: str(each.requests), reverse=True)
    return run, seat, hotel


async def steps(run: Run) -> list[str]:
    state = await run.final_state()
    return sorted(state["booked"])


async def test_several_interrupts_are_answered_together(graphs: AgentClient) -> None:
    """Each answer goes to its own interrupt, and each step is done once."""
    run, seat, hotel = await waiting(graphs, "Oslo")
    assert hotel.requests == {"question": "How many stars in Oslo?"}
    assert (seat.requests, seat.response_schema and seat.response_schema["title"]) == (
        "Which seat?",
        "Seat",
    )
    rest = run.resume({hotel.id: 4, seat.id: {"place": "aisle"}})
    assert await steps(rest) == [
        "3 steps: hotel, look, train",
        "hotel of 4 stars",
        "seat by the aisle, no table",
    ]


async def test_several_interrupts_are_answered_one_after_another(graphs: AgentClient) -> None:
    """What is not answered waits on, and what was answered is not asked or done again."""
    run, seat, hotel = await waiting(graphs, "Bergen")
    rest = run.resume({seat.id: {"place": "window", "table": True}})
    await rest.text()
    assert [each.id for each in rest.interrupts] == [hotel.id]
    assert await steps(rest.resume(5)) == [
        "3 steps: hotel, look, train",
        "hotel of 5 stars",
        "seat by the window, with table",
    ]


async def test_one_answer_does_not_do_for_two(graphs: AgentClient) -> None:
    """An answer without an id is refused where several interrupts wait."""
    run, *_ = await waiting(graphs, "Voss")
    with pytest.raises(InvalidRequest, match="2 interrupts"):
        run.resume("yes")
    with pytest.raises(InvalidRequest, match="at least one"):
        graphs.resume(str(run.thread_id), {})


async def test_what_does_not_fit_changes_nothing(graphs: AgentClient) -> None:
    """An answer that the schema does not take is refused, and so is one for nothing."""
    run, seat, hotel = await waiting(graphs, "Bodø")
    thread_id = str(run.thread_id)
    with pytest.raises(InvalidRequest, match="place"):
        await graphs.resume(thread_id, {seat.id: {"place": "roof"}}).text()
    with pytest.raises(NotFound, match=hotel.id):
        await graphs.resume(thread_id, {"0" * 32: 1}).text()
    assert {each.id for each in await graphs.threads.interrupts(thread_id)} == {seat.id, hotel.id}
    assert len(await graphs.runs.list(thread_id)) == 1


@pytest.mark.parametrize("by", ["decide", "resume", "run"])
async def test_each_call_may_be_approved_by_itself(
    graphs: AgentClient, model: ModelServer, by: str
) -> None:
    """LangChain's per-call form: two calls, two interrupts, two decisions, each call done once."""
    amounts = {"decide": (10, 20), "resume": (30, 40), "run": (50, 60)}[by]
    calls = [Call("pay", {"amount": amount}, f"c{amount}") for amount in amounts]
    model.on(f"Pay both, {by}.", Reply(tool_calls=calls), Reply("Done."))
    run = graphs.stream(f"Pay both, {by}.", assistant_id="per_call")
    await run.text()
    first, second = sorted(run.interrupts, key=lambda each: each.requests["args"]["amount"])
    thread_id = str(run.thread_id)
    decisions: list[Any] = [{"type": "approve"}, {"type": "reject", "message": "Too much."}]
    if by == "decide":
        run = graphs.decide(thread_id, first.id, decisions[0])
        await run.text()
        run = run.decide(decisions[1])
    elif by == "resume":
        run = graphs.resume(thread_id, {first.id: decisions[0], second.id: decisions[1]})
    else:
        run = run.resume({first.id: decisions[0], second.id: decisions[1]})
    assert await run.text() == "Done."
    results = [m for m in (await run.final_state())["messages"] if m["type"] == "tool"]
    paid, refused = sorted(results, key=lambda message: message["tool_call_id"])
    assert paid["content"] == f"Paid {amounts[0]}, 1 times."
    assert refused["status"] == "error"
    assert "Too much." in refused["content"]


async def test_a_decision_of_a_kind_that_is_not_allowed_is_refused(
    graphs: AgentClient, model: ModelServer
) -> None:
    """The schema of a per-call approval says which decisions there are."""
    model.on("Pay it.", Reply(tool_calls=[Call("pay", {"amount": 7})]), Reply("Done."))
    run = graphs.stream("Pay it.", assistant_id="per_call")
    await run.text()
    with pytest.raises(InvalidRequest):
        await run.decide({"type": "perhaps"}).text()
    assert await run.decide({"type": "approve"}).text() == "Done."


async def test_a_person_answers_in_the_terminal(graphs: AgentClient) -> None:
    """What waits is named with its command, and `--answers` answers it; a schema is kept to."""
    run, seat, hotel = await waiting(graphs, "Tromsø")
    base = [sys.executable, "-m", "client.cli.main"]
    answers = json.dumps({hotel.id: 3, seat.id: {"place": "window"}})
    thread_id = str(run.thread_id)
    for given, code in ((json.dumps({hotel.id: 3, seat.id: {"place": "roof"}}), 1), (answers, 0)):
        done = await asyncio.create_subprocess_exec(
            *(
                *base,
                "resume",
                thread_id,
                "--answers",
                given,
                "--url",
                graphs.url,
                "--mode",
                "values",
            ),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        out, err = await done.communicate()
        assert done.returncode == code, err
    assert "hotel of 3 stars" in out.decode()


@pytest.mark.parametrize(
    ("city", "answered", "typed", "booked"),
    [
        ("Hamar", "Which seat?", "4", "hotel of 4 stars"),
        (
            "Molde",
            "How many stars in Molde?",
            '{"place": "window"}',
            "seat by the window, no table",
        ),
    ],
)
def test_a_graphs_own_question_is_asked_in_the_terminal(
    graphs_server: LocalServer, city: str, answered: str, typed: str, booked: str
) -> None:
    """`steady decide` shows it in the graph's words, with its schema, and takes the answer."""
    with SyncAgentClient(graphs_server.url) as sync:
        run = sync.stream({"city": city}, assistant_id="trip")
        run.text()
        asked = {str(each.requests): each.id for each in run.interrupts}
        first_id = next(asked.pop(words) for words in [*asked] if answered in words)
        run.resume({first_id: {"place": "aisle"} if answered == "Which seat?" else 3}).text()
    command = [sys.executable, "-m", "client.cli.main", "decide", str(run.thread_id)]
    terminal = PseudoTerminal(
        *command, "--url", graphs_server.url, "--mode", "values", columns=120,
        steps=((r"waits for your answer:[\s\S]*\? $", f"{typed}\n"),),
    )  # fmt: skip
    assert terminal.code == 0, terminal.shown
    (words,) = asked
    assert words.replace("'", '"') in terminal.shown
    assert ("as JSON" in terminal.shown) is (words == "Which seat?")
    assert booked in terminal.shown


async def test_custom_data_alone_is_a_mode(graphs: AgentClient) -> None:
    """`custom` brings what nodes write, and nothing of the model; the text is the same."""
    run = graphs.stream({"topic": "modes"}, assistant_id="joke", modes="custom")
    events = [event async for event in run]
    assert [type(event) for event in events] == [RunStarted, Progress, Done]
    assert events[1] == Progress({"writing": "modes"})
    assert await run.text() == "You said: A joke about modes."


async def test_structured_output_is_an_event_and_in_the_answer(
    graphs: AgentClient, model: ModelServer
) -> None:
    """A graph with a `response_format` tells its object before the end, and in the state."""
    call = Call("Weather", {"sky": "clear", "degrees": 7})
    model.on("How is the weather?", Reply(tool_calls=[call]))
    run = graphs.stream("How is the weather?", assistant_id="structured_answer")
    events = [event async for event in run]
    assert events[-2] == StructuredResponse({"sky": "clear", "degrees": 7})
    assert (await run.answer()).structured_response == {"sky": "clear", "degrees": 7}


async def test_the_other_modes_keep_what_came(graphs: AgentClient) -> None:
    """`debug`, `checkpoints` and `tasks` come as typed events, and the text is the same."""
    kinds: dict[Mode, type] = {"debug": Debug, "checkpoints": Checkpoint, "tasks": Task}
    for mode, kind in kinds.items():
        run = graphs.stream({"topic": mode}, assistant_id="joke", modes=mode)
        events = [event async for event in run]
        assert await run.text() == f"You said: A joke about {mode}."
        told = [event.data for event in events if isinstance(event, kind)]
        assert told
        assert not [event for event in events if isinstance(event, Token)]
        assert "write" in json.dumps(told)
