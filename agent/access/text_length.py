"""No text in a request's body is longer than a message may be, in a run or in a state update."""

from contextlib import suppress

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.access.gate import refusal
from agent.access.quota import check_length


class TextLengthLimit:
    """An ASGI middleware, inside of the one that holds whole bodies to their size."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in ("POST", "PUT", "PATCH"):
            await self._app(scope, receive, send)
            return
        try:
            body, receive = await read_body(scope, receive)
            with suppress(orjson.JSONDecodeError):  # the route says what it makes of it
                check_length(orjson.loads(body))
        except ClientDisconnect:
            return
        except HTTPException as error:
            await refusal(error, scope)(scope, receive, send)
            return
        await self._app(scope, receive, send)


async def read_body(scope: Scope, receive: Receive) -> tuple[bytes, Receive]:
    """A request's body, and a `receive` that has it once more.

    Raises ClientDisconnect where the request never came to its end.
    """
    body = await Request(scope, receive).body()
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return pending.pop() if pending else await receive()

    return body, receive_again
