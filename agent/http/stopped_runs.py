"""A thread is read after its stopped run has written what it keeps.

A run that is cancelled counts as ended at once, and its partial answer is in the thread some ten
milliseconds later. Clients read the thread at once, and would take the text off the screen.
"""

import re
from uuid import UUID

from starlette.types import ASGIApp, Receive, Scope, Send

from agent.dev_server.threads import stopped_worker_left

_READ = re.compile(r"/threads/([0-9a-fA-F-]{36})/(?:state(?:/.*)?|history)")


class ReadsAfterStop:
    """An ASGI middleware around the reads of a thread's state and history."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if thread_id := _thread_read(scope):
            await stopped_worker_left(thread_id)
        await self._app(scope, receive, send)


def _thread_read(scope: Scope) -> UUID | None:
    """The thread that the request reads, if it is such a request."""
    found = _READ.fullmatch(scope["path"]) if scope["type"] == "http" else None
    is_post = found is not None and scope["path"].endswith(("/history", "/state/checkpoint"))
    if found is None or scope["method"] not in ("GET", *(("POST",) if is_post else ())):
        return None
    try:
        return UUID(found[1])
    except ValueError:
        return None
