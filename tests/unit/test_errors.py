"""The error tree: what httpx, the SDK and the server say, as the client's types."""

import json
import re
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

import client.errors as tree
from client import (
    AgentClient,
    CannotConnect,
    Conflict,
    ConnectionLost,
    InvalidRequest,
    ModelFailed,
    NotFound,
    RateLimited,
    RunError,
    RunFailed,
    RunTimedOut,
    ServerError,
    SteadyError,
    ToolFailed,
    Unauthorized,
    Unavailable,
)
from client.errors import from_run, translated
from client.version import __version__


@pytest.fixture(scope="module")
def refusing() -> Iterator[str]:
    """A server that answers `/<status>` and what is under it with that status."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status = int(self.path.split("/")[1])
            text = f"The server\n  says no. ({self.headers['User-Agent']})"
            body = json.dumps({"detail": text}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (401, Unauthorized),
        (403, Unauthorized),
        (404, NotFound),
        (409, Conflict),
        (413, InvalidRequest),
        (418, ServerError),
        (422, InvalidRequest),
        (429, RateLimited),
        (500, ConnectionLost),
        (502, Unavailable),
        (503, Unavailable),
        (504, Unavailable),
    ],
)
async def test_each_http_status_has_its_type(
    refusing: str, status: int, kind: type[ServerError]
) -> None:
    """A status has its type, with the server's words on one line, and its cause."""
    async with AgentClient(f"{refusing}/{status}") as agent:
        with pytest.raises(ServerError) as caught:
            await agent.info()
    assert type(caught.value) is kind
    assert "The server says no." in caught.value.message
    assert caught.value.__cause__ is not None


async def test_requests_say_whose_they_are(refusing: str) -> None:
    """A server's log has the client's name and version."""
    async with AgentClient(f"{refusing}/404") as agent:
        with pytest.raises(NotFound, match=rf"\(steadystream/{re.escape(__version__)}\)"):
            await agent.info()


def subtypes(kind: type[SteadyError]) -> Iterator[type[SteadyError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from subtypes(below)


def test_the_tree_at_the_top_of_the_module_is_the_tree() -> None:
    """Every type is in the drawing, at its depth, and every line of the drawing is a type."""
    drawn = {}
    for line in str(tree.__doc__).splitlines():
        bare = line.lstrip(" │├└─")
        name = bare.split(" ")[0]
        if isinstance(getattr(tree, name, None), type):
            drawn[name] = (len(line) - len(bare) - 4) // 4
    depth = {
        kind.__name__: len(kind.__mro__) - len(SteadyError.__mro__)
        for kind in subtypes(SteadyError)
        if kind.__module__ == tree.__name__  # the server's own are not the client's users'
    }
    assert drawn == depth


def test_codes_are_distinct_and_snake_case() -> None:
    """Each type has a code of its own, stable on the wire."""
    codes = [kind.code for kind in subtypes(SteadyError)]
    assert len(set(codes)) == len(codes)
    assert all(code.isidentifier() and code == code.lower() for code in codes)


def test_errors_carry_what_is_needed_to_go_on() -> None:
    """The message is the exception's text; the fields are empty unless given."""
    bare = SteadyError("Do this.")
    assert (str(bare), bare.message, bare.run_id, bare.text) == ("Do this.", "Do this.", None, "")
    full = SteadyError("x", run_id="r", thread_id="t", last_event_id="9-0", text="So far")
    assert (full.run_id, full.thread_id, full.last_event_id, full.text) == (
        "r",
        "t",
        "9-0",
        "So far",
    )


REQUEST = httpx.Request("GET", "http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (httpx.ConnectError("x", request=REQUEST), CannotConnect),
        (httpx.ConnectTimeout("x", request=REQUEST), CannotConnect),
        (httpx.ReadTimeout("x", request=REQUEST), ConnectionLost),
        (httpx.ReadError("x", request=REQUEST), ConnectionLost),
        (httpx.RemoteProtocolError("x", request=REQUEST), ConnectionLost),
        (httpx.PoolTimeout("x", request=REQUEST), ConnectionLost),
        (httpx.UnsupportedProtocol("x", request=REQUEST), InvalidRequest),
        (httpx.InvalidURL("x"), InvalidRequest),
    ],
)
def test_what_httpx_raises_is_translated(raised: Exception, kind: type[SteadyError]) -> None:
    """Each failure of the connection is a type of the tree, with its cause and what was known."""
    with pytest.raises(SteadyError) as caught, translated("http://h:1", thread_id="t"):
        raise raised
    assert type(caught.value) is kind
    assert caught.value.__cause__ is raised
    assert caught.value.thread_id == "t"
    assert "http://h:1" in caught.value.message


def test_what_is_no_failure_of_the_server_passes() -> None:
    """A bug, a cancellation or an error of the tree itself is not translated."""
    own = NotFound("x")
    for passing in (ValueError("bug"), KeyboardInterrupt(), own):
        with pytest.raises(type(passing)) as caught, translated("http://h"):
            raise passing
        assert caught.value is passing


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ModelError", ModelFailed),
        ("ToolException", ToolFailed),
        ("TimeoutError", RunTimedOut),
        ("UserTimeout", RunTimedOut),
        ("NodeTimeoutError", RunTimedOut),
        ("GraphRecursionError", RunFailed),
        ("ZeroDivisionError", RunFailed),
        ("ValidationError", RunFailed),
    ],
)
def test_the_servers_error_event_has_its_type(name: str, kind: type[RunError]) -> None:
    """The exception's name at the server decides the type; its words are put on one line."""
    error = from_run(name, "One\n  two.", run_id="r")
    assert type(error) is kind
    assert "One two." in error.message
    assert getattr(error, "run_id", None) == "r"


def test_an_unknown_failure_is_named() -> None:
    """A failure that no type stands for tells the exception's name."""
    assert "ZeroDivisionError" in from_run("ZeroDivisionError", "division by zero").message


def test_a_context_that_does_not_fit_is_the_askers_doing() -> None:
    """A validation error of the run's context is rejected input, not a failed run."""
    text = "1 validation error for Context\ntemperature\n  Input should be less than 2"
    assert isinstance(from_run("ValidationError", text), InvalidRequest)


def test_long_messages_are_cut() -> None:
    """What a server says at length does not fill a terminal."""
    assert len(from_run("ModelError", "word " * 1000).message) <= 500


async def test_a_connection_that_closes_at_once_is_gone() -> None:
    """A port that accepts and closes gives ConnectionLost, which may be tried again."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closing = threading.Thread(target=lambda: listener.accept()[0].close())
        closing.start()
        async with AgentClient(f"http://127.0.0.1:{listener.getsockname()[1]}") as agent:
            with pytest.raises(ConnectionLost) as caught:
                await agent.info()
        closing.join()
    assert caught.value.retryable
