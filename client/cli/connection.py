"""The server that a command talks to: the one at a URL, or a local one for the command's length."""

import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager

from rich.status import Status

from ..client import AgentClient
from .local_server import LocalServer, running_server
from .screen import notes


async def with_client(url: str | None, work: Callable[[AgentClient], Awaitable[int]]) -> int:
    """Does `work` with the server at `url`, else with the one that runs on the project's folder.

    If none runs there, a local one is started, for as long as the work takes.
    """
    if url is None and (url := running_server()) is not None:
        notes.print(f"Using the server that runs here: {url}")
    if url is not None:
        async with AgentClient(url) as agent:
            return await work(agent)
    with ExitStack() as stack:
        with Status("Starting a local server…", console=notes), ctrl_c_leaves():
            server = stack.enter_context(LocalServer())
        async with AgentClient(server.url) as agent:
            return await work(agent)


@contextmanager
def ctrl_c_leaves() -> Iterator[None]:
    """asyncio's own handler waits for the loop, which waits here for a person or a process."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
