"""The server's MCP endpoint says in words that a call failed, or that it waits for a person.

langgraph-api answers a failed call with the name of an exception's class, and one that waits
for approval as if it had succeeded. Each MCP call has a thread of its own, which is gone with the
answer: nobody can approve it later.
"""

import functools
from typing import Any

from agent.dev_server.patch import Patch, Shape

_WAITS = (
    "Not done: the agent wants to call {calls}, which needs a person's approval, and a call over "
    "MCP cannot wait for one. Ask on a thread instead, over the API or on the chat page."
)


def _apply(handlers: Any) -> None:
    client_of_server = handlers._client

    @functools.lru_cache(maxsize=1)
    @functools.wraps(client_of_server)
    def client_with_words() -> Any:
        return _Client(client_of_server())

    handlers._client = client_with_words


class _Client:
    def __init__(self, client: Any) -> None:
        self.assistants = client.assistants
        self.runs = self
        self._runs = client.runs

    async def wait(self, *args: Any, **options: Any) -> Any:
        return in_words(await self._runs.wait(*args, **options))


def in_words(value: Any) -> Any:
    """A run's result, with what went wrong as a text where the endpoint looks for it."""
    if not isinstance(value, dict):
        return value
    if error := value.get("__error__"):
        text = error.get("message") or error.get("error")
        return {"__error__": {**error, "error": str(text)}}
    if interrupts := value.get("__interrupt__"):
        return {"__error__": {"error": _WAITS.format(calls=_calls(interrupts))}}
    return value


def _calls(interrupts: Any) -> str:
    requests = [interrupt.get("value") for interrupt in interrupts]
    names = [
        str(action.get("name"))
        for request in requests
        if isinstance(request, dict)
        for action in request.get("action_requests") or ()
    ]
    return ", ".join(names) or "a tool"


MCP_ANSWERS = Patch(
    name="MCP calls fail in words",
    module="langgraph_api.api.mcp._handlers",
    replaces={
        "handle_tools_call": Shape(
            "request params",
            """
            if isinstance(value, dict) and "__error__" in value:
                # This is a run-time error in the tool.
                return {
                    "result": {
                        "isError": True,
                        "content": [
                            {"type": "text", "text": value["__error__"]["error"]},
                        ],
                    }
                }
            """,
        )
    },
    needs=("_client",),
    apply=_apply,
    loss="an MCP call that fails is answered with the name of an error's class, and one that waits "
    "for approval looks like success",
)
