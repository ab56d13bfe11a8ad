"""OpenAI's protocol under `/v1`, spoken by the `openai` package as it is."""

import asyncio
import random
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI
from openai.types.responses import Response

from client import AgentClient
from client.cli.local_server import LocalServer
from tests.model_server import ModelServer, Reply, ToolCall

pytestmark = pytest.mark.timeout(120)
ROOT = Path(__file__).parents[2]
QUESTION = "What is 6 x 7, over OpenAI's protocol?"
LONG = "stream 300 tokens at 100 per second"
ENDLESS = "stream 900 tokens at 30 per second"
FIVE = "word0 word1 word2 word3 word4"
UNKNOWN = f"resp_{'0' * 64}"


@pytest.fixture(autouse=True)
def script(model: ModelServer) -> None:
    call = ToolCall("calculate", {"expression": "6 * 7"})
    model.on(QUESTION, Reply("Let me see.", reasoning="Six times", tool_calls=[call]), Reply("42."))


@pytest.fixture
async def api(server: LocalServer) -> AsyncIterator[AsyncOpenAI]:
    http = httpx.AsyncClient(trust_env=False)
    async with AsyncOpenAI(
        base_url=f"{server.url}/v1", api_key="any", max_retries=0, http_client=http
    ) as client:
        yield client


def user(text: str) -> Any:
    return {"role": "user", "content": text}


async def streamed(stream: Any) -> list[Any]:
    return [event async for event in stream]


def text_of(chunks: list[Any]) -> str:
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


def deltas(events: list[Any]) -> str:
    return "".join(e.delta for e in events if e.type == "response.output_text.delta")


async def ask(api: AsyncOpenAI, route: str, text: str, **more: Any) -> Any:
    """A request to one of the two routes, with fields that are none of the package's."""
    options: Any = {"model": "agent", **more}
    if route == "chat":
        return await api.chat.completions.create(messages=[user(text)], **options)
    return await api.responses.create(input=text, **options)


async def ended(agent: AgentClient, thread_id: str) -> None:
    """Returns when the thread's last run has ended."""
    run_id = (await agent.runs.list(thread_id))[0]["run_id"]
    async with agent.runs.join(thread_id, run_id) as run:
        async for _ in run:
            pass


async def gone(agent: AgentClient, before: set[str]) -> None:
    """Returns when the server has no threads but those of `before`."""
    for _ in range(400):
        if not {thread["thread_id"] for thread in await agent.threads.list(1000)} - before:
            return
        await asyncio.sleep(0.05)
    pytest.fail("A thread was left.")


async def respond(api: AsyncOpenAI, text: str, **more: Any) -> Response:
    made = await api.responses.create(model="agent", input=text, **more)
    assert isinstance(made, Response)
    return made


async def test_models_are_the_assistants(api: AsyncOpenAI) -> None:
    """The server's graphs are listed and found; another name is the protocol's 404."""
    names = {model.id async for model in api.models.list()}
    assert {"agent", "chat"} <= names
    assert (await api.models.retrieve("chat")).owned_by == "steadystream"
    with pytest.raises(openai.NotFoundError) as missing:
        await api.models.retrieve("gpt-4")
    assert missing.value.code == "model_not_found"


@pytest.mark.parametrize("route", ["chat", "responses"])
async def test_an_unknown_model_is_not_found(api: AsyncOpenAI, route: str) -> None:
    """Asked for by name or by an id, as a stream or whole."""
    for model in ("gpt-4", str(uuid.uuid4())):
        for stream in (False, True):
            with pytest.raises(openai.NotFoundError) as missing:
                await ask(api, route, "x", model=model, stream=stream)
            assert missing.value.code == "model_not_found"
            assert missing.value.param == "model"


async def test_a_stateless_chat(api: AsyncOpenAI, agent: AgentClient, model: ModelServer) -> None:
    """Whole or as a stream, the answer is to all messages that came, and no thread is left."""
    before = {thread["thread_id"] for thread in await agent.threads.list(1000)}
    said = [
        {"role": "system", "content": "Be short."},
        user("a"),
        {"role": "assistant", "content": "b"},
    ]
    asked: Any = [*said, user("stream 5 tokens")]
    whole = await api.chat.completions.create(model="agent", messages=asked)
    assert whole.choices[0].message.content == FIVE
    assert whole.choices[0].finish_reason == "stop"
    sent = [(m["role"], m["content"]) for m in model.requests[-1]["messages"]]
    assert sent == [(m["role"], m["content"]) for m in asked]
    stream = await api.chat.completions.create(
        model="agent", messages=asked, stream=True, stream_options={"include_usage": True}
    )
    chunks = await streamed(stream)
    assert text_of(chunks) == FIVE
    assert chunks[-1].usage == whole.usage
    await gone(agent, before)


async def test_a_chat_has_the_answers_of_tools_and_the_reasoning(api: AsyncOpenAI) -> None:
    """The texts of a run are one answer; its calls are not the caller's to carry out."""
    chunks = await streamed(
        await api.chat.completions.create(model="agent", messages=[user(QUESTION)], stream=True)
    )
    whole = await api.chat.completions.create(model="agent", messages=[user(QUESTION)])
    assert text_of(chunks) == "Let me see.\n\n42."
    assert whole.choices[0].message.content == text_of(chunks)
    assert not any(choice.delta.tool_calls for chunk in chunks for choice in chunk.choices)
    reasoning = [getattr(c.choices[0].delta, "reasoning_content", "") or "" for c in chunks]
    assert "".join(reasoning) == "Six times"


async def test_a_chat_of_the_callers_is_a_thread(
    api: AsyncOpenAI, agent: AgentClient, model: ModelServer
) -> None:
    """Turns go on on it; a question that is asked again or edited replaces what came after."""
    chat = str(uuid.uuid4())

    async def say(*texts: str) -> str:
        messages: list[Any] = []
        for text in texts:
            messages += [user(text), {"role": "assistant", "content": "(as it was shown)"}]
        made = await api.chat.completions.create(
            model="agent", messages=messages[:-1], extra_headers={"X-OpenWebUI-Chat-Id": chat}
        )
        return str(made.choices[0].message.content)

    def asked() -> list[str]:
        return [m["content"] for m in model.requests[-1]["messages"] if m["role"] == "user"]

    def answers() -> list[str]:
        return [m["content"] for m in model.requests[-1]["messages"] if m["role"] == "assistant"]

    await say("one")
    await say("one", "two")
    assert answers() == ["You said: one"]  # the thread's own, not what the caller has of it
    assert await say("one", "two") == "You said: two"
    assert asked() == ["one", "two"]
    await say("one", "two, edited")
    assert (asked(), answers()) == (["one", "two, edited"], ["You said: one"])
    await say("other", "than before")
    assert (asked(), answers()) == (["other", "than before"], ["(as it was shown)"])
    await say("other", "than before", "and on")
    assert asked() == ["other", "than before", "and on"]


async def test_a_task_beside_a_chat_is_no_part_of_it(
    api: AsyncOpenAI, agent: AgentClient, model: ModelServer
) -> None:
    """What Open WebUI asks for a chat's title or tags leaves the chat's thread as it was."""
    chat = {"X-OpenWebUI-Chat-Id": str(uuid.uuid4())}
    before = {thread["thread_id"] for thread in await agent.threads.list(1000)}
    await ask(api, "chat", "one", extra_headers={**chat, "X-OpenWebUI-Task": ""})
    [thread_id] = {t["thread_id"] for t in await agent.threads.list(1000)} - before
    await ask(api, "chat", "Title?", extra_headers={**chat, "X-OpenWebUI-Task": "title_generation"})
    assert [m["content"] for m in model.requests[-1]["messages"] if m["role"] == "user"] == [
        "Title?"
    ]
    await gone(agent, {*before, thread_id})
    assert len(await agent.threads.messages(thread_id)) == 2


async def test_our_own_thread_by_header(api: AsyncOpenAI, agent: AgentClient) -> None:
    """A thread's id as it is, or as a conversation's; one that is not there is not found."""
    thread_id = await agent.threads.create()
    for header in (
        {"X-Thread-Id": thread_id},
        {"X-Conversation-Id": f"conv_{uuid.UUID(thread_id).hex}"},
    ):
        await api.chat.completions.create(
            model="agent", messages=[user("hello")], extra_headers=header
        )
    assert len(await agent.threads.messages(thread_id)) == 2  # asked again
    with pytest.raises(openai.NotFoundError):
        await ask(api, "chat", "x", extra_headers={"X-Thread-Id": str(uuid.uuid4())})


async def test_a_chat_that_is_left_is_stopped(
    api: AsyncOpenAI, agent: AgentClient, model: ModelServer
) -> None:
    """Whoever leaves the stream ends the answer, and the thread keeps what was said."""
    thread_id = await agent.threads.create()
    stream = await api.chat.completions.create(
        model="agent",
        messages=[user(ENDLESS)],
        stream=True,
        extra_headers={"X-Thread-Id": thread_id},
    )
    got = ""
    async for chunk in stream:
        got += chunk.choices[0].delta.content or ""
        if len(got) > 100:
            break
    await stream.close()
    await ended(agent, thread_id)
    kept = (await agent.threads.messages(thread_id))[-1]
    assert kept["content"].startswith(got)
    assert kept["response_metadata"]["finish_reason"] == "stopped"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failed_model_is_an_error(api: AsyncOpenAI, stream: bool) -> None:
    """It has a status of its own before the answer, and is told in the stream after."""
    text = "stream 90 tokens at 200 per second then disconnect after 40"

    async def read() -> None:
        await streamed(await ask(api, "chat", text, stream=stream))

    with pytest.raises(openai.APIError) as failed:
        await read()
    assert failed.value.code == "model_failed"


async def test_a_chat_cannot_ask_a_person(api: AsyncOpenAI, model: ModelServer) -> None:
    """A call that waits for approval is an error that says where it can be given."""
    model.on("Chat saves.", Reply(tool_calls=[ToolCall("save_note", {"title": "x", "text": "y"})]))
    with pytest.raises(openai.BadRequestError) as refused:
        await api.chat.completions.create(model="agent", messages=[user("Chat saves.")])
    assert refused.value.code == "approval_required"
    assert "save_note" in refused.value.message


@pytest.mark.parametrize(
    ("route", "param", "value"),
    [
        ("chat", "tools", [{"type": "function", "function": {"name": "f"}}]),
        ("chat", "max_tokens", 5),
        ("chat", "n", 2),
        ("chat", "response_format", {"type": "json_object"}),
        ("chat", "no_such_thing", 1),
        ("responses", "tools", [{"type": "web_search"}]),
        ("responses", "max_output_tokens", 16),
        ("responses", "text", {"format": {"type": "json_object"}}),
        ("responses", "include", ["reasoning.encrypted_content"]),
        ("responses", "tool_choice", "required"),
    ],
)
async def test_what_is_not_taken_is_refused(
    api: AsyncOpenAI, route: str, param: str, value: Any
) -> None:
    """A parameter that this server does not take is named in the protocol's own error."""
    with pytest.raises(openai.BadRequestError) as refused:
        await ask(api, route, "x", extra_body={param: value})
    assert refused.value.param == param
    assert refused.value.code == "unsupported_parameter"


async def test_what_is_not_taken_of_a_stored_response_is_refused(api: AsyncOpenAI) -> None:
    """The parameters of an address count, too."""
    made = await respond(api, "x")
    with pytest.raises(openai.BadRequestError) as refused:
        await api.responses.retrieve(made.id, include=["reasoning.encrypted_content"])
    assert (refused.value.param, refused.value.code) == ("include", "unsupported_parameter")


@pytest.mark.parametrize("route", ["chat", "responses"])
async def test_a_value_that_does_not_fit_is_named(api: AsyncOpenAI, route: str) -> None:
    """By its parameter; what is wrong of the whole request names none."""
    with pytest.raises(openai.BadRequestError) as refused:
        await ask(api, route, "x", extra_body={"temperature": 9})
    assert refused.value.param == "temperature"
    path = "/chat/completions" if route == "chat" else "/responses"
    with pytest.raises(openai.BadRequestError) as refused:
        await api.post(path, cast_to=object, content=b"{")
    assert refused.value.param is None
    assert refused.value.type == "invalid_request_error"


async def test_a_whole_response(api: AsyncOpenAI) -> None:
    """Reasoning, calls with their results and texts are items, in order; asked again, the same."""
    made = await respond(api, QUESTION)
    kinds = [item.type for item in made.output]
    assert kinds == ["reasoning", "message", "mcp_call", "message"]
    [call] = [item for item in made.output if item.type == "mcp_call"]
    assert (call.name, call.status) == ("calculate", "completed")
    assert "42" in str(call.output)
    assert made.output_text == "Let me see.42."
    assert made.status == "completed"
    assert await api.responses.retrieve(made.id) == made


async def test_a_conversation_goes_on(api: AsyncOpenAI, model: ModelServer) -> None:
    """After a response, on its conversation, and from an earlier response on another branch."""
    first = await respond(api, "one")
    second = await respond(api, "two", previous_response_id=first.id)
    assert second.conversation
    assert first.conversation == second.conversation

    def asked() -> list[str]:
        return [m["content"] for m in model.requests[-1]["messages"] if m["role"] == "user"]

    await respond(api, "three", conversation=second.conversation.id)
    assert asked() == ["one", "two", "three"]
    await respond(api, "two, again", previous_response_id=first.id)
    assert asked() == ["one", "two, again"]
    with pytest.raises(openai.NotFoundError):
        await respond(api, "x", previous_response_id=UNKNOWN)


async def test_a_response_that_was_left_is_resumed(api: AsyncOpenAI, server: LocalServer) -> None:
    """Left in the middle, it goes on; a second client has the same after each number."""
    stream = await api.responses.create(model="agent", input=LONG, stream=True, background=True)
    head = [await anext(aiter(stream)) for _ in range(12)]
    await stream.close()
    response_id = head[0].response.id
    async with AsyncOpenAI(
        base_url=f"{server.url}/v1", api_key="any", http_client=httpx.AsyncClient(trust_env=False)
    ) as other:
        at = head[-1].sequence_number
        rest = await streamed(
            await other.responses.retrieve(response_id, stream=True, starting_after=at)
        )
    whole = rest[-1].response
    assert whole.output_text == " ".join(f"word{n}" for n in range(300))
    assert deltas(head + rest) == whole.output_text
    all_events = await streamed(await api.responses.retrieve(response_id, stream=True))
    last = all_events[-1].sequence_number
    for after in random.Random(1).sample(range(last), 8):
        tail = await streamed(
            await api.responses.retrieve(response_id, stream=True, starting_after=after)
        )
        assert tail[0].sequence_number > after
        text = "".join(
            e.delta[max(0, after + len(e.delta) - e.sequence_number) :]
            for e in all_events
            if e.type == "response.output_text.delta" and e.sequence_number > after
        )
        assert deltas(tail) == text
    assert (
        await streamed(await api.responses.retrieve(response_id, stream=True, starting_after=last))
        == []
    )


async def test_a_response_in_the_background(api: AsyncOpenAI) -> None:
    """It is there at once, can be asked after, stopped and forgotten; its text is kept."""
    made = await respond(api, ENDLESS, background=True)
    assert made.status in ("queued", "in_progress")
    stream = await api.responses.retrieve(made.id, stream=True)
    async for event in stream:
        if event.type == "response.output_text.delta":
            break
    await stream.close()
    with pytest.raises(openai.ConflictError):
        await api.responses.delete(made.id)
    assert (await api.responses.retrieve(made.id)).status == "in_progress"
    stopped = await api.responses.cancel(made.id)
    assert stopped.status == "incomplete"
    assert stopped.output_text.startswith("word0")
    assert await api.responses.retrieve(made.id) == stopped
    events = await streamed(await api.responses.retrieve(made.id, stream=True))
    assert events[-1].type == "response.incomplete"
    assert deltas(events) == stopped.output_text
    await api.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        await api.responses.retrieve(made.id)


async def test_a_cut_answer_is_incomplete(api: AsyncOpenAI, model: ModelServer) -> None:
    """What the model cut at its limit is told as such, with its text."""
    model.on("Be cut.", Reply("As far as it", finish_reason="length"))
    made = await respond(api, "Be cut.")
    assert (made.status, made.output_text) == ("incomplete", "As far as it")
    assert made.incomplete_details
    assert made.incomplete_details.reason == "max_output_tokens"
    chat = await api.chat.completions.create(model="agent", messages=[user("Be cut.")])
    assert chat.choices[0].finish_reason == "length"


PIXEL = "R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="
PICTURE = f"data:image/gif;base64,{PIXEL}"


def with_picture(route: str, text: str, address: str) -> Any:
    if route == "chat":
        image: Any = {"type": "image_url", "image_url": {"url": address}}
        return [{"role": "user", "content": [{"type": "text", "text": text}, image]}]
    image = {"type": "input_image", "image_url": address, "detail": "auto"}
    return [{"role": "user", "content": [{"type": "input_text", "text": text}, image]}]


@pytest.mark.parametrize("route", ["chat", "responses"])
async def test_a_picture_reaches_the_model(
    api: AsyncOpenAI, agent: AgentClient, model: ModelServer, route: str
) -> None:
    """It is a content block on the thread, and the next turn still has it; a large one as well."""
    question = f"What is this, by {route}?"
    model.on(question, Reply("A pixel."))
    large = f"data:image/png;base64,{'A' * 400_000}"
    for address in (PICTURE, large):
        asked = with_picture(route, question, address)
        thread_id = await agent.threads.create()
        if route == "chat":
            where: Any = {"extra_headers": {"X-Thread-Id": thread_id}}
            made = await api.chat.completions.create(model="agent", messages=asked, **where)
            assert made.choices[0].message.content == "A pixel."
            more: Any = [*asked, {"role": "assistant", "content": "A pixel."}, user("And now?")]
            await api.chat.completions.create(model="agent", messages=more, **where)
        else:
            first = await api.responses.create(
                model="agent", input=asked, conversation=f"conv_{uuid.UUID(thread_id).hex}"
            )
            assert first.output_text == "A pixel."
            await respond(api, "And now?", previous_response_id=first.id)
        kinds = [part["type"] for part in model.requests[-1]["messages"][-3]["content"]]
        assert kinds == ["text", "image_url"]
        kept = await agent.threads.messages(thread_id)
        assert [m["type"] for m in kept] == ["human", "ai", "human", "ai"]
        block = kept[0]["content"][1]
        assert (block["type"], address.endswith(block["base64"])) == ("image", True)


@pytest.mark.parametrize("route", ["chat", "responses"])
@pytest.mark.parametrize("address", ["file:///etc/passwd", "data:text/html;base64,AAAA", "data:,x"])
async def test_what_is_no_picture_is_refused(api: AsyncOpenAI, route: str, address: str) -> None:
    """Only an address on the web, or a picture's own bytes, is taken."""
    asked = with_picture(route, "What is this?", address)
    create: Any = api.chat.completions.create if route == "chat" else api.responses.create
    with pytest.raises(openai.BadRequestError, match="picture") as refused:
        await create(model="agent", **{"messages" if route == "chat" else "input": asked})
    assert refused.value.param == "content"


@pytest.mark.parametrize("approve", [True, False])
async def test_approval(api: AsyncOpenAI, model: ModelServer, approve: bool) -> None:
    """A call waits as the protocol's approval request; its answer carries it out, or refuses it."""
    title = f"openai {approve} {uuid.uuid4().hex[:6]}"
    question = f"Save the note {title}."
    call = ToolCall("save_note", {"title": title, "text": "y"})
    model.on(question, Reply(tool_calls=[call]), Reply("It is done."))
    asked = await respond(api, question)
    assert asked.status == "completed"
    [request] = asked.output
    assert request.type == "mcp_approval_request"
    assert (request.name, title in request.arguments) == ("save_note", True)
    answer: Any = {
        "type": "mcp_approval_response",
        "approval_request_id": request.id,
        "approve": approve,
        "reason": None if approve else "Not today.",
    }
    with pytest.raises(openai.BadRequestError):
        await api.responses.create(model="agent", input=[answer])  # of which thread?
    events = await streamed(
        await api.responses.create(
            model="agent", input=[answer], previous_response_id=asked.id, stream=True
        )
    )
    done = events[-1].response
    assert [item.type for item in done.output] == ["mcp_call", "message"]
    assert done.output[0].status == ("completed" if approve else "failed")
    assert title in done.output[0].arguments
    assert await streamed(await api.responses.retrieve(done.id, stream=True)) == events
    with pytest.raises(openai.BadRequestError):  # it was answered already
        await api.responses.create(model="agent", input=[answer], previous_response_id=done.id)


async def test_a_failed_response(api: AsyncOpenAI) -> None:
    """A run that fails is a failed response, with the text so far, to every reader."""
    text = "stream 90 tokens at 200 per second then disconnect after 40"
    events = await streamed(await api.responses.create(model="agent", input=text, stream=True))
    failed = events[-1]
    assert failed.type == "response.failed"
    assert failed.response.error.code == "server_error"
    assert failed.response.output_text.startswith("word0 word1")
    again = await api.responses.retrieve(failed.response.id)
    assert (again.status, again.output_text) == ("failed", failed.response.output_text)


async def test_the_same_key_starts_one_run(api: AsyncOpenAI, model: ModelServer) -> None:
    """A request that is sent again under its idempotency key is answered with the same response."""
    key = {"Idempotency-Key": uuid.uuid4().hex}
    text = f"say it once {key}"
    one = await respond(api, text, extra_headers=key)
    same = await respond(api, text, extra_headers=key)
    assert one == same
    assert sum(text in str(request.get("messages", [""])[-1]) for request in model.requests) == 1


async def test_a_response_that_is_not_stored(api: AsyncOpenAI) -> None:
    """With `store: false` nothing of it is left."""
    made = await respond(api, "stream 5 tokens", store=False)
    assert made.output_text == FIVE
    async with asyncio.timeout(60):
        while True:
            try:
                await api.responses.retrieve(made.id)
                await asyncio.sleep(0.05)
            except openai.NotFoundError:
                break


async def test_two_readers_and_a_slow_one(api: AsyncOpenAI) -> None:
    """Readers of one response, at any pace, have the same text under the same numbers."""
    made = await respond(api, LONG, background=True)

    async def read(wait_seconds: float) -> dict[int, str]:
        texts, text = dict[int, str](), ""
        async for event in await api.responses.retrieve(made.id, stream=True):
            if event.type == "response.output_text.delta":
                text += event.delta
                texts[event.sequence_number] = text
                await asyncio.sleep(wait_seconds if len(texts) < 40 else 0)
        return texts

    one, other, late = await asyncio.gather(read(0), read(0), read(0.05))
    replay = await read(0)
    for texts in (other, late, replay):
        assert [n for n in one.keys() & texts.keys() if one[n] != texts[n]] == []
        assert list(texts.items())[-1] == list(one.items())[-1]


def test_the_door_can_be_closed() -> None:
    """With the setting false there is nothing under /v1."""
    script = (
        "from agent.http.app import app; print([r.path for r in app.routes if '/v1' in r.path])"
    )
    environment = {"STEADY_OPENAI_ROUTES": "false", "STEADY_ENV_FILE": "", "OPENAI_API_KEY": "x"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, check=True
    )
    assert done.stdout.decode().strip().endswith("[]")
