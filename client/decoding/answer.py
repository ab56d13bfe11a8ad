"""What a run has said and called so far, gathered from whichever stream modes it has."""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..events import JSON, Retry, Token, ToolCall, ToolResult
from .messages import text_of, tool_result

_ENDING = frozenset({"updates", "events"})  # modes that tell of a message's end beside others


@dataclass
class _Said:
    """One message: its text in pieces, its calls, and what of it went out as tokens."""

    pieces: list[str] = field(default_factory=list)
    calls: list[JSON] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    node: str = ""
    source: str = ""
    is_whole: bool = False


@dataclass
class Answer:
    """Messages of the model in the order they began; a complete one replaces its pieces."""

    _said: dict[str, _Said] = field(default_factory=dict)
    _writing: dict[str, dict[str, JSON]] = field(default_factory=dict)
    _before: set[str] | None = None
    _noticed: set[str] = field(default_factory=set)
    _last_state: set[str] | None = None
    _ends: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    @property
    def text(self) -> str:
        """The last message's text: the answer."""
        return "".join(next(reversed(self._said.values())).pieces) if self._said else ""

    @property
    def has_text(self) -> bool:
        return any(said.pieces for said in self._said.values())

    @property
    def tool_calls(self) -> list[JSON]:
        """Every complete tool call of the run, as `{"id", "name", "args"}`, in order."""
        return [call for said in self._said.values() for call in said.calls]

    def begin(self, message_id: str) -> None:
        """The model begins this message, or goes on with it."""
        self._of(message_id)

    def discard(self, message_id: str) -> None:
        """The model is tried again: what there is of this message is no part of the answer."""
        self._said.pop(message_id, None)
        self._writing.pop(message_id, None)

    def notice(self, message: JSON) -> None:
        """A message came by that is no part of the answer."""
        self._noticed.add(str(message.get("id")))

    def knows(self, message: JSON) -> bool:
        return str(message.get("id")) in self._said

    def add_text(self, message_id: str, text: str, source: str = "messages") -> None:
        """Takes a piece, from the first mode that brings any: two modes bring each piece twice."""
        said = self._of(message_id)
        said.source = said.source or source
        if source == said.source:
            said.pieces.append(text)

    def tell(self, message_id: str, text: str, node: str) -> Token:
        """The token in which this text of the message goes out."""
        said = self._of(message_id)
        said.told.append(text)
        said.node = node
        return Token(text, message_id, node)

    def add_call_text(self, message_id: str, call_id: str, tool: str, args_text: str) -> None:
        calls = self._writing.setdefault(message_id, {})
        call = calls.setdefault(call_id, {"id": call_id, "name": tool, "args": []})
        call["args"].append(args_text)

    def finish(self, message_id: str) -> list[JSON]:
        """The message is whole: its tool calls; one whose arguments are no JSON object is none."""
        said = self._of(message_id)
        said.is_whole = True
        for call in self._writing.pop(message_id, {}).values():
            args = _object("".join(call["args"]))
            if args is not None:
                said.calls.append({"id": call["id"], "name": call["name"], "args": args})
        return said.calls

    def read_message(self, message: JSON) -> None:
        """Takes a complete message; only the model's count."""
        self.notice(message)
        if message.get("type") not in ("ai", "AIMessageChunk"):
            return
        said = self._of(str(message.get("id")))
        said.pieces, said.is_whole = [text] if (text := text_of(message)) else [], True
        said.calls = [
            {k: c[k] for k in ("id", "name", "args")} for c in message.get("tool_calls") or ()
        ]

    def read_delta(self, delta: Any) -> None:
        """Takes what a node changed."""
        for message in _messages(delta):
            self.read_message(message)
            self._ends[str(message.get("id"))].add("updates")

    def read_state(self, state: Any) -> None:
        """Takes a full state; what the first one holds was there before the run."""
        messages = _messages(state)
        self._last_state = {str(message.get("id")) for message in messages}
        if self._before is None:
            self._before = {str(message.get("id")) for message in messages}
        for message in messages:
            if str(message.get("id")) not in self._before:
                self.read_message(message)

    def read_event(self, event: JSON, is_for_the_person: bool = True) -> None:
        """Takes a LangChain event: the pieces and ends of chat model calls."""
        kind, data = event["event"], event.get("data") or {}
        for message in _ended_by(kind, data.get("output")):
            self._ends[str(message.get("id"))].add("events")
            self.notice(message)
            if kind == "on_chat_model_end" and is_for_the_person:
                self.read_message(message)
        if kind == "on_chat_model_stream" and is_for_the_person:
            chunk = data["chunk"]
            if text := text_of(chunk):
                self.add_text(str(chunk.get("id")), text, "events")

    def begin_again(self, attempt: int, reason: str) -> Iterator[Retry]:
        """Drops the messages that are not whole, and says so: the run tries again."""
        for message_id in [at for at, said in self._said.items() if not said.is_whole]:
            dropped = self._said.pop(message_id)
            if self._writing.pop(message_id, None) or dropped.told:
                yield Retry(attempt, message_id, reason)

    def missing(
        self, state: Any, since: str | None, modes: frozenset[str] = frozenset()
    ) -> set[str]:
        """The messages of this run that the state holds and that have not arrived to their end.

        The run's own are those after the one with the id `since`, until a person speaks again.
        Where that is not known, only messages that have begun are looked at. What the model said
        has its end in each of `modes` that tells of it: one can be cut off behind another.
        """
        own = {str(message.get("id")) for message in _messages_after(state, since)}
        said = {str(m.get("id")) for m in _messages(state) if m.get("type") != "human"}
        return {at for at in said & (own | self._said.keys()) if not self._has(at, modes & _ENDING)}

    def has_begun(self, message_ids: set[str]) -> bool:
        """Whether anything of one of these messages has arrived."""
        return bool(message_ids & self._said.keys())

    def _has(self, message_id: str, modes: frozenset[str]) -> bool:
        if self._last_state is not None and message_id not in self._last_state:
            return False
        if said := self._said.get(message_id):
            return said.is_whole and modes <= self._ends[message_id]
        return message_id in self._noticed

    def put_right(self, state: Any, attempt: int) -> Iterator[Retry | Token]:
        """What is missing or wrong in the tokens, by the state after the run: the last word."""
        for message in _messages(state):
            message_id, text = str(message.get("id")), text_of(message)
            said = self._said.get(message_id)
            told = "".join(said.told) if said else ""
            if said is None or not told or told == text:
                continue
            self.read_message(message)
            if not text.startswith(told):
                yield Retry(attempt, message_id, "what had arrived is not what the thread holds")
                told = ""
                said.told.clear()
            if rest := text[len(told) :]:
                yield self.tell(message_id, rest, said.node)

    def unheard(self, state: Any, since: str | None) -> Iterator[Token | ToolCall | ToolResult]:
        """What a stopped run had said or done, and kept, before anything of it had arrived.

        Where `since` is not known, that is a last message that is marked as stopped.
        """
        own = _stopped_last(state) if since is None else _messages_after(state, since)
        for message in own:
            message_id = str(message.get("id"))
            if message_id in self._noticed:
                continue
            if message.get("type") == "tool":
                self.notice(message)
                yield tool_result(message)
            elif message.get("type") == "ai" and not self._of(message_id).is_whole:
                yield from self.tell_whole(message, "model")

    def tell_whole(self, message: JSON, node: str) -> Iterator[Token | ToolCall]:
        """Takes a complete message; tells its text, unless any of it went out, and its calls."""
        self.read_message(message)
        message_id, text = str(message.get("id")), text_of(message)
        said = self._of(message_id)
        if text and not said.told:  # else `put_right` tells the rest
            yield self.tell(message_id, text, node)
        for call in said.calls:
            yield ToolCall(call["id"], call["name"], call["args"], node)

    def _of(self, message_id: str) -> _Said:
        return self._said.setdefault(message_id, _Said())


def _ended_by(kind: str, output: Any) -> list[JSON]:
    """The messages that a LangChain event brings whole."""
    if kind == "on_chat_model_end":
        return [output]
    return _messages(output) if kind == "on_chain_end" else []


def _messages(state: Any) -> list[JSON]:
    if isinstance(state, list):  # several changes of one node
        return [message for each in state if isinstance(each, dict) for message in _messages(each)]
    messages = state.get("messages") if isinstance(state, dict) else None
    if isinstance(messages, dict):
        messages = [messages]
    return [m for m in messages or () if isinstance(m, dict)]


def _messages_after(state: Any, since: str | None) -> Iterator[JSON]:
    """Those after the one with this id, until a person speaks again."""
    is_own = False
    for message in _messages(state):
        if message.get("id") == since or message.get("type") == "human":
            is_own = since is not None and message.get("id") == since
        elif is_own:
            yield message


def _stopped_last(state: Any) -> Iterator[JSON]:
    for message in _messages(state)[-1:]:
        if (message.get("response_metadata") or {}).get("finish_reason") == "stopped":
            yield message


def _object(text: str) -> JSON | None:
    try:
        parsed = json.loads(text or "{}", strict=False)  # models write raw newlines in strings
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None
