"""Endpoints that look closely at what they are sent, and refuse what others take."""

from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from client import AgentClient, ModelFailed
from client.cli.local_server import LocalServer, find_config
from tests.conftest import server_env
from tests.habits import CALLED, call, calls
from tests.model_server import Fault, ModelServer, RecordedRequest, Reply, ToolCall

JSON = dict[str, Any]


@pytest.fixture(scope="module")
def strict() -> Iterator[ModelServer]:
    """An endpoint that refuses what a test's `judge` finds."""
    with ModelServer() as running:
        yield running


@pytest.fixture(scope="module")
def picky(strict: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    config = find_config(Path(__file__).parent)
    folder = tmp_path_factory.mktemp("picky")
    env = server_env(strict.url, STEADY_FALLBACK_MODEL="the-other")
    with LocalServer(config, env=env, folder=folder) as running:
        yield running


@pytest.fixture
async def asking(picky: LocalServer, strict: ModelServer) -> AsyncIterator[AgentClient]:
    async with AgentClient(picky.url) as client:
        yield client
    strict.judge = None


def refusal(text: str, **more: Any) -> tuple[int, JSON]:
    return 400, {"error": {"message": text, "type": "invalid_request_error", **more}}


def well_formed(request: RecordedRequest) -> tuple[int, JSON] | None:
    """As templates of Mistral and Gemma have it: roles alternate, nothing is empty or left open."""
    last, open_calls = "", set[str]()
    for message in request["messages"]:
        role = message["role"]
        if role == "tool":
            if not isinstance(message["content"], str) or message["tool_call_id"] not in open_calls:
                return refusal("Unexpected tool result")
            open_calls.remove(message["tool_call_id"])
        elif open_calls:
            return refusal("Not the same number of function calls and responses")
        elif role == "user" and last == "user":
            return refusal("Conversation roles must alternate user/assistant/user/assistant/...")
        if role == "assistant":
            if not message.get("content") and not message.get("tool_calls"):
                return refusal("Assistant message must have either content or tool_calls")
            open_calls = {call["id"] for call in message.get("tool_calls", ())}
        last = role
    return None


async def test_a_thread_is_usable_after_a_turn_that_failed(
    asking: AgentClient, strict: ModelServer
) -> None:
    """An endpoint that wants alternating roles answers the turn after one without an answer."""
    strict.judge = well_formed
    strict.on("It fails.", Reply("No.", fault=Fault("status", status=500)))
    run = asking.stream("It fails.")
    with pytest.raises(ModelFailed):
        await run.text()
    again = asking.stream("And now?", thread_id=run.thread_id)
    assert await again.text() == "You said: And now?"


async def test_a_thread_is_usable_after_an_empty_answer(
    asking: AgentClient, strict: ModelServer
) -> None:
    """An endpoint that refuses assistant messages without content answers the next turn."""
    strict.judge = well_formed
    strict.on("Say nothing.", Reply(""))
    run = asking.stream("Say nothing.")
    await run.text()
    again = asking.stream("And now?", thread_id=run.thread_id)
    assert await again.text() == "You said: And now?"


async def test_the_thread_itself_is_not_mended(asking: AgentClient, strict: ModelServer) -> None:
    """What the person asked is in the thread as it was, and nothing is added to it."""
    strict.on("It fails too.", Reply("No.", fault=Fault("status", status=500)))
    run = asking.stream("It fails too.")
    with pytest.raises(ModelFailed):
        await run.text()
    await asking.stream("And now?", thread_id=run.thread_id).text()
    messages = await asking.threads.messages(str(run.thread_id))
    assert [m["content"] for m in messages] == ["It fails too.", "And now?", "You said: And now?"]


# Settings that an endpoint refuses


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        (
            "stream_options",
            {"error": {"message": "Extra inputs are not permitted: stream_options"}},
        ),
        ("temperature", {"detail": [{"loc": ["body", "temperature"], "msg": "Extra inputs"}]}),
        ("temperature", {"error": "temperature is not supported with this model"}),
        ("stream_options", {"message": "Unknown parameter: streamOptions", "type": "bad"}),
    ],
)
@pytest.mark.parametrize("status", [400, 422])
async def test_a_refused_setting_is_left_out(
    asking: AgentClient, strict: ModelServer, name: str, answer: JSON, status: int
) -> None:
    """The endpoint is asked once more without it, and from then on without it at first."""
    model = f"refuses-{name}-{status}-{len(str(answer))}"
    strict.judge = lambda request: (status, answer) if name in request else None
    for extra in (1, 0):
        before = len(strict.requests)
        context = {"model": model, "temperature": 0.5}
        assert await asking.stream("Hello?", context=context).text() == "You said: Hello?"
        assert len(strict.requests) == before + 1 + extra
        others = {"stream_options", "temperature"} - {name}
        assert others <= strict.requests[-1].keys()


@pytest.mark.parametrize(
    "words",
    [
        "Only messages of role 'user' can have a name.",
        "'messages.2' : for 'role:assistant' ... property 'name' is unsupported",
        '{"loc": ["body", "messages", 2, "assistant", "name"], "msg": "Extra inputs"}',
        "ChatMessage.__init__() got an unexpected keyword argument 'name'",
    ],
)
async def test_refused_names_are_left_out(
    asking: AgentClient, strict: ModelServer, words: str
) -> None:
    """Endpoints that take no name of the agent's messages answer after a tool all the same."""

    def judge(request: RecordedRequest) -> tuple[int, JSON] | None:
        answers = (m for m in request["messages"] if m["role"] == "assistant")
        return refusal(words) if any("name" in m for m in answers) else None

    strict.judge = judge
    context = {"model": f"nameless-{words[:20]}"}
    before = len(strict.requests)
    question = 'call calculate {"expression": "2+3"}'
    assert await asking.stream(question, context=context).text() == "The tool is done."
    assert len(strict.requests) == before + 3


async def test_another_model_is_still_asked_with_it(
    asking: AgentClient, strict: ModelServer
) -> None:
    """What one model refuses, the next one may take; the fallback learns it for itself."""
    refuses_it = {"none", "the-other"}

    def judge(request: RecordedRequest) -> tuple[int, JSON] | None:
        if request["model"] == "none":
            return 500, {"error": {"message": "Out of order."}}
        is_refused = request["model"] in refuses_it and "temperature" in request
        return refusal("temperature is not supported") if is_refused else None

    strict.judge = judge
    context = {"model": "none", "temperature": 0.5}
    assert await asking.stream("Who?", context=context).text() == "You said: Who?"
    assert [r["model"] for r in strict.requests[-3:]] == ["none", "the-other", "the-other"]
    assert ["temperature" in r for r in strict.requests[-3:]] == [True, True, False]
    await asking.stream("Who?", context={"model": "a-third", "temperature": 0.5}).text()
    assert strict.requests[-1]["temperature"] == 0.5


async def test_what_cannot_be_left_out_is_told(asking: AgentClient, strict: ModelServer) -> None:
    """A refusal of something else is not asked again, and its words reach the person."""
    strict.judge = lambda request: refusal("This model does not support tools")
    before = len(strict.requests)
    with pytest.raises(ModelFailed, match="does not support tools"):
        await asking.stream("Hello?").text()
    assert len(strict.requests) == before + 1


# What comes back to the endpoint that sent it

CALL = ToolCall("calculate", {"expression": "6 * 7"}, id="call-a")


async def test_reasoning_comes_back_with_its_message(
    asking: AgentClient, strict: ModelServer
) -> None:
    """An endpoint that wants a call's reasoning back, in this turn and the next, gets it."""

    def judge(request: RecordedRequest) -> tuple[int, JSON] | None:
        calls = [m for m in request["messages"] if m.get("tool_calls")]
        has_all = all(m.get("reasoning_content") == "I will compute." for m in calls)
        return None if has_all else refusal("Missing `reasoning_content` in message 2")

    strict.judge = judge
    strict.on("Reason.", Reply(reasoning="I will compute.", tool_calls=[CALL]), Reply("42."))
    run = asking.stream("Reason.")
    assert await run.text() == "42."
    before = len(strict.requests)
    assert await asking.stream("And now?", thread_id=run.thread_id).text() == "You said: And now?"
    assert len(strict.requests) == before + 1


@pytest.mark.parametrize(
    "words",
    [
        "for 'role:assistant' the following must be satisfied[('messages.2' : "
        "property 'reasoning_content' is unsupported)]",
        '{"loc": ["body", "messages", 2, "assistant", "reasoning_content"], "msg": "Extra inputs"}',
    ],
)
async def test_reasoning_is_left_out_where_it_is_refused(
    asking: AgentClient, strict: ModelServer, words: str
) -> None:
    """An endpoint that knows no such field, such as Groq or Mistral, is asked without it."""

    def judge(request: RecordedRequest) -> tuple[int, JSON] | None:
        sent = any("reasoning_content" in message for message in request["messages"])
        return refusal(words) if sent else None

    strict.judge = judge
    strict.on("Reason on.", Reply(reasoning="I will compute.", tool_calls=[CALL]), Reply("42."))
    context = {"model": f"knows-no-reasoning-{len(words)}"}
    before = len(strict.requests)
    run = asking.stream("Reason on.", context=context)
    assert await run.text() == "42."
    await asking.stream("And now?", thread_id=run.thread_id, context=context).text()
    assert len(strict.requests) == before + 4


async def test_reasoning_is_given_to_every_message_where_it_must_be(
    asking: AgentClient, strict: ModelServer
) -> None:
    """Kimi refuses any assistant message without reasoning, or with an empty one."""

    def judge(request: RecordedRequest) -> tuple[int, JSON] | None:
        answers = [m for m in request["messages"] if m["role"] == "assistant"]
        has_all = all(m.get("reasoning_content") for m in answers)
        words = "thinking is enabled but reasoning_content is missing in assistant message"
        return None if has_all else refusal(words)

    strict.judge = judge
    context = {"model": "thinks-always"}
    run = asking.stream("First.", context=context)
    await run.text()
    again = asking.stream("Second.", thread_id=run.thread_id, context=context)
    assert await again.text() == "You said: Second."


@pytest.mark.parametrize("place", ["first", "later", "each"])
async def test_a_calls_signature_comes_back(
    asking: AgentClient, strict: ModelServer, place: str
) -> None:
    """Gemini refuses a call without the thought signature that it sent with a piece of it."""
    extras = {"extra_content": {"google": {"thought_signature": "c2lnbmVk"}}}

    def judge(request: RecordedRequest) -> tuple[int, JSON] | None:
        made = [c for m in request["messages"] for c in m.get("tool_calls") or ()]
        signed = [c for c in made if c.get("extra_content") == extras["extra_content"]]
        has_first = not made or made[0] in signed
        return None if has_first else refusal("Function call is missing a thought_signature")

    strict.judge = judge
    more = ({}, extras)
    raw = [
        *calls(call('{"expression": ', id="signed", **more[place in ("first", "each")])),
        *calls(call('"6 * 7"}', None, id=..., **more[place in ("later", "each")])),
        *calls(call('{"expression": "7 * 7"}', id="plain", index=1)),
        *CALLED,
    ]
    question = f"Sign the {place}."
    strict.on(question, Reply(raw=raw), Reply("42 and 49."))
    run = asking.stream(question)
    assert await run.text() == "42 and 49."
    assert await asking.stream("And now?", thread_id=run.thread_id).text() == "You said: And now?"
    calls_sent = strict.requests[-1]["messages"][2]["tool_calls"]
    assert ["extra_content" in call for call in calls_sent] == [True, False]


async def test_the_same_thread_is_the_same_request(
    asking: AgentClient, strict: ModelServer
) -> None:
    """Each request of a thread begins with all of the one before: prompt caches live on it."""
    strict.on("Compute.", Reply(reasoning="Hm.", tool_calls=[CALL]), Reply("42."))
    before = len(strict.requests)
    run = asking.stream("Compute.")
    await run.text()
    for question in ("And?", "Then?"):
        await asking.stream(question, thread_id=run.thread_id).text()
    sent = [request["messages"] for request in strict.requests[before:]]
    assert len(sent) == 4
    for first, second in pairwise(sent):
        assert second[: len(first)] == first
