"""A WebSocket of the thread-stream protocol may be the first that speaks of a thread: it is made.

The server follows a thread's stream before it takes the command that would make the thread, and,
where runs have owners, closes the socket because there is no such thread.
"""

import re
from uuid import UUID

from langgraph_sdk import get_client
from starlette.types import ASGIApp, Receive, Scope, Send

from agent.access.ownership import user_of

_STREAM = re.compile(r"/threads/([0-9a-fA-F-]{36})/stream/events")


class SocketThreads:
    """An ASGI middleware, inside of the one that knows the user."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and (found := _STREAM.fullmatch(scope["path"])):
            await _make(found[1], user_of(scope))
        await self._app(scope, receive, send)


async def _make(thread_id: str, user: str) -> None:
    """Makes the thread as the user's own; one that is there already stays whose it is."""
    try:
        UUID(thread_id)
    except ValueError:
        return  # the server refuses it
    await get_client(url=None).threads.create(
        thread_id=thread_id, metadata={"owner": user}, if_exists="do_nothing"
    )
