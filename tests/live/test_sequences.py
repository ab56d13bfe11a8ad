"""Any sequence of messages, stops, decisions, forks, retries and reconnects leaves a right thread.

    STEADY_SEQUENCES=300 python -m pytest tests/live/test_sequences.py

runs so many sequences; without it a few are run, the same each time.
"""

import asyncio
import os
import uuid
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from agent.middleware.open_calls import OPEN_CALL, STOPPED_CALL
from client import (
    AgentClient,
    Conflict,
    Interrupt,
    ModelFailed,
    Retry,
    Run,
    RunLost,
    RunStarted,
    Token,
    ToolCall,
    ToolResult,
)
from client.cli.local_server import LocalServer
from client.decoding.messages import text_of
from client.events import JSON, AgentEvent
from tests.model_server import Fault, ModelServer, Reply
from tests.model_server import ToolCall as Call

SEQUENCES = int(os.environ.get("STEADY_SEQUENCES", "0"))

T = TypeVar("T")
Told = tuple[JSON, ...]

ANSWER = tuple(f"{' ' if n else ''}word{n}" for n in range(40))
SPOKEN = Reply(ANSWER, tokens_per_second=400.0)
CALCULATED = Reply(tool_calls=(Call("calculate", {"expression": "17 * 23"}),))
NOTE = Call("save_note", {"title": "Kept", "text": "As asked."})
BROKEN = Fault("error_event", after_tokens=20)

SCRIPTS: dict[str, tuple[Reply, ...]] = {
    "answers": (SPOKEN,),
    "calculates": (CALCULATED, SPOKEN),
    "says and calculates": (Reply("Well.", tool_calls=CALCULATED.tool_calls), SPOKEN),
    "asks": (Reply(tool_calls=(NOTE,)), SPOKEN),
    "calculates and asks": (Reply("So.", tool_calls=(*CALCULATED.tool_calls, NOTE)), SPOKEN),
    "is tried again": (Reply(ANSWER, tokens_per_second=400.0, fails=[BROKEN]),),
    "fails": (Reply(ANSWER, tokens_per_second=400.0, fault=BROKEN),),
}
EDITED = {"name": "save_note", "args": {"title": "Edited", "text": "Otherwise."}}
DECISIONS: dict[str, JSON] = {
    "approve": {"type": "approve"},
    "edit": {"type": "edit", "edited_action": EDITED},
    "reject": {"type": "reject", "message": "Not this one."},
    "respond": {"type": "respond", "message": "I did it myself."},
}


KINDS = st.sampled_from(sorted(SCRIPTS))
STOPPABLE = st.sampled_from(["answers", "calculates", "is tried again", "says and calculates"])
PLACES = st.integers(0, 7)
EARLY = st.integers(1, 6)


class Listener:
    """Keeps what the events of one run tell, as messages; `interrupt` is what it waits for."""

    def __init__(self, after: int | None = None) -> None:
        self.messages: list[JSON] = []
        self.interrupt: Interrupt | None = None
        self.enough: Callable[[], None] = lambda: None  # is called after so many events
        self._left = after

    def hear(self, event: AgentEvent) -> None:
        if self._left is not None and not isinstance(event, RunStarted):
            self._left -= 1
            if not self._left:
                self.enough()
        match event:
            case Token(content=text, message_id=at):
                self._message(at)["text"] += text
            case Retry(message_id=at):
                self.messages = [m for m in self.messages if m.get("id") != at]
            case ToolCall(id=call, tool=tool, args=args):
                self._calling()["calls"].append((call, tool, args))
            case ToolResult(id=call, content=text):
                self.messages.append({"type": "tool", "call": call, "text": text})
            case Interrupt():
                self.interrupt = event

    def _message(self, at: str) -> JSON:
        for message in self.messages:
            if message.get("id") == at:
                return message
        self.messages.append({"type": "ai", "id": at, "text": "", "calls": []})
        return self.messages[-1]

    def _calling(self) -> JSON:
        """The model's message that the calls stand in: one without text had no token."""
        if not self.messages or self.messages[-1]["type"] != "ai":
            self.messages.append({"type": "ai", "id": None, "text": "", "calls": []})
        return self.messages[-1]


class Conversation(RuleBasedStateMachine):
    """One thread, and what its reader was told of it; `old` are states of it he can go back to.

    Every rule may be tried at any time: what can be done depends on when a stop strikes, and what
    cannot be done does nothing.
    """

    def __init__(self, server: LocalServer, model: ModelServer) -> None:
        super().__init__()
        self.server, self.model = server, model
        self.runner = asyncio.Runner()
        self.told: Told = ()
        self.waiting: Interrupt | None = None
        self.is_answered = self.is_failed = False
        self.old: dict[str, Told] = {}

    def teardown(self) -> None:
        self.does(self.agent.threads.delete(self.thread_id))
        self.does(self.agent.__aexit__(None, None, None))
        self.runner.close()

    def does(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(asyncio.wait_for(work, 30))

    @initialize()
    def begin(self) -> None:
        async def made() -> None:
            self.agent = AgentClient(self.server.url)
            self.thread_id = await self.agent.threads.create()
            print(self.thread_id)  # of all sequences: a failing one seldom fails again the same way

        self.does(made())

    # What a person does

    @rule(kind=KINDS)
    def says(self, kind: str) -> None:
        """Reads to the end; on a thread that waits for a decision this says something else."""
        self.turn(self.asked(kind), self.told)

    @rule(kind=STOPPABLE, after=EARLY)
    def says_and_stops(self, kind: str, after: int) -> None:
        self.turn(self.asked(kind), self.told, stop_after=after)

    @rule(kind=KINDS, leaves=st.lists(st.integers(1, 4), max_size=4))
    def says_and_reconnects(self, kind: str, leaves: list[int]) -> None:
        """Leaves the stream again and again, and goes on from the last event that was read."""
        self.turn(self.asked(kind), self.told, leaves=leaves)

    @rule(kind=st.sampled_from(sorted(DECISIONS)), stop_after=st.sampled_from([None, None, 2]))
    def decides(self, kind: str, stop_after: int | None) -> None:
        if not self.waiting:
            return
        decided = [DECISIONS[kind]] * len(self.waiting.requests["action_requests"])
        run = self.agent.decide(self.thread_id, self.waiting.id, decided)
        self.turn((None, run), self.told, stop_after=stop_after)

    @rule()
    def asks_for_another_answer(self) -> None:
        if not self.is_answered or self.waiting:
            return
        last = max(at for at, message in enumerate(self.told) if message["type"] == "human")
        self.script(self.told[last]["text"], SPOKEN)
        self.turn((None, self.agent.regenerate(self.thread_id)), self.told[: last + 1])

    @rule(number=PLACES, kind=KINDS)
    def edits_a_message(self, number: int, kind: str) -> None:
        own = [at for at, message in enumerate(self.told) if message["type"] == "human"]
        if not own:
            return
        at = own[number % len(own)]
        question, run = self.asked(kind, replaces=self.told[at]["id"])
        self.turn((question, run), self.told[:at])

    @rule(number=PLACES, kind=KINDS)
    def goes_back(self, number: int, kind: str) -> None:
        """To any state that the thread once had, on whatever branch."""
        if not self.old:
            return
        checkpoint_id = list(self.old)[number % len(self.old)]
        self.turn(self.asked(kind, checkpoint_id=checkpoint_id), self.old[checkpoint_id])

    @rule(
        kind=STOPPABLE,
        after=EARLY,
        strategy=st.sampled_from(["reject", "enqueue", "interrupt", "rollback"]),
        next_kind=KINDS,
    )
    def says_another_thing_meanwhile(
        self, kind: str, after: int, strategy: str, next_kind: str
    ) -> None:
        first, second = self.asked(kind), self.asked(next_kind, multitask_strategy=strategy)
        self.does(self.both(first, second, after, undoes=strategy == "rollback"))

    # How it is done

    def script(self, question: str, *replies: Reply) -> None:
        self.model.on(question, *replies)

    def asked(self, kind: str, **where: Any) -> tuple[str, Run]:
        question = f"{kind} {uuid.uuid4()}"
        self.script(question, *SCRIPTS[kind])
        return question, self.agent.stream(question, thread_id=self.thread_id, **where)

    def turn(
        self,
        asked: tuple[str | None, Run],
        before: Told,
        *,
        stop_after: int | None = None,
        leaves: Sequence[int] = (),
    ) -> None:
        question, run = asked
        heard = Listener()
        status = self.does(self.ended(run, heard, stop_after, leaves))
        print(f"  {question}: {status}, {stop_after=}, {leaves=}, from {len(before)} messages")
        self.does(self.note([*before, *self.said(question, heard)], heard, status))

    async def both(
        self, first: tuple[str, Run], second: tuple[str, Run], after: int, *, undoes: bool
    ) -> None:
        """Two runs of the thread: the second is asked for in the middle of the first."""
        heard, heard_next, is_time = Listener(after), Listener(), asyncio.Event()
        heard.enough = is_time.set

        async def next_turn() -> str:
            await is_time.wait()
            return await self.ended(second[1], heard_next)

        turns = asyncio.gather(self.ended(first[1], heard), next_turn())
        status, next_status = await turns
        assert undoes or status != "lost"
        print(f"  {first[0]}: {status}, meanwhile {second[0]}: {next_status}, {undoes=}")
        told = list(self.told)
        if not (undoes and status in ("stopped", "lost")):
            told += self.said(first[0], heard)
        if next_status == "refused":
            return await self.note(told, heard, status)
        if status == "stopped":
            told = _as_far_as_kept(told, await self.stored())
        await self.note([*told, *self.said(second[0], heard_next)], heard_next, next_status)

    async def ended(
        self,
        run: Run,
        heard: Listener,
        stop_after: int | None = None,
        leaves: Sequence[int] = (),
    ) -> str:
        """Reads it to its end; how that was."""
        try:
            run = await self.read(run, heard, stop_after, list(leaves))
        except ModelFailed:
            heard.messages = []  # these scripts fail before anything is whole
            return "failed"
        except Conflict:
            return "refused"
        except RunLost:
            return "lost"
        finally:
            heard.enough()
        assert run.done
        return run.done.status

    def said(self, question: str | None, heard: Listener) -> Told:
        """A turn as its reader knows it: the question, and what was told of the answer."""
        own = [{"type": "human", "text": question}] if question else []
        return (*own, *heard.messages)

    async def read(
        self, run: Run, heard: Listener, stop_after: int | None, leaves: list[int]
    ) -> Run:
        count, stop = 0, None
        while True:
            async with run:
                async for event in run:
                    heard.hear(event)
                    count += not isinstance(event, RunStarted)
                    if stop_after is not None and count == stop_after:
                        stop = asyncio.create_task(run.stop())
                    if leaves and count >= leaves[0]:
                        break
                else:
                    if stop:
                        await stop
                    return run
            leaves.pop(0)
            count, at = 0, run.last_event_id
            run = self.agent.runs.join(self.thread_id, str(run.run_id), at)

    async def stored(self) -> list[JSON]:
        return await self.agent.threads.messages(self.thread_id)

    async def note(self, told: Sequence[JSON], heard: Listener, status: str) -> None:
        """What the reader now believes of the thread, and that he may come back to it."""
        assert status not in ("refused", "lost")
        stored = await self.stored()
        if status == "stopped":
            told = _as_far_as_kept(told, stored)
        own = {m["content"]: m["id"] for m in stored if m["type"] == "human"}
        self.told = tuple({**m, "id": own.get(m["text"], m.get("id"))} for m in told)
        self.is_failed = status == "failed"
        self.waiting = heard.interrupt
        self.is_answered = status in ("success", "stopped") and self.told[-1]["type"] == "ai"
        (latest,) = await self.agent.threads.history(self.thread_id, 1)
        self.old[latest["checkpoint"]["checkpoint_id"]] = self.told

    # What must hold

    @invariant()
    def the_thread_is_what_was_told(self) -> None:
        stored = self.does(self.stored())
        assert _plain(stored) == _plain_told(self.told)
        if not self.is_failed:  # what failed is where it failed; the next run puts it right
            assert_valid(stored, may_wait=self.waiting is not None)

    @invariant()
    def what_waits_is_seen(self) -> None:
        found = self.does(self.agent.threads.interrupts(self.thread_id))
        assert found == ([self.waiting] if self.waiting else [])

    @invariant()
    def the_old_states_are_readable(self) -> None:
        for checkpoint_id, told in self.old.items():
            stored = self.does(self.agent.threads.messages(self.thread_id, checkpoint_id))
            assert _plain(stored) == _plain_told(told)


CLOSED = (OPEN_CALL, STOPPED_CALL)


def _plain(stored: Sequence[JSON]) -> list[JSON]:
    """The thread's messages as they are told; results that only close a call are told nowhere."""
    made: list[JSON] = []
    for message in stored:
        plain: JSON = {"type": message["type"], "text": text_of(message)}
        if message["type"] == "ai":
            plain["calls"] = [(c["id"], c["name"], c["args"]) for c in message["tool_calls"]]
        if message["type"] == "tool":
            plain["call"] = message["tool_call_id"]
        if plain["text"] not in CLOSED:
            made.append(plain)
    return made


def _plain_told(told: Sequence[JSON]) -> list[JSON]:
    return [
        {key: value for key, value in message.items() if key != "id"}
        for message in told
        if message["text"] not in CLOSED
    ]


def _as_far_as_kept(told: Sequence[JSON], stored: Sequence[JSON]) -> list[JSON]:
    """What a stop leaves of it: it can come before a call was kept, or its kept result was told."""
    kept = {call["id"] for message in stored for call in message.get("tool_calls") or ()}
    results = {message["call"]: message for message in told if message["type"] == "tool"}
    made: list[JSON] = []
    for message in told:
        if message["type"] == "human":
            made.append(message)
        if message["type"] != "ai":
            continue
        calls = [call for call in message["calls"] if call[0] in kept]
        if message["text"] or calls:
            made.append({**message, "calls": calls})
        for result in _results_of(calls, stored):
            made.append(results.pop(result["call"], result))
    return [*made, *results.values()]


def _results_of(calls: Sequence[Any], stored: Sequence[JSON]) -> Iterator[JSON]:
    own = {call[0] for call in calls}
    for message in stored:
        if message["type"] == "tool" and message["tool_call_id"] in own:
            call, text = message["tool_call_id"], text_of(message)
            yield {"type": "tool", "call": call, "text": text}


def assert_valid(stored: Sequence[JSON], *, may_wait: bool) -> None:
    """As the OpenAI API wants it: each call is answered once, right after its message."""
    open_calls: list[str] = []
    for message in stored:
        if message["type"] == "tool":
            assert message["tool_call_id"] in open_calls, "a result without its call"
            open_calls.remove(message["tool_call_id"])
            continue
        assert not open_calls, "a call without its result"
        open_calls = [call["id"] for call in message.get("tool_calls") or ()]
    assert may_wait or not open_calls, "the last call has no result"


@pytest.mark.timeout(max(120, SEQUENCES * 10))
def test_any_sequence(retrying: LocalServer, model: ModelServer) -> None:
    """After each step the thread is valid for the model's API, and is what the reader was told."""

    run_state_machine_as_test(
        lambda: Conversation(retrying, model),
        settings=settings(
            max_examples=SEQUENCES or 12,
            stateful_step_count=8,
            derandomize=not SEQUENCES,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
