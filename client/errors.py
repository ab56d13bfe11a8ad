"""What can go wrong, as types.

    SteadyError
    ├── ServerError              no usable answer from the LangGraph server
    │   ├── CannotConnect        nothing listens there, or the network is down
    │   ├── Refused              it answered that it will not serve this now (403, 429, 503)
    │   ├── Unauthorized         the token is missing or wrong
    │   ├── NotFound             no such thread, run or assistant
    │   ├── Conflict             the thread is busy with another run
    │   ├── RejectedInput        the request does not fit (400, 413, 422)
    │   └── ServerGone           it failed, or went away in the middle of something
    └── RunError                 the server took the run, and it did not end well
        ├── ModelFailed          the model endpoint failed
        ├── ToolFailed           a tool ended the run
        ├── RunTimedOut          a time limit passed
        ├── RunFailed            anything else the graph raised
        └── StreamLost           the stream ended and the rest cannot be had

Each says in `message` what to do next, and carries what is needed to go on.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import httpx
from langgraph_sdk import errors as sdk


class SteadyError(Exception):
    """Base of all; `code` is its stable name, `retryable` whether trying again may help.

    `run_id`, `thread_id`, `last_event_id` and `text` (the answer so far) are None or empty where
    they are not known.
    """

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        run_id: str | None = None,
        thread_id: str | None = None,
        last_event_id: str | None = None,
        text: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.run_id = run_id
        self.thread_id = thread_id
        self.last_event_id = last_event_id
        self.text = text


class ServerError(SteadyError):
    code = "server"


class CannotConnect(ServerError):
    code = "cannot_connect"
    retryable = True


class Refused(ServerError):
    code = "refused"
    retryable = True


class Unauthorized(ServerError):
    code = "unauthorized"


class NotFound(ServerError):
    code = "not_found"


class Conflict(ServerError):
    code = "conflict"
    retryable = True


class RejectedInput(ServerError):
    code = "rejected_input"


class ServerGone(ServerError):
    code = "server_gone"
    retryable = True


class RunError(SteadyError):
    code = "run"


class ModelFailed(RunError):
    code = "model_failed"
    retryable = True


class ToolFailed(RunError):
    code = "tool_failed"


class RunTimedOut(RunError):
    code = "timeout"
    retryable = True


class RunFailed(RunError):
    code = "run_failed"


class StreamLost(RunError):
    code = "stream_lost"
    retryable = True


@contextmanager
def translated(url: str, **known: Any) -> Iterator[None]:
    """Raises what the SDK or httpx raise as this tree's types; `known` are SteadyError's fields."""
    try:
        yield
    except sdk.APIStatusError as error:
        raise _from_status(error, known) from error
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise CannotConnect(
            f"No LangGraph server answers at {url}: start one, or give another URL.", **known
        ) from error
    except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise RejectedInput(
            f"{url!r} is not a server's URL; one looks like http://127.0.0.1:2024.", **known
        ) from error
    except httpx.HTTPError as error:
        raise ServerGone(
            f"The connection to {url} broke ({type(error).__name__}): look whether the server "
            "still runs, then join the run again.",
            **known,
        ) from error


_BY_STATUS: dict[int, tuple[type[ServerError], str]] = {
    400: (RejectedInput, "The server rejected the request: {0}"),
    401: (Unauthorized, "The server wants a valid token: set STEADY_TOKEN. ({0})"),
    403: (Refused, "The server does not allow this: {0}"),
    404: (NotFound, "Not found: {0}"),
    409: (Conflict, "The thread is busy with another run: wait for it, or stop it. ({0})"),
    413: (RejectedInput, "The request is too large: {0}"),
    422: (RejectedInput, "The server rejected the request: {0}"),
    429: (Refused, "The server is busy: try again in a moment. ({0})"),
    503: (Refused, "The server is not ready: try again in a moment. ({0})"),
}


def _from_status(error: sdk.APIStatusError, known: dict[str, Any]) -> ServerError:
    told = " ".join(error.message.split())[:300]
    kind, wording = _BY_STATUS.get(
        error.status_code, (ServerGone, f"The server failed with status {error.status_code}: {{0}}")
    )
    return kind(wording.format(told), **known)


_BY_NAME: dict[str, type[RunError]] = {
    "ModelError": ModelFailed,
    "ToolException": ToolFailed,
    "TimeoutError": RunTimedOut,
    "UserTimeout": RunTimedOut,
    "NodeTimeoutError": RunTimedOut,
}


def from_run(name: str, message: str, **known: Any) -> SteadyError:
    """The error that a server's `error` event tells of; `name` is the exception's class there."""
    told = " ".join(str(message).split())[:500]
    if name == "ValidationError" and "for Context" in told:
        return RejectedInput(f"The run's context does not fit: {told}", **known)
    if name == "GraphRecursionError":
        return RunFailed(f"The agent went round too often and was ended: {told}", **known)
    kind = _BY_NAME.get(name)
    if kind is None:
        return RunFailed(f"The run failed in the graph ({name}): {told}", **known)
    return kind(told, **known)
