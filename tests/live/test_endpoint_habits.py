"""Each habit of the table through a server: what a person sees, and what the next request holds."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from client import AgentClient, Mode, ModelFailed, Reasoning, Retry, Run, Token
from client import Usage as UsageEvent
from client.cli.local_server import LocalServer, find_config
from tests.conftest import server_env
from tests.habits import DONE, HABITS, SAID, WORDS, Habit, chunk
from tests.habits_of_responses import RESPONSES
from tests.model_server import ModelServer, Reply
from tests.sse_reader import opened

AT_ONCE = 6


@pytest.fixture(scope="module", params=["0.04", "0"], ids=["frames", "no frames"])
def serving(
    model: ModelServer, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[LocalServer]:
    yield from serve(model, tmp_path_factory.mktemp("habits"), STEADY_FRAME_SECONDS=request.param)


@pytest.fixture(scope="module")
def responding(
    model: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalServer]:
    yield from serve(model, tmp_path_factory.mktemp("responses"), STEADY_RESPONSES_API="true")


def serve(model: ModelServer, folder: Path, **settings: str) -> Iterator[LocalServer]:
    env = server_env(model.url, **settings)
    with LocalServer(find_config(Path(__file__).parent), env=env, folder=folder) as running:
        yield running


def script(model: ModelServer, habit: Habit, question: str, together: bool) -> None:
    raw = [b"".join(habit.raw)] if together else habit.raw
    first = Reply(raw=raw, raw_type=habit.type, raw_headers=habit.headers)
    model.on(question, first, Reply(SAID))


async def outcome(run: Run) -> tuple[list[Any], str]:
    """The run's events, and the words of its failure."""
    events: list[Any] = []
    try:
        async with run:
            async for event in run:
                events.append(event)
    except ModelFailed as error:
        return events, str(error)
    return events, ""


async def check(
    agent: AgentClient, model: ModelServer, habit: Habit, mode: Mode, together: bool
) -> str:
    """What is wrong with a habit; nothing if all is right."""
    question = f"[{habit.name}] in {mode}{' at once' if together else ''} {id(agent)}?"
    script(model, habit, question, together)
    run = agent.stream(question, modes=[mode])
    events, failure = await outcome(run)
    if habit.error:
        good = re.search(habit.error, failure) and "Traceback" not in failure
        return "" if good else f"{habit.name}: {failure or 'no failure'}"
    if failure:
        return f"{habit.name}: {failure}"
    finish = run.done.finish_reason if run.done else None
    if finish != ("stop" if habit.expressions else habit.finish):
        return f"{habit.name}: ended with {finish}"
    if mode == "messages":
        thought = "".join(e.content for e in events if isinstance(e, Reasoning))
        told = "".join(e.content for e in events if isinstance(e, Token))
        counts = [(e.input_tokens, e.output_tokens) for e in events if isinstance(e, UsageEvent)]
        if habit.usage and counts != [habit.usage]:
            return f"{habit.name}: {counts}"
        if (thought, told) != (habit.reasoning, habit.before + habit.text):
            return f"{habit.name}: {thought!r} {told!r}"
    messages = (await run.final_state())["messages"]
    calls = [call for message in messages for call in message.get("tool_calls") or ()]
    ids = [call["id"] for call in calls]
    results = [m["tool_call_id"] for m in messages if m["type"] == "tool"]
    asked = [r for r in model.requests if question in str(r)][-1]
    sent = [call["id"] for m in asked.get("messages", ()) for call in m.get("tool_calls") or ()]
    sent += [m["call_id"] for m in asked.get("input", ()) if m.get("type") == "function_call"]
    made = [(call["name"], call["args"].get("expression")) for call in calls]
    meant = made == [("calculate", expression) for expression in habit.expressions]
    is_paired = ids == sent and len({*ids}) == len(ids) and sorted(results) == sorted(ids)
    if meant and is_paired and await run.text() == habit.text:
        return ""
    return f"{habit.name}: {calls} {sent} {results} {await run.text()!r}"


@pytest.mark.parametrize(
    ("mode", "together"),
    [("messages", False), ("values", True)],
    ids=["messages, block by block", "values, at once"],
)
async def test_each_habit_is_right(
    serving: LocalServer, model: ModelServer, mode: Mode, together: bool
) -> None:
    """Text, reasoning, calls, counts, state and next request are what the model meant."""
    assert await wrong(serving, model, HABITS, mode, together) == []


@pytest.mark.parametrize("mode", ["messages", "values"])
async def test_each_habit_of_responses_is_right(
    responding: LocalServer, model: ModelServer, mode: Mode
) -> None:
    """The same with the Responses API."""
    assert await wrong(responding, model, RESPONSES, mode, mode == "values") == []


async def wrong(
    server: LocalServer, model: ModelServer, habits: Sequence[Habit], mode: Mode, together: bool
) -> list[str]:
    """What is wrong with these habits, some of them asked for at a time."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(agent: AgentClient, habit: Habit) -> str:
        async with slots:
            return await check(agent, model, habit, mode, together)

    async with AgentClient(server.url) as agent:
        found = await asyncio.gather(*(one(agent, habit) for habit in habits))
    return list(filter(None, found))


async def test_each_habit_is_right_in_the_plain_chat(
    serving: LocalServer, model: ModelServer
) -> None:
    """The chat route, which has no tools, tells the same text or the same failure."""
    wrong = []
    for habit in HABITS:
        if habit.expressions or "arguments" in habit.name:
            continue
        question = f"[{habit.name}] in the plain chat {serving.url}?"
        script(model, habit, question, False)
        async with opened(serving.url, "/chat/stream", {"question": question}) as stream:
            failed = stream.response.is_error  # before its first token, an answer is a status
            events = [stream.response.json()] if failed else await stream.rest()
        text = "".join(event.get("token") or "" for event in events)
        error = "".join(str(event.get("error") or "") for event in events)
        right = re.search(habit.error, error) if habit.error else (text, error) == (habit.text, "")
        if not right or not (habit.error or events[-1].get("done")):
            wrong.append(f"{habit.name}: {text!r} {error!r}")
    assert wrong == []


async def test_what_cannot_help_is_asked_once(serving: LocalServer, model: ModelServer) -> None:
    """A page that is no endpoint, and a cut inside arguments, are not tried again."""
    async with AgentClient(serving.url) as agent:
        for habit in (habit for habit in HABITS if habit.asked_once):
            question = f"[{habit.name}] once {serving.url}?"
            script(model, habit, question, False)
            await outcome(agent.stream(question))
            assert sum(question in str(request) for request in model.requests) == 1


async def test_a_lone_closing_tag_is_known_after_the_first_answer(
    agent: AgentClient, model: ModelServer
) -> None:
    """The first answer is taken back and asked for once more, although there are no retries; from
    the second question on it is read rightly at once."""
    words = ("Let me", " see.\n</thi", "nk>\n\n", *WORDS)
    raw = [chunk({"content": word}, model="reasons-unseen") for word in words]
    raw += [chunk({}, "stop", model="reasons-unseen"), DONE]
    for question, retries in (("Unseen at first?", 1), ("Unseen again?", 0)):
        model.on(question, Reply(raw=raw))
        run = agent.stream(question)
        events, failure = await outcome(run)
        assert failure == ""
        assert sum(isinstance(event, Retry) for event in events) == retries
        assert sum(question in str(request) for request in model.requests) == retries + 1
        dropped = {event.message_id for event in events if isinstance(event, Retry)}
        thought = [e.content for e in events if isinstance(e, Reasoning)]
        told = [e for e in events if isinstance(e, Token) and e.message_id not in dropped]
        assert ("".join(thought), "".join(e.content for e in told)) == ("Let me see.\n", SAID)
        assert (await agent.threads.messages(str(run.thread_id)))[-1]["content"] == SAID
