"""The server that a command talks to: the one at a URL, or a local one for the command's length."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx

from ..client import AgentClient
from ..errors import CannotConnect, ConnectionLost, SteadyError, translated
from ..events import JSON
from ..reconnect import Reconnect, delays, is_transient
from .local_server import LocalServer, running_server
from .output import notes, write_line

_SILENT_TRIES_SECONDS = 0.5
_SILENT_WAIT_SECONDS = 10.0  # a busy server may take some
_OUTAGE_SECONDS = 15.0  # failures that are further apart are two outages
_REFUSED = (401, 403, 429)


async def with_client(url: str | None, work: Callable[[AgentClient], Awaitable[int]]) -> int:
    """Does `work` with the server at `url`, else with the one that runs on the project's folder.

    If none runs there, a local one is started, for as long as the work takes. Raises CannotConnect
    where no LangGraph server answers at `url`.
    """
    with ExitStack() as stack:
        url = url or _local_server(stack)
        outage = _Outage(url)
        async with AgentClient(url, reconnect=Reconnect(is_transient=outage.note)) as agent:
            await _check_server(agent, outage)
            return await work(agent)


def _local_server(stack: ExitStack) -> str:
    if (url := running_server()) is not None:
        write_line(f"steady: using the server that runs here: {url}", notes)
        return url
    if not notes.is_terminal:
        write_line("steady: starting a local server…", notes)
    with notes.status("Starting a local server…"), ctrl_c_leaves():
        return stack.enter_context(LocalServer()).url


@contextmanager
def ctrl_c_leaves() -> Iterator[None]:
    """asyncio's own handler waits for the loop, which waits here for a person or a process."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Outage:
    """Says on stderr, once, that a server that does not answer is tried again."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._began = self._last = float("-inf")
        self._is_told = False

    def note(self, error: SteadyError) -> bool:
        """Whether the error may pass by itself; then the request is tried again."""
        if not is_transient(error):
            return False
        now = time.monotonic()
        if now - self._last > _OUTAGE_SECONDS:
            self._began, self._is_told = now, False
        self._last = now
        if now - self._began > _SILENT_TRIES_SECONDS:
            self.tell()
        return True

    def tell(self) -> None:
        """Says it, unless it was said of this outage."""
        self._last = time.monotonic()
        if not self._is_told:
            self._is_told = True
            write_line(f"steady: {self._url} does not answer now; trying again…", notes)


async def _check_server(agent: AgentClient, outage: _Outage) -> None:
    """Raises CannotConnect where nothing answers, or what answers is no LangGraph server."""
    waits = delays(agent.limits.connect_seconds)
    while True:
        notice = asyncio.get_running_loop().call_later(_SILENT_WAIT_SECONDS, outage.tell)
        try:
            answer = await _ask(agent, "GET", "/info")
            break
        except (CannotConnect, ConnectionLost) as error:
            outage.note(error)
            if (seconds := next(waits, None)) is None:
                raise CannotConnect(_no_answer(agent.url, error)) from error
        finally:
            notice.cancel()
        await asyncio.sleep(seconds)
    if answer.status_code in _REFUSED or answer.status_code >= 500 or _is_info(answer):
        return  # what is wrong with a LangGraph server is told by what is asked of it
    body: JSON = {"limit": 1}  # a server may have its /info switched off
    search = await _ask(agent, "POST", "/assistants/search", json=body)
    if search.status_code not in (200, 422, *_REFUSED) or _json_of(search) is None:
        raise CannotConnect(
            f"What answers at {agent.url} is no LangGraph server (it knows no /info): give the "
            "URL of one."
        )


def _no_answer(url: str, error: SteadyError) -> str:
    # as a server whose start failed, and which waits until its code is mended
    if isinstance(error.__cause__, httpx.ReadTimeout):
        return f"{url} takes connections, and answers none: look at what its server printed."
    return f"No LangGraph server answers at {url}: start one (`make dev`), or give another --url."


async def _ask(
    agent: AgentClient, method: str, path: str, json: JSON | None = None
) -> httpx.Response:
    wait = httpx.Timeout(
        agent.limits.heartbeat_timeout_seconds, connect=agent.limits.connect_seconds
    )
    with translated(agent.url):
        return await agent.sdk.http.client.request(method, path, json=json, timeout=wait)


def _is_info(answer: httpx.Response) -> bool:
    found = _json_of(answer)
    return answer.is_success and isinstance(found, dict) and bool({"version", "flags"} & set(found))


def _json_of(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        return None
