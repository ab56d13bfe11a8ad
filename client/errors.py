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

Each says in `message` what to do next, and carries what is needed to continue.
"""

import ast
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import ClassVar, Self, TypedDict, Unpack

import httpx
from langgraph_sdk import errors as sdk

RUN_CONTINUES = "The run may still be running at the server: join it by its run_id, or cancel it."


class ErrorFields(TypedDict, total=False):
    """What a SteadyError carries beside its message."""

    run_id: str | None
    thread_id: str | None
    last_event_id: str | None
    text: str


class SteadyError(Exception):
    """The base of all errors of the client.

    Args:
        message: what happened and what to do next, for a person.
        run_id: the run. None, the default: not known.
        thread_id: the thread. None, the default: not known.
        last_event_id: the last event that was read. None, the default: there is none.
        text: the answer so far. Default: empty.

    Attributes:
        code: its stable name, the same on every surface.
        retryable: whether trying again may help.
        retry_after_seconds: how long the server says to wait; 0 where it does not.
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
    """The LangGraph server gave no usable answer."""

    code = "server"


class CannotConnect(ServerError):
    """Nothing listens at the URL, the network is down, or the proxy cannot be used."""

    code = "cannot_connect"
    retryable = True


class Unavailable(ServerError):
    """The server answered that it will not serve this now (502, 503, 504)."""

    code = "unavailable"
    retryable = True


class RateLimited(Unavailable):
    """You ask for more than the server gives one user (429): see `retry_after_seconds`."""

    code = "rate_limited"


class Unauthorized(ServerError):
    """The token is missing or wrong (401), or does not allow this (403)."""

    code = "unauthorized"


class NotFound(ServerError):
    """The server has no such thread, run, assistant, message or interrupt (404)."""

    code = "not_found"


class Conflict(ServerError):
    """The thread is busy with another run (409)."""

    code = "conflict"
    retryable = True


class InvalidRequest(ServerError):
    """The request does not fit (400, 413, 422), or was not sent because it cannot."""

    code = "invalid_request"


class ConnectionLost(ServerError):
    """The connection, or the server, failed in the middle of something."""

    code = "connection_lost"
    retryable = True


class RunError(SteadyError):
    """The server took the run, and it did not end well."""

    code = "run"


class ModelFailed(RunError):
    """The model endpoint failed, after all tries."""

    code = "model_failed"
    retryable = True


class ToolFailed(RunError):
    """A tool ended the run."""

    code = "tool_failed"


class RunTimedOut(RunError):
    """A time limit passed: the server's, or `Limits.run_seconds`."""

    code = "timeout"
    retryable = True
    _template: ClassVar[str] = "The run took longer than its limit of {0:g} s."

    @classmethod
    def after(cls, seconds: float) -> Self:
        """The error of a limit of the client's that passed.

        Args:
            seconds: the limit.
        """
        return cls(f"{cls._template.format(seconds)} {RUN_CONTINUES}")


class FirstEventTimedOut(RunTimedOut):
    """The run did not begin within `Limits.first_event_seconds`."""

    code = "first_event_timeout"
    _template = "The run did not begin within {0:g} s: the server may have no free job."


class IdleTimedOut(RunTimedOut):
    """The run sent no event for `Limits.idle_timeout_seconds`."""

    code = "idle_timeout"
    _template = "The run sent no event for {0:g} s."


class RunFailed(RunError):
    """Anything else that the graph raised."""

    code = "run_failed"


class StreamLost(RunError):
    """The stream ended, and the rest of it cannot be had: the thread has the messages."""

    code = "stream_lost"
    retryable = True


class RunLost(StreamLost):
    """The server restarted, or the thread was deleted: it no longer knows the run."""

    code = "run_lost"

    @classmethod
    def now(cls, **fields: Unpack[ErrorFields]) -> Self:
        """The error for a run that a server had not saved when it died and came back.

        Args:
            fields: see SteadyError.
        """
        return cls(
            "The server no longer knows the run: it restarted, or the thread was deleted. What had "
            "arrived is in `text`; `continue_run` continues from the thread's last checkpoint.",
            **fields,
        )


@contextmanager
def translated(url: str, **fields: Unpack[ErrorFields]) -> Iterator[None]:
    """Raises what the SDK or httpx raise as this tree's types.

    Args:
        url: the server.
        fields: see SteadyError.

    Raises:
        ServerError: the SDK or httpx raised an error of theirs.
    """
    try:
        yield
    except sdk.APIStatusError as error:
        response = error.response
        raise from_status(
            error.status_code, response.text, response.headers.get("retry-after"), **fields
        ) from error
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise CannotConnect(
            f"No LangGraph server answers at {url}: start one, or give another URL.", **fields
        ) from error
    except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise InvalidRequest(
            f"{url!r} is not a server's URL; one looks like http://127.0.0.1:2024.", **fields
        ) from error
    except httpx.HTTPError as error:
        raise ConnectionLost(
            f"The connection to {url} broke ({type(error).__name__}): look whether the server "
            "still runs, then join the run again.",
            **fields,
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


def from_status(
    status: int, body: str, retry_after: str | None, **fields: Unpack[ErrorFields]
) -> ServerError:
    """The error of an HTTP status.

    Args:
        status: the status, 400 or more.
        body: the response's, JSON or any text.
        retry_after: the header of that name; None where there is none.
        fields: see SteadyError.
    """
    text = " ".join(_message_in(body).split())[:300] or f"status {status}"
    other = (
        ConnectionLost if status >= 500 else ServerError,
        f"The server failed ({status}): {{0}}",
    )
    kind, wording = _BY_STATUS.get(status, other)
    error = kind(wording.format(text), **fields)
    if retry_after and retry_after.isdecimal():
        error.retry_after_seconds = float(retry_after)
    return error


def _message_in(body: str) -> str:
    """The message in a response's body; a proxy's HTML page has none that its status has not."""
    try:
        content = json.loads(body)
    except ValueError:
        return "" if body.lstrip().startswith("<") else body
    if isinstance(content, dict):
        content = content.get("detail") or content.get("message") or content.get("error") or content
    return content if isinstance(content, str) else json.dumps(content)


_BY_NAME: dict[str, type[RunError]] = {
    "ModelError": ModelFailed,
    "ToolException": ToolFailed,
    "TimeoutError": RunTimedOut,
    "UserTimeout": RunTimedOut,
    "NodeTimeoutError": RunTimedOut,
}


def from_run(name: str, message: str, **fields: Unpack[ErrorFields]) -> SteadyError:
    """The error of a server's `error` event.

    Args:
        name: the name of the exception's class at the server.
        message: its message.
        fields: see SteadyError.
    """
    text = " ".join(str(message).split())[:500]
    if name == "ValidationError" and "for Context" in text:
        return InvalidRequest(f"The run's context does not fit: {text}", **fields)
    if name == "GraphRecursionError":
        return RunFailed(f"The agent reached its limit of steps and was ended: {text}", **fields)
    kind = _BY_NAME.get(name)
    if kind is None:
        return RunFailed(f"The run failed in the graph ({name}): {text}", **fields)
    return kind(text, **fields)


def from_state(error: str, **fields: Unpack[ErrorFields]) -> SteadyError:
    """The error that a thread's state keeps of a failed task.

    Args:
        error: it as text, such as `ModelError('It broke.')`.
        fields: see SteadyError.
    """
    match = re.fullmatch(r"(\w+)\((.*?),?\)", error.strip(), re.DOTALL)
    if match is None:
        return RunFailed(f"The run failed in the graph: {error[:500] or 'see the log'}", **fields)
    name, message = match.groups()
    with suppress(ValueError, SyntaxError):
        message = str(ast.literal_eval(message))
    return from_run(name, message, **fields)
