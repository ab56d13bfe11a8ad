"""AgentClient: threads, runs and their streams, over langgraph-sdk.

async with AgentClient("http://127.0.0.1:2024") as agent:
    async with agent.stream("What is 6 x 7?") as run:
        async for event in run:
            match event:
                case Token(content=text):
                    print(text, end="", flush=True)
"""

import json
import os
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Self, TypedDict, Unpack
from uuid import UUID

import httpx
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.schema import Assistant, DisconnectMode, MultitaskStrategy

from .decoding.decoder import PART_NAMES, WIRE_MODES
from .delivery.delivery import Delivery
from .delivery.expectation import Expectation
from .delivery.request import RunRequest
from .delivery.wire import Wire
from .errors import CannotConnect, InvalidRequest, NotFound, translated
from .events import JSON, Mode
from .limits import Limits
from .memories import Memories
from .proxies import proxy_for, proxy_trouble
from .reconnect import Reconnect
from .run import Run, listed
from .runs import Runs
from .state.branches import (
    History,
    before_answer,
    before_message,
    check_unfinished,
    has_message,
    is_unfinished,
    last_message_id,
)
from .threads import Threads, checked_id
from .version import __version__

ALWAYS = ("messages-tuple", "custom")  # the answer is read from the model's messages
DEFAULT_MODES: tuple[Mode, ...] = ("messages",)
HISTORY_DEPTHS = (10, 100, 1000)  # checkpoints at a time; each comes with all its messages
DEFAULT_URL = "http://127.0.0.1:2024"


class RunOptions(TypedDict, total=False):
    """What each method that starts a run takes, beside its own parameters.

    Args:
        modes: one of `values`, `updates`, `messages` and `events`, or any set of them. Default:
            `messages`. Others raise InvalidRequest.
        assistant_id: a graph's name or an assistant's id. Default: `agent`.
        context: the run's context, as the graph's context schema has it. None, the default: the
            assistant's own.
        idempotency_key: a UUID of yours that makes it safe to ask again, even from another process:
            a run that was started with it is streamed from its beginning, and no second one is
            started. None, the default: each call starts a run.
    """

    modes: Mode | Iterable[Mode]
    assistant_id: str
    context: JSON | None
    idempotency_key: str | None


class AgentClient:
    """Talks to one LangGraph server.

    Args:
        url: the server. None, the default: `LANGGRAPH_URL`, or else where `langgraph dev` listens.
        token: sent as a bearer token; an empty one is not sent. None, the default: `STEADY_TOKEN`.
        limits: how long to wait. None, the default: `Limits()`.
        reconnect: what is tried again, and when. None, the default: `Reconnect()`.
        transport: httpx's, for all requests; whoever made it closes it. None, the default: httpx's
            own.

    Attributes:
        url: the server.
        limits: how long to wait.
        threads: the server's conversations.
        runs: their runs: list, join and cancel them.
        memories: what the agent remembers of the user.
        sdk: the client of langgraph-sdk, for everything else.

    Every method raises the types of the tree of errors: a ServerError where nothing else is named.
    A run starts when its stream is first read; reading then raises the server's answer to the
    request.

    Raises:
        InvalidRequest: the URL or the token cannot be used.
        CannotConnect: the environment names a proxy that cannot be used.

    Example::

        async with AgentClient("http://127.0.0.1:2024") as agent:
            print(await agent.stream("What is 6 x 7?").text())
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        limits: Limits | None = None,
        reconnect: Reconnect | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = (url or os.environ.get("LANGGRAPH_URL") or DEFAULT_URL).rstrip("/")
        self.limits = limits or Limits()
        token = os.environ.get("STEADY_TOKEN") if token is None else token
        if token and not (token.isascii() and token.isprintable()):
            raise InvalidRequest(
                "The token holds characters that no HTTP header can carry: check STEADY_TOKEN, or "
                "what was given as `token`."
            )
        timeout = httpx.Timeout(
            self.limits.request_timeout_seconds, connect=self.limits.connect_seconds
        )
        with translated(self.url):
            self._http = httpx.AsyncClient(
                base_url=self.url,
                timeout=timeout,
                transport=transport or _transport_for(self.url),
                trust_env=False,
                headers={
                    "User-Agent": f"steadystream/{__version__}",
                    **({"Authorization": f"Bearer {token}"} if token else {}),
                },
            )
        self.sdk = LangGraphClient(self._http)
        self._wire = Wire(self.sdk, self.url, self.limits, reconnect or Reconnect())
        self.threads = Threads(self.sdk, self.url)
        self.memories = Memories(self.sdk, self.url)
        self.runs = Runs(self._wire, self.decide)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._http.aclose()

    def stream(
        self,
        message: str,
        *,
        thread_id: str | None = None,
        nodes: Iterable[str] | None = None,
        multitask_strategy: MultitaskStrategy = "reject",
        on_disconnect: DisconnectMode = "continue",
        checkpoint_id: str | None = None,
        replaces: str | None = None,
        restart_lost_run: bool = False,
        history: Sequence[JSON] = (),
        **options: Unpack[RunOptions],
    ) -> Run:
        """Runs the agent on a message of the user, and streams the run.

        Args:
            message: the text.
            thread_id: the thread that it continues. None, the default: a new thread.
            nodes: one node of the graph, or several: the only ones whose tokens and tool calls are
                streamed, with the graphs within them. A node of an inner graph has a path, such as
                `researcher|model`. None, the default: all but tools and middleware.
            multitask_strategy: what happens on a thread that is busy with another run. `reject`,
                the default: the stream raises Conflict. `enqueue` waits for that run's end,
                `interrupt` stops it and keeps its partial answer, `rollback` undoes it
                (InvalidRequest where the server cannot: `make scale`).
            on_disconnect: `cancel` ends the run when its reader leaves. Default: `continue`.
            checkpoint_id: an earlier state of the thread, from which it continues on another
                branch. None, the default: the latest.
            replaces: the id of an earlier message of the user, which this one replaces on another
                branch; what came after it stays readable in `threads.history`. None: no message,
                the default.
            restart_lost_run: what happens where a server died, came back and has lost the run.
                False, the default: the stream raises RunLost. True: it continues from the thread's
                last checkpoint, as another run in the same stream, with a `Retry` for each
                unfinished message.
            history: messages that come before this one and that the thread does not have, oldest
                first, as `{"role": "user", "content": ...}`. Default: none.
            options: see RunOptions.

        Returns:
            The run, which starts when it is first read.

        Raises:
            InvalidRequest: the message is empty, a mode is unknown, an id is not a UUID, or what is
                asked for cannot be written as JSON.
        """
        if not message.strip():
            raise InvalidRequest("The message is empty: say something.")
        question_id = str(uuid.uuid4())
        question = {"role": "user", "content": message, "id": question_id}
        ends_others = multitask_strategy in ("interrupt", "rollback")
        body: JSON = {
            "input": {"messages": [*history, question]},
            "multitask_strategy": "enqueue" if ends_others else multitask_strategy,
            "if_not_exists": "reject" if thread_id else "create",
        }
        if checkpoint_id is not None:
            body["checkpoint_id"] = checkpoint_id

        async def prepare(thread: str) -> None:
            if multitask_strategy in ("interrupt", "rollback"):
                await self._wire.end_runs(thread, multitask_strategy)
            if replaces:
                state = await self._find_state(thread, lambda h: before_message(h, replaces))
                body["checkpoint_id"] = state["checkpoint"]["checkpoint_id"]

        def restart_body(state: JSON | None) -> JSON | None:
            if state is None or not has_message(state, question_id):
                return body | {"if_not_exists": "create"}
            return body | {"input": None, "checkpoint_id": None} if is_unfinished(state) else None

        return self._run(
            body,
            thread_id,
            previous_id=question_id,
            prepare=prepare if ends_others or replaces else None,
            restart_body=restart_body if restart_lost_run else None,
            nodes=nodes,
            on_disconnect=on_disconnect,
            **options,
        )

    def decide(
        self,
        thread_id: str,
        interrupt_id: str,
        decisions: JSON | Sequence[JSON],
        **options: Unpack[RunOptions],
    ) -> Run:
        """Continues a run that waits for a person's decision, and streams the rest of it.

        Args:
            thread_id: the thread.
            interrupt_id: the `Interrupt` that is decided.
            decisions: one for each of its requests, in their order; where there is one request, it
                need not be in a list. As LangChain's human-in-the-loop middleware takes them:
                `{"type": "approve"}`, `{"type": "reject", "message": ...}`, `{"type": "edit",
                "edited_action": {"name": ..., "args": {...}}}` or `{"type": "respond", "message":
                ...}`.
            options: see RunOptions. The server keeps no `context` for the rest of the run: give it
                again; `Run.decide` does.

        Returns:
            The rest of the run, which starts when it is first read.

        Raises:
            InvalidRequest: a mode is unknown, an id is not a UUID, or what is asked for cannot be
                written as JSON.

        The server checks the decisions where it makes the run, and what does not fit changes
        nothing: the stream raises NotFound if nothing waits under this id, and InvalidRequest for a
        wrong number or kind of decisions, or arguments that the tool does not take. A server
        without this project's `agent/access` checks nothing: there LangChain's middleware ends the
        run with RunFailed, or runs the tool with what it was given.
        """
        body: JSON = {
            "command": {"resume": {interrupt_id: {"decisions": listed(decisions)}}},
            "multitask_strategy": "reject",
        }
        return self._run(body, thread_id, prepare=self._last_message_id, **options)

    def continue_run(self, thread_id: str, **options: Unpack[RunOptions]) -> Run:
        """Continues, from the thread's last checkpoint, a run that its server left unfinished.

        Steps that had ended are not done again; the one that had not is, and its tokens come anew.

        Args:
            thread_id: the thread.
            options: see RunOptions.

        Returns:
            The rest of the run. Reading it raises InvalidRequest if the thread's last run had
            ended, or waits for a person.

        Raises:
            InvalidRequest: see `decide`.
        """
        body: JSON = {"input": None, "multitask_strategy": "reject"}

        async def check(thread: str) -> str | None:
            state = await self._wire.state(thread)
            check_unfinished(state)
            return last_message_id(state)

        return self._run(body, thread_id, prepare=check, **options)

    def regenerate(self, thread_id: str, **options: Unpack[RunOptions]) -> Run:
        """Answers the thread's last question again, on another branch; the old stays readable.

        Args:
            thread_id: the thread.
            options: see RunOptions.

        Returns:
            The run. Reading it raises InvalidRequest if the thread has no answer.

        Raises:
            InvalidRequest: see `decide`.
        """
        body: JSON = {"input": None, "multitask_strategy": "reject"}

        async def go_back(thread: str) -> str | None:
            state = await self._find_state(thread, before_answer)
            body["checkpoint_id"] = state["checkpoint"]["checkpoint_id"]
            return last_message_id(state)

        return self._run(body, thread_id, prepare=go_back, **options)

    async def _last_message_id(self, thread_id: str) -> str | None:
        return last_message_id(await self._wire.state(thread_id))

    async def _find_state(self, thread_id: str, find: Callable[[History], JSON]) -> JSON:
        """What `find` returns of the thread's history, read no further back than needed."""
        for checkpoints in HISTORY_DEPTHS[:-1]:
            with suppress(NotFound, InvalidRequest):
                return find(await self._wire.history(thread_id, checkpoints))
        return find(await self._wire.history(thread_id, HISTORY_DEPTHS[-1]))

    def _run(
        self,
        body: JSON,
        thread_id: str | None,
        *,
        modes: Mode | Iterable[Mode] = DEFAULT_MODES,
        assistant_id: str = "agent",
        context: JSON | None = None,
        idempotency_key: str | None = None,
        nodes: Iterable[str] | None = None,
        on_disconnect: DisconnectMode = "continue",
        previous_id: str | None = None,
        prepare: Callable[[str], Awaitable[str | None]] | None = None,
        restart_body: Callable[[JSON | None], JSON | None] | None = None,
    ) -> Run:
        chosen = _checked_modes(modes)
        key = checked_id(idempotency_key, "idempotency key") if idempotency_key else None
        body |= {
            "assistant_id": assistant_id,
            "stream_mode": [*dict.fromkeys([*(WIRE_MODES[mode] for mode in chosen), *ALWAYS])],
            "stream_subgraphs": True,
            "stream_resumable": True,
            "on_disconnect": "continue",
        }
        if context is not None:
            body["context"] = context
        _check_json(body)
        request = RunRequest(
            body,
            Expectation(frozenset([*(WIRE_MODES[mode] for mode in chosen), "custom"]), previous_id),
            creates_thread=not thread_id,
            idempotency_key=key or str(uuid.uuid4()),
            may_be_repeated=key is not None,
            prepare=prepare,
            restart_body=restart_body,
        )
        delivery = Delivery(
            self._wire,
            checked_id(thread_id) if thread_id else _new_thread_id(key),
            PART_NAMES & {"metadata", "messages", "custom", *chosen},
            request=request,
        )
        decide = partial(self.decide, modes=chosen, assistant_id=assistant_id, context=context)
        return Run(delivery, self.limits, nodes=nodes, on_disconnect=on_disconnect, decide=decide)

    async def info(self) -> JSON:
        """What the server says of itself: versions and flags."""
        with translated(self.url):
            return dict(await self.sdk.http.get("/info"))

    async def assistants(self) -> list[Assistant]:
        """The server's assistants, 100 at most: `assistant_id`, `graph_id`, `name`..."""
        with translated(self.url):
            return await self.sdk.assistants.search(limit=100)

    async def graph(self, assistant_id: str = "agent") -> JSON:
        """The drawing of an assistant's graph: `nodes` and `edges`.

        Args:
            assistant_id: a graph's name or an assistant's id. Default: `agent`.

        Raises:
            NotFound: the server has no such assistant.
        """
        with translated(self.url):
            assistants = await self.sdk.assistants.search(graph_id=assistant_id, limit=1)
            known_id = assistants[0]["assistant_id"] if assistants else assistant_id
            return dict(await self.sdk.assistants.get_graph(known_id))


def _transport_for(url: str) -> httpx.AsyncHTTPTransport:
    """Raises CannotConnect for a proxy of the environment that cannot be used."""
    variable, proxy = proxy_for(url) or ("", None)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    try:
        return httpx.AsyncHTTPTransport(proxy=proxy, limits=limits)
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise CannotConnect(proxy_trouble(variable)) from error


def _check_json(body: JSON) -> None:
    """Raises InvalidRequest for what JSON cannot say: half a surrogate pair, NaN, an object."""
    try:
        json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"The request cannot be written as JSON: {error}.") from error


def _new_thread_id(idempotency_key: str | None) -> str:
    """The same for the same key: a repeated request must find the thread of the first one."""
    return str(uuid.uuid5(UUID(idempotency_key), "thread") if idempotency_key else uuid.uuid4())


def _checked_modes(modes: Mode | Iterable[Mode]) -> list[Mode]:
    chosen: list[Mode] = list(dict.fromkeys(listed(modes)))
    unknown = [mode for mode in chosen if mode not in WIRE_MODES]
    if unknown or not chosen:
        raise InvalidRequest(
            f"Not a stream mode: {', '.join(map(repr, unknown)) or 'none given'}; "
            f"choose from {', '.join(WIRE_MODES)}."
        )
    return chosen
