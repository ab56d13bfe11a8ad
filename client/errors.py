"""What can go wrong, as types.

    SteadyError
    ├── ServerError              no usable answer from the LangGraph server
    │   ├── CannotConnect        nothing listens there, or the network is down
    │   ├── Unavailable          it answered that it will not serve this now (502, 503, 504)
    │   │   └── RateLimited      you ask for more than it gives one user (429)
    │   ├── Unauthorized         the token is missing or wrong, or does not allow this
    │   ├── NotFound             no such thread, run or assistant
    │   ├── Conflict             the thread is busy with another run
    │   ├── InvalidRequest       the request does not fit (400, 413, 422)
    │   └── ConnectionLost       it failed, or went away in the middle of something
    └── RunError                 the server took the run, and it did not end well
        ├── ModelFailed          the model endpoint failed
        ├── ToolFailed           a tool ended the run
        ├── RunTimedOut          a time limit passed: the server's, or `Limits.run_seconds`
        │   ├── FirstEventTimedOut   `Limits.first_event_seconds`
        │   └── IdleTimedOut         `Limits.idle_timeout_seconds`
        ├── RunFailed            anything else the graph raised
        └── StreamLost           the stream ended and the rest cannot be had
            └── RunLost          the server restarted, and no longer knows the run

Each says in `message` what to do next, and carries what is needed to go on.
"""

import ast
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, ClassVar, Self

import httpx
from langgraph_sdk import errors as sdk

GO_ON = "The run may go on at the server: join it by its run_id, or cancel it."


class SteadyError(Exception):
    """Base of all; `code` is its stable name, `retryable` whether trying again may help.

    `run_id`, `thread_id`, `last_event_id` and `text` (the answer so far) are None or empty where
    they are not known. `retry_after_seconds` is how long the server asked to wait, else 0.
    """

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False
    retry_after_seconds: float = 0.0

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


class Unavailable(ServerError):
    code = "unavailable"
    retryable = True


class RateLimited(Unavailable):
    code = "rate_limited"


class Unauthorized(ServerError):
    code = "unauthorized"


class NotFound(ServerError):
    code = "not_found"


class Conflict(ServerError):
    code = "conflict"
    retryable = True


class InvalidRequest(ServerError):
    code = "invalid_request"


class ConnectionLost(ServerError):
    code = "connection_lost"
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
    _what: ClassVar[str] = "The run took longer than its limit of {0:g} s."

    @classmethod
    def after(cls, seconds: float) -> Self:
        """The error of a client's limit that passed; the run itself may go on."""
        return cls(f"{cls._what.format(seconds)} {GO_ON}")


class FirstEventTimedOut(RunTimedOut):
    code = "first_event_timeout"
    _what = "The run did not begin within {0:g} s: the server may have no free job."


class IdleTimedOut(RunTimedOut):
    code = "idle_timeout"
    _what = "The run said nothing for {0:g} s."


class RunFailed(RunError):
    code = "run_failed"


class StreamLost(RunError):
    code = "stream_lost"
    retryable = True


class RunLost(StreamLost):
    code = "run_lost"

    @classmethod
    def now(cls, **known: Any) -> Self:
        """What a server that died and came back says of a run that it had not written down."""
        return cls(
            "The server no longer knows the run: it restarted, or the thread was deleted. What had "
            "arrived is in `text`; `continue_run` goes on from the thread's last checkpoint.",
            **known,
        )


@contextmanager
def translated(url: str, **known: Any) -> Iterator[None]:
    """Raises what the SDK or httpx raise as this tree's types; `known` are SteadyError's fields."""
    try:
        yield
    except sdk.APIStatusError as error:
        response = error.response
        raise from_status(
            error.status_code, response.text, response.headers.get("retry-after"), **known
        ) from error
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise CannotConnect(
            f"No LangGraph server answers at {url}: start one, or give another URL.", **known
        ) from error
    except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise InvalidRequest(
            f"{url!r} is not a server's URL; one looks like http://127.0.0.1:2024.", **known
        ) from error
    except httpx.HTTPError as error:
        raise ConnectionLost(
            f"The connection to {url} broke ({type(error).__name__}): look whether the server "
            "still runs, then join the run again.",
            **known,
        ) from error


_BY_STATUS: dict[int, tuple[type[ServerError], str]] = {
    400: (InvalidRequest, "The server rejected the request: {0}"),
    401: (Unauthorized, "The server wants a valid token: set STEADY_TOKEN. ({0})"),
    403: (Unauthorized, "The token does not allow this: {0}"),
    404: (NotFound, "Not found: {0}"),
    409: (Conflict, "The thread is busy with another run: wait for it, or stop it. ({0})"),
    413: (InvalidRequest, "The request is too large: {0}"),
    422: (InvalidRequest, "The server rejected the request: {0}"),
    429: (RateLimited, "The server is busy: try again in a moment. ({0})"),
    502: (Unavailable, "Nothing serves behind the proxy: try again in a moment. ({0})"),
    503: (Unavailable, "The server is not ready: try again in a moment. ({0})"),
    504: (Unavailable, "Nothing answers behind the proxy: try again in a moment. ({0})"),
}


def from_status(status: int, body: str, retry_after: str | None, **known: Any) -> ServerError:
    """The error that an HTTP status tells of; `body` is what the server said, JSON or any text."""
    told = " ".join(_words(body).split())[:300] or f"status {status}"
    other = (
        ConnectionLost if status >= 500 else ServerError,
        f"The server failed ({status}): {{0}}",
    )
    kind, wording = _BY_STATUS.get(status, other)
    error = kind(wording.format(told), **known)
    if retry_after and retry_after.isdecimal():
        error.retry_after_seconds = float(retry_after)
    return error


def _words(body: str) -> str:
    """What a server's answer says; a proxy's page says nothing that its status does not."""
    try:
        told = json.loads(body)
    except ValueError:
        return "" if body.lstrip().startswith("<") else body
    if isinstance(told, dict):
        told = told.get("detail") or told.get("message") or told.get("error") or told
    return told if isinstance(told, str) else json.dumps(told)


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
        return InvalidRequest(f"The run's context does not fit: {told}", **known)
    if name == "GraphRecursionError":
        return RunFailed(f"The agent went round too often and was ended: {told}", **known)
    kind = _BY_NAME.get(name)
    if kind is None:
        return RunFailed(f"The run failed in the graph ({name}): {told}", **known)
    return kind(told, **known)


def from_state(told: str, **known: Any) -> SteadyError:
    """The error that a thread's state keeps of a failed task, such as `ModelError('It broke.')`."""
    found = re.fullmatch(r"(\w+)\((.*?),?\)", told.strip(), re.DOTALL)
    if found is None:
        return RunFailed(f"The run failed in the graph: {told[:500] or 'see the log'}", **known)
    name, words = found.groups()
    with suppress(ValueError, SyntaxError):
        words = str(ast.literal_eval(words))
    return from_run(name, words, **known)
