"""AgentClient: threads, runs and their streams, over langgraph-sdk.

async with AgentClient("http://127.0.0.1:2024") as agent:
    async with agent.stream("What is 6 x 7?") as run:
        async for event in run:
            match event:
                case Token(content=text):
                    print(text, end="", flush=True)
"""

import os
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import httpx
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.schema import DisconnectMode, MultitaskStrategy

from .decoding.decoder import PART_NAMES, WIRE_MODES
from .delivery.asked import Asked
from .delivery.delivery import Delivery
from .delivery.wire import Wire
from .errors import CannotConnect, InvalidRequest, NotFound, translated
from .events import JSON, Mode
from .limits import Limits
from .memories import Memories
from .proxies import proxy_for, proxy_trouble
from .reconnect import Reconnect
from .run import Run
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

DEFAULT_MODES: tuple[Mode, ...] = ("messages",)
LOOKS_BACK = (10, 100, 1000)  # checkpoints at a time; each comes with all its messages
DEFAULT_URL = "http://127.0.0.1:2024"


def _transport_for(url: str) -> httpx.AsyncHTTPTransport:
    """Raises CannotConnect for a proxy of the environment that cannot be used."""
    variable, proxy = proxy_for(url) or ("", None)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    try:
        return httpx.AsyncHTTPTransport(proxy=proxy, limits=limits)
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise CannotConnect(proxy_trouble(variable)) from error


class AgentClient:
    """Talks to one LangGraph server.

    `url` defaults to `LANGGRAPH_URL`, then to where `langgraph dev` listens; `token` to
    `STEADY_TOKEN`, and an empty one is none. `transport`, where given, is httpx's, carries all
    requests, and is shared: leave its closing to who made it. Every method raises the types of
    `client.errors`.
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
        self._reconnect = reconnect or Reconnect()
        token = os.environ.get("STEADY_TOKEN") if token is None else token
        with translated(self.url):
            self._http = httpx.AsyncClient(
                base_url=self.url,
                timeout=httpx.Timeout(
                    self.limits.request_timeout_seconds, connect=self.limits.connect_seconds
                ),
                transport=transport or _transport_for(self.url),
                trust_env=False,
                headers={"Authorization": f"Bearer {token}"} if token else {},
            )
        self.sdk = LangGraphClient(self._http)
        self.threads = Threads(self.sdk, self.url)
        self.memories = Memories(self.sdk, self.url)
        self._wire = Wire(self.sdk, self.url, self.limits)
        self.runs = Runs(self._wire, self.limits, self._reconnect)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    def stream(
        self,
        message: str,
        *,
        thread_id: str | None = None,
        modes: Iterable[Mode] = DEFAULT_MODES,
        assistant_id: str = "agent",
        context: JSON | None = None,
        nodes: Iterable[str] | None = None,
        multitask_strategy: MultitaskStrategy = "reject",
        on_disconnect: DisconnectMode = "continue",
        idempotency_key: str | None = None,
        checkpoint_id: str | None = None,
        replaces: str | None = None,
        restart_lost_run: bool = False,
    ) -> Run:
        """Runs `assistant_id` on `message` and streams it in any set of the four modes.

        Without `thread_id` a new thread is made. On a thread that is busy with another run it
        raises Conflict, unless `multitask_strategy` says otherwise: `enqueue` waits for that run's
        end, `interrupt` stops it and keeps what it said, `rollback` undoes it (InvalidRequest where
        the server cannot: `make scale`). The run starts when the stream is first read, and goes on
        if the reader leaves, unless `on_disconnect` is `cancel`. Tokens and tool calls are those of
        the graph's nodes but tools and middleware, or just those of `nodes`.

        `idempotency_key`, a UUID of yours, makes it safe to ask again, even from another process:
        a run that was started with it is streamed from its beginning, and no second one is started.
        The same holds for `decide`, `continue_run` and `regenerate`.

        `checkpoint_id` goes on from an earlier state of the thread, `replaces` from before the
        message with that id, which this one is said instead of. What came after stays readable in
        `threads.history`, as another branch.

        A server that dies and comes back may have lost the run: the stream raises RunLost. With
        `restart_lost_run` it goes on by itself from the thread's last checkpoint, as another run in
        the same stream, with a `Retry` for each message that was begun.
        """
        if not message.strip():
            raise InvalidRequest("The message is empty: say something.")
        question_id = str(uuid.uuid4())
        instead = multitask_strategy if multitask_strategy in ("interrupt", "rollback") else None
        body: JSON = {
            "input": {"messages": [{"role": "user", "content": message, "id": question_id}]},
            "multitask_strategy": "enqueue" if instead else multitask_strategy,
            "if_not_exists": "reject" if thread_id else "create",
            **_given(context=context, checkpoint_id=checkpoint_id),
        }

        async def prepare(thread: str) -> None:
            if instead:
                await self._wire.end_runs(thread, instead)
            if replaces:
                state = await self._look_back(thread, lambda h: before_message(h, replaces))
                body["checkpoint_id"] = state["checkpoint"]["checkpoint_id"]

        def rest(state: JSON | None) -> JSON | None:
            """What is left to run, where the server forgot that it ran."""
            if state is None or not has_message(state, question_id):
                return body | {"if_not_exists": "create"}
            return body | {"input": None, "checkpoint_id": None} if is_unfinished(state) else None

        return self._run(
            assistant_id,
            body,
            thread_id,
            modes,
            nodes=nodes,
            since=question_id,
            on_disconnect=on_disconnect,
            idempotency_key=idempotency_key,
            before_start=prepare if instead or replaces else None,
            go_on=rest if restart_lost_run else None,
        )

    def decide(
        self,
        thread_id: str,
        interrupt_id: str,
        decisions: Sequence[JSON],
        *,
        modes: Iterable[Mode] = DEFAULT_MODES,
        assistant_id: str = "agent",
        context: JSON | None = None,
        idempotency_key: str | None = None,
    ) -> Run:
        """Goes on with a run that waits for a person, and streams the rest of it.

        `decisions` has one entry for each of the `Interrupt`'s requests, in their order, as
        LangChain's human-in-the-loop middleware takes them: `{"type": "approve"}`,
        `{"type": "edit", "edited_action": {"name": ..., "args": {...}}}`,
        `{"type": "reject", "message": ...}` or `{"type": "respond", "message": ...}`. What does not
        fit (nothing waits under this id, a wrong number or kind of decisions, arguments that the
        tool does not take) raises NotFound or InvalidRequest when the run is read, and changes
        nothing. The server keeps no context for the rest of the run: give it again; `Run.decide`
        does.
        """
        body: JSON = {
            "command": {"resume": {interrupt_id: {"decisions": list(decisions)}}},
            "multitask_strategy": "reject",
            **_given(context=context),
        }

        async def since(thread: str) -> str | None:
            return last_message_id(await self._wire.state(thread))

        return self._run(
            assistant_id,
            body,
            thread_id,
            modes,
            idempotency_key=idempotency_key,
            before_start=since,
        )

    def continue_run(
        self,
        thread_id: str,
        *,
        modes: Iterable[Mode] = DEFAULT_MODES,
        assistant_id: str = "agent",
        context: JSON | None = None,
        idempotency_key: str | None = None,
    ) -> Run:
        """Goes on, from the thread's last checkpoint, with a run that its server left unfinished.

        Steps that had ended are not done again; the one that had not is, and its tokens come anew.
        Raises InvalidRequest when the run is read if the last one had ended, or waits for a person.
        """
        body = _on_what_is_there(context)

        async def check(thread: str) -> str | None:
            state = await self._wire.state(thread)
            check_unfinished(state)
            return last_message_id(state)

        return self._run(
            assistant_id,
            body,
            thread_id,
            modes,
            idempotency_key=idempotency_key,
            before_start=check,
        )

    def regenerate(
        self,
        thread_id: str,
        *,
        modes: Iterable[Mode] = DEFAULT_MODES,
        assistant_id: str = "agent",
        context: JSON | None = None,
        idempotency_key: str | None = None,
    ) -> Run:
        """Answers the thread's last question anew, on another branch; the old stays readable."""
        body = _on_what_is_there(context)

        async def go_back(thread: str) -> str | None:
            state = await self._look_back(thread, before_answer)
            body["checkpoint_id"] = state["checkpoint"]["checkpoint_id"]
            return last_message_id(state)

        return self._run(
            assistant_id,
            body,
            thread_id,
            modes,
            idempotency_key=idempotency_key,
            before_start=go_back,
        )

    async def _look_back(self, thread_id: str, find: Callable[[History], JSON]) -> JSON:
        """What is found in the thread's history, read no further back than it must be."""
        for checkpoints in LOOKS_BACK[:-1]:
            with suppress(NotFound, InvalidRequest):
                return find(await self._wire.history(thread_id, checkpoints))
        return find(await self._wire.history(thread_id, LOOKS_BACK[-1]))

    def _run(
        self,
        assistant_id: str,
        body: JSON,
        thread_id: str | None,
        modes: Iterable[Mode],
        *,
        idempotency_key: str | None = None,
        since: str | None = None,
        before_start: Callable[[str], Awaitable[str | None]] | None = None,
        go_on: Callable[[JSON | None], JSON | None] | None = None,
        **options: Any,
    ) -> Run:
        chosen = _checked(modes)
        body |= {
            "assistant_id": assistant_id,
            "stream_mode": [*(WIRE_MODES[mode] for mode in chosen), "custom"],
            "stream_resumable": True,
            "on_disconnect": "continue",
        }
        delivery = Delivery(
            self._wire,
            self.limits,
            self._reconnect,
            checked_id(thread_id) if thread_id else _new_thread_id(idempotency_key),
            PART_NAMES & {"metadata", "custom", *chosen},
            body=body,
            asked=Asked(frozenset(body["stream_mode"]), since),
            idempotency_key=checked_id(idempotency_key, "request") if idempotency_key else None,
            before_start=before_start,
            go_on=go_on,
            is_new_thread=not thread_id,
        )
        decide = partial(
            self.decide, modes=chosen, assistant_id=assistant_id, context=body.get("context")
        )
        return Run(self._wire, delivery, decide=decide, **options)

    async def info(self) -> JSON:
        """What the server says of itself: versions and flags."""
        with translated(self.url):
            return dict(await self.sdk.http.get("/info"))

    async def assistants(self) -> list[JSON]:
        """The assistants of the server: `assistant_id`, `graph_id`, `name`, `description`..."""
        with translated(self.url):
            return [dict(found) for found in await self.sdk.assistants.search(limit=100)]

    async def graph(self, assistant_id: str = "agent") -> JSON:
        """The graph's drawing: `nodes` and `edges`."""
        with translated(self.url):
            return dict(await self.sdk.assistants.get_graph(await self._found_id(assistant_id)))

    async def _found_id(self, name: str) -> str:
        found = await self.sdk.assistants.search(graph_id=name, limit=1)
        return found[0]["assistant_id"] if found else name


def _on_what_is_there(context: JSON | None) -> JSON:
    """The body of a run that brings nothing new to its thread."""
    return {"input": None, "multitask_strategy": "reject", **_given(context=context)}


def _given(**fields: Any) -> JSON:
    return {name: value for name, value in fields.items() if value is not None}


def _new_thread_id(idempotency_key: str | None) -> str:
    """The same for the same request: asked again, it must find the thread it made."""
    return str(uuid.uuid5(UUID(idempotency_key), "thread") if idempotency_key else uuid.uuid4())


def _checked(modes: Iterable[Mode]) -> list[Mode]:
    chosen = list(dict.fromkeys(modes))
    wrong = [mode for mode in chosen if mode not in WIRE_MODES]
    if wrong or not chosen:
        raise InvalidRequest(
            f"Not a stream mode: {', '.join(map(repr, wrong)) or 'none given'}; "
            f"choose from {', '.join(WIRE_MODES)}."
        )
    return chosen
