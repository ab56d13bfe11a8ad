"""OpenAI's Responses as tests ask for them: whole, their events, and one of each kind."""

from typing import Any

from openai import AsyncOpenAI
from openai.types.responses import Response


async def respond(api: AsyncOpenAI, asked: Any, **more: Any) -> Response:
    made = await api.responses.create(model="agent", input=asked, **more)
    assert isinstance(made, Response)
    return made


async def events(api: AsyncOpenAI, response_id: str, after: int | None = None) -> list[Any]:
    """Its events: all, or those after a number."""
    options: Any = {} if after is None else {"starting_after": after}
    stream = await api.responses.retrieve(response_id, stream=True, **options)
    return [event async for event in stream]


def plain(response: Response) -> dict[str, Any]:
    """The response without the names of its items, which the thread does not keep all."""
    fields = response.model_dump()
    for item in fields["output"]:
        del item["id"]
    return fields


async def one_of_each(
    first: AsyncOpenAI, second: AsyncOpenAI, *, calculates: str, saves: str, is_long: str
) -> list[Response]:
    """With a call, on the same conversation, asking for approval, approved, and stopped.

    The two are asked in turns; the questions are those that the model answers in this way.
    """
    calculated = await respond(first, calculates)
    later = await respond(second, "one more", previous_response_id=calculated.id)
    asked = await respond(first, saves)
    approval: Any = {
        "type": "mcp_approval_response",
        "approval_request_id": asked.output[-1].id,
        "approve": True,
    }
    approved = await respond(second, [approval], previous_response_id=asked.id)
    started = await respond(first, is_long, background=True)
    async for event in await second.responses.retrieve(started.id, stream=True):
        if event.type == "response.output_text.delta":
            break
    stopped = await second.responses.cancel(started.id)
    assert stopped.status == "incomplete"
    return [calculated, later, asked, approved, stopped]
