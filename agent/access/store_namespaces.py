"""Answers of the store name namespaces as the user does: without what makes them the user's.

`agent.access.ownership` puts every namespace under its user's name; here it is taken off again.
"""

from collections.abc import Iterable
from typing import Any

import orjson
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.access.ownership import user_of
from agent.storage.namespaces import store_name


class StoreNamespaces:
    """An ASGI middleware, inside of the one that knows the user."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_own_call = scope.get("root_path", "").startswith("/noauth")
        if scope["type"] != "http" or is_own_call or not scope["path"].startswith("/store/"):
            await self._app(scope, receive, send)
            return
        own_name = store_name(user_of(scope))
        held: list[Message] = []
        body = bytearray()

        async def send_shortened(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                held.append(message)
                return
            if not held:
                await send(message)
                return
            body.extend(message.get("body", b""))
            if message.get("more_body"):
                return
            start = held.pop()
            content = shortened(bytes(body), own_name)
            MutableHeaders(scope=start)["Content-Length"] = str(len(content))
            await send(start)
            await send({"type": "http.response.body", "body": content})

        await self._app(scope, receive, send_shortened)


def shortened(body: bytes, own_name: str) -> bytes:
    """An answer of the store with `own_name` taken off the beginning of each namespace."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body
    if not isinstance(answer, dict):
        return body
    for item in (answer, *(answer.get("items") or ())):
        if "namespace" in item:
            item["namespace"] = _without(own_name, item["namespace"])
    if "namespaces" in answer:
        answer["namespaces"] = [_without(own_name, each) for each in answer["namespaces"]]
    return orjson.dumps(answer)


def _without(own_name: str, namespace: Iterable[Any]) -> list[Any]:
    first, *rest = namespace or [None]
    return rest if first == own_name else list(namespace)
