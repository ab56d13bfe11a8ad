"""AgentClient: threads, runs and their streams, over langgraph-sdk.

async with AgentClient("http://127.0.0.1:2024") as agent:
    async with agent.stream("What is 6 x 7?") as run:
        async for event in run:
            match event:
                case Token(content=text):
                    print(text, end="", flush=True)
"""

import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Self, Unpack, cast
from uuid import UUID

import httpx
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.schema import Assistant, DisconnectMode, MultitaskStrategy

from .answer import Answer
from .assistants import Assistants
from .connection import http_client, server_url
from .decoding.decoder import PART_NAMES, WIRE_MODES
from .delivery.delivery import Delivery
from .delivery.expectation import Expectation
from .delivery.request import RunRequest
from .delivery.wire import Wire
from .errors import InvalidRequest, NotFound, translated
from .events import JSON, Interrupt
from .limits import Limits
from .memories import Memories
from .reconnect import Reconnect
from .run import Run, listed
from .run_input import Input, run_input
from .run_options import RunOptions, check_json, checked_modes, options_in_body
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
from .state.decisions import answer_of, check_fit, waiting
from .thread_stream import ThreadStream
from .threads import Threads, checked_id

HISTORY_DEPTHS = (10, 100, 1000)  # checkpoints at a time; each comes with all its messages
Prepare = Callable[[str], Awaitable[str | None]]  # see RunRequest


class AgentClient:
    """Talks to one LangGraph server.

    Args:
        url: the server. None, the default: `LANGGRAPH_URL`, or else where `langgraph dev` listens.
        token: sent as a bearer token; an empty one is not sent. None, the default: `STEADY_TOKEN`.
        limits: how long to wait. None, the default: `Limits()`.
        reconnect: what is tried again, and when. None, the default: `Reconnect()`.
        transport: httpx's, for all requests; whoever made it closes it. None, the default: httpx's
            own.
        client_class: of httpx's client, which sends the requests. Default: httpx's own.

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
        client_class: type[httpx.AsyncClient] = httpx.AsyncClient,
    ) -> None:
        self.url = server_url(url)
        self.limits = limits or Limits()
        self._http = http_client(self.url, token, self.limits, transport, client_class)
        self.sdk = LangGraphClient(self._http)
        self._wire = Wire(self.sdk, self.url, self.limits, reconnect or Reconnect())
        self._assistants = Assistants(self.sdk, self.url)
        self.memories = Memories(self.sdk, self.url)
        self.runs = Runs(self._wire, self.resume)
        self.threads = Threads(self.sdk, self.url, ThreadStream(self._wire, self.runs.join))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._http.aclose()

    def stream(
        self,
        input: Input,
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
        """Runs a graph on a message of the user, or on any input, and streams the run.

        Args:
            input: what the graph is given: a text, or a list of LangChain's content blocks, such as
                `{"type": "image", "url": ...}`: a message of the user; a list of messages, each
                with a `role`; an object with the values of the graph's own state; or None, which
                goes on from where the thread is.
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
            history: messages that come before the input's and that the thread does not have,
                oldest first, as `{"role": "user", "content": ...}`. Default: none.
            options: see RunOptions.

        Returns:
            The run, which starts when it is first read.

        Raises:
            InvalidRequest: the message is empty, a mode is unknown, an id is not a UUID, or what is
                asked for cannot be written as JSON. Reading the run raises it for an input that the
                graph's schema does not have, where `assistant_id` is given.
        """
        values, question_id = run_input(input, history)
        if values is None and thread_id is None:
            raise InvalidRequest("There is no input, and no thread that it could go on with.")
        ends_others = multitask_strategy in ("interrupt", "rollback")
        body: JSON = {
            "input": values,
            "multitask_strategy": "enqueue" if ends_others else multitask_strategy,
            "if_not_exists": "reject" if thread_id else "create",
        }
        if checkpoint_id is not None:
            body["checkpoint_id"] = checkpoint_id
        checkpoint_before: str | None = None
        marks_start = restart_lost_run and question_id is None and thread_id is not None
        assistant_id = options.get("assistant_id")
        if thread_id and not assistant_id:
            last = self._assistants.last_on(checked_id(thread_id))
            options = {**options, "assistant_id": last}
        is_unknown = bool(thread_id and not options.get("assistant_id"))

        async def prepare(thread: str) -> None:
            nonlocal checkpoint_before
            if is_unknown:
                body["assistant_id"] = await self._assistants.find_last_on(thread)
            if assistant_id and isinstance(values, Mapping):
                await self._assistants.check_input(assistant_id, values)
            if ends_others:
                await self._wire.end_runs(thread, cast(Any, multitask_strategy))
            if replaces:
                state = await self._find_state(thread, lambda h: before_message(h, replaces))
                body["checkpoint_id"] = state["checkpoint"]["checkpoint_id"]
            if marks_start:
                checkpoint_before = _checkpoint_id(await self._wire.state(thread))

        is_prepared = assistant_id or is_unknown or ends_others or replaces or marks_start

        def restart_body(state: JSON | None) -> JSON | None:
            is_there = state is not None and (
                has_message(state, question_id)
                if question_id
                else _checkpoint_id(state) not in (None, checkpoint_before)
            )
            if state is None or not is_there:
                return body | {"if_not_exists": "create"}
            return body | {"input": None, "checkpoint_id": None} if is_unfinished(state) else None

        return self._start(
            body,
            thread_id,
            options,
            previous_id=question_id,
            prepare=prepare if is_prepared else None,
            restart_body=restart_body if restart_lost_run else None,
            nodes=nodes,
            on_disconnect=on_disconnect,
        )

    async def ask(self, input: Input, **options: Any) -> Answer:
        """Runs a graph to its end, and returns what it answered.

        Args:
            input: a text, content blocks, messages, a state, or None: see `stream`.
            options: those of `stream`.

        Returns:
            The answer; its `str` is the text.

        Raises:
            SteadyError: what `stream`, or the reading of its run, raises.

        Example::

            print(await agent.ask("What is 6 x 7?"))
        """
        async with self.stream(input, **options) as run:
            return await run.answer()

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
        return self._answer(thread_id, {interrupt_id: listed(decisions)}, answer_of, options)

    def resume(self, thread_id: str, answers: JSON, **options: Unpack[RunOptions]) -> Run:
        """Continues a run that waits for answers, whatever it asks for, and streams the rest of it.

        Args:
            thread_id: the thread.
            answers: by the id of each `Interrupt` that is answered, what the graph's
                `interrupt(...)` returns: any JSON value that fits its `response_schema`. Those that
                are not answered wait on.
            options: see RunOptions, and for `context` `decide`.

        Returns:
            The rest of the run, which starts when it is first read. Reading it raises NotFound if
            nothing waits under an id, and InvalidRequest for an answer that does not fit; neither
            changes anything.

        Raises:
            InvalidRequest: see `decide`; or there is no answer.
        """
        if not answers:
            raise InvalidRequest("Give an answer for at least one interrupt, by its id.")
        return self._answer(thread_id, answers, lambda _, answer: answer, options)

    def _answer(
        self,
        thread_id: str,
        answers: JSON,
        answer_to: Callable[[Interrupt | None, Any], Any],
        options: RunOptions,
    ) -> Run:
        """Goes on with the answers, by interrupt id, as `answer_to` makes them for the graph."""
        resume = {key: answer_to(None, each) for key, each in answers.items()}
        body: JSON = {"command": {"resume": resume}, "multitask_strategy": "reject"}

        async def check(thread: str) -> JSON:
            state = await self._wire.state(thread)
            interrupts = {interrupt.id: interrupt for interrupt in waiting(state)}
            for key, each in answers.items():
                resume[key] = answer_to(interrupts.get(key), each)
                check_fit(state, key, resume[key])
            return state

        return self._continue(body, thread_id, options, check)

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

        async def check(thread: str) -> JSON:
            state = await self._wire.state(thread)
            check_unfinished(state)
            return state

        return self._continue(body, thread_id, options, check)

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

        async def go_back(thread: str) -> JSON:
            state = await self._find_state(thread, before_answer)
            body["checkpoint_id"] = state["checkpoint"]["checkpoint_id"]
            return state

        return self._continue(body, thread_id, options, go_back)

    def _continue(
        self,
        body: JSON,
        thread_id: str,
        options: RunOptions,
        find_state: Callable[[str], Awaitable[JSON]],
    ) -> Run:
        """A run that goes on from a state of the thread, by the thread's own assistant."""

        async def prepare(thread: str) -> str | None:
            state = await find_state(thread)
            if not options.get("assistant_id"):
                body["assistant_id"] = await self._assistants.of_thread(thread, state)
            return last_message_id(state)

        return self._start(body, thread_id, options, prepare=prepare)

    async def _find_state(self, thread_id: str, find: Callable[[History], JSON]) -> JSON:
        """What `find` returns of the thread's history, read no further back than needed."""
        for checkpoints in HISTORY_DEPTHS[:-1]:
            with suppress(NotFound, InvalidRequest):
                return find(await self._wire.history(thread_id, checkpoints))
        return find(await self._wire.history(thread_id, HISTORY_DEPTHS[-1]))

    def _start(
        self,
        body: JSON,
        thread_id: str | None,
        options: RunOptions,
        *,
        nodes: Iterable[str] | None = None,
        on_disconnect: DisconnectMode = "continue",
        previous_id: str | None = None,
        prepare: Prepare | None = None,
        restart_body: Callable[[JSON | None], JSON | None] | None = None,
    ) -> Run:
        modes = checked_modes(options.get("modes"))
        given_key = options.get("idempotency_key")
        key = checked_id(given_key, "idempotency key") if given_key else None
        thread = checked_id(thread_id) if thread_id else _new_thread_id(key)
        body |= options_in_body(options, modes)
        check_json(body)
        request = RunRequest(
            body,
            Expectation(frozenset([*(WIRE_MODES[mode] for mode in modes), "custom"]), previous_id),
            creates_thread=not thread_id,
            idempotency_key=key or str(uuid.uuid4()),
            may_be_repeated=key is not None,
            prepare=prepare,
            restart_body=restart_body,
            note_accepted=lambda: self._assistants.note_run(thread, body["assistant_id"]),
        )
        delivery = Delivery(
            self._wire,
            thread,
            PART_NAMES & {"metadata", "messages", "custom", *modes},
            request=request,
        )
        rest: RunOptions = {**options, "modes": modes, "idempotency_key": None}
        return Run(
            delivery,
            self.limits,
            nodes=nodes,
            on_disconnect=on_disconnect,
            resume=partial(self.resume, **rest),
        )

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
        return await self._assistants.graph(assistant_id)


def _checkpoint_id(state: JSON) -> str | None:
    return (state.get("checkpoint") or {}).get("checkpoint_id")


def _new_thread_id(idempotency_key: str | None) -> str:
    """The same for the same key: a repeated request must find the thread of the first one."""
    return str(uuid.uuid5(UUID(idempotency_key), "thread") if idempotency_key else uuid.uuid4())
