"""The messages and tool calls of one run, gathered from whichever stream modes it has."""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..events import JSON, Retry, Token, ToolCall, ToolResult
from .digest import digest_in, digest_of
from .messages import messages_in, text_of, tool_result
from .snapshot import MOST_MESSAGES, CannotResume, Known, Stage, key_of

_FINISH_REASONS = frozenset({"stop", "length", "content_filter", "refusal", "tool_calls"})
_MODES_WITH_ENDS = frozenset({"updates", "events"})  # that show a message's end beside others


@dataclass
class _Message:
    """One message: its text in pieces, its calls, and what of it went out as tokens."""

    pieces: list[str] = field(default_factory=list)
    calls: list[JSON] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    digest: int = 0  # of what was sent, also before a reader went on here
    node: str = ""
    source: str = ""
    is_whole: bool = False

    def call_events(self, node: str) -> Iterator[ToolCall]:
        return (ToolCall(call["id"], call["name"], call["args"], node) for call in self.calls)


@dataclass
class Answer:
    """Messages of the model in the order they began; a complete one replaces its pieces.

    `finish_reason` is why the last one ended, where the model said so. With `is_narrowed`, only
    messages that the stream has shown are taken from states and from what nodes changed in them.
    """

    finish_reason: str | None = None
    is_narrowed: bool = False
    _messages: dict[str, _Message] = field(default_factory=dict)
    _unfinished_calls: dict[str, dict[str, JSON]] = field(default_factory=dict)
    _ids_before: set[str] | None = None
    _ids_seen: set[str] = field(default_factory=set)
    _ids_in_state: set[str] | None = None
    _ends: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _has_nameless: bool = False  # a node wrote a message without an id: the state gives it one
    _text_at_end: str | None = None
    _before: dict[int, Known] = field(default_factory=dict)  # read before, and not met again yet

    @property
    def text(self) -> str:
        """The answer: the last message's text, and after the run's end what the state says."""
        if self._text_at_end is not None:
            return self._text_at_end
        return "".join(next(reversed(self._messages.values())).pieces) if self._messages else ""

    @property
    def has_text(self) -> bool:
        return any(message.pieces for message in self._messages.values())

    @property
    def tool_calls(self) -> list[JSON]:
        """Every complete tool call of the run, as `{"id", "name", "args"}`, in order."""
        return [call for message in self._messages.values() for call in message.calls]

    def begin(self, message_id: str) -> None:
        """The model begins this message, or continues it."""
        self._of(message_id)

    def discard(self, message_id: str) -> None:
        """The model is tried again: what there is of this message is no part of the answer."""
        self._find(message_id)
        self._messages.pop(message_id, None)
        self._unfinished_calls.pop(message_id, None)
        self.finish_reason = None

    def note_end(self, message: JSON) -> None:
        """Takes why the model ended this message, from its last piece or from the whole."""
        reason = (message.get("response_metadata") or {}).get("finish_reason")
        if reason in _FINISH_REASONS:
            self.finish_reason = reason

    def note_seen(self, message: JSON) -> None:
        """The stream brought this message, which may be no part of the answer."""
        self._ids_seen.add(str(message.get("id")))

    def has(self, message: JSON) -> bool:
        return self._find(str(message.get("id"))) is not None

    def add_text(self, message_id: str, text: str, source: str = "messages") -> None:
        """Takes a piece, from the first mode that brings any: two modes bring each piece twice."""
        message = self._of(message_id)
        message.source = message.source or source
        if source == message.source:
            message.pieces.append(text)

    def token(self, message_id: str, text: str, node: str) -> Token:
        """The event by which this text of the message goes out."""
        message = self._of(message_id)
        message.sent.append(text)
        message.digest = digest_of(text, message.digest)
        message.node = node
        return Token(text, message_id, node)

    def add_call_text(self, message_id: str, call_id: str, tool: str, args_text: str) -> None:
        calls = self._unfinished_calls.setdefault(message_id, {})
        call = calls.setdefault(call_id, {"id": call_id, "name": tool, "args": []})
        call["args"].append(args_text)

    def finish(self, message_id: str, node: str) -> Iterator[ToolCall]:
        """The message is whole. Its tool calls: those whose arguments are a JSON object."""
        message = self._of(message_id)
        message.is_whole = True
        for call in self._unfinished_calls.pop(message_id, {}).values():
            args = _object("".join(call["args"]))
            if args is not None:
                message.calls.append({"id": call["id"], "name": call["name"], "args": args})
        return message.call_events(node)

    def read_message(self, whole: JSON) -> None:
        """Takes a complete message; only the model's count."""
        self.note_seen(whole)
        if whole.get("type") not in ("ai", "AIMessageChunk"):
            return
        self.note_end(whole)
        if self.is_narrowed and not self.has(whole):
            return
        message = self._of(str(whole.get("id")))
        message.pieces, message.is_whole = [text] if (text := text_of(whole)) else [], True
        message.calls = [
            {k: c[k] for k in ("id", "name", "args")} for c in whole.get("tool_calls") or ()
        ]

    def read_delta(self, delta: Any) -> None:
        """Takes what a node changed."""
        for message in messages_in(delta):
            if message.get("id") is None:
                self._has_nameless = True
                continue
            self.read_message(message)
            self._ends[str(message.get("id"))].add("updates")

    def read_state(self, state: Any) -> None:
        """Takes a full state; what the first one holds was there before the run."""
        messages = messages_in(state)
        self._ids_in_state = {str(message.get("id")) for message in messages}
        if self._ids_before is None:
            self._ids_before = self._ids_in_state
        for message in messages:
            if str(message.get("id")) not in self._ids_before:
                self.read_message(message)

    def read_event(self, event: JSON, is_visible: bool = True) -> None:
        """Takes a LangChain event: the pieces and ends of chat model calls."""
        kind, data = event["event"], event.get("data") or {}
        for message in _ended_by(kind, data.get("output")):
            self._ends[str(message.get("id"))].add("events")
            self.note_seen(message)
            if kind == "on_chat_model_end" and is_visible:
                self.begin(str(message.get("id")))
                self.read_message(message)
        if kind == "on_chat_model_stream" and is_visible:
            chunk = data["chunk"]
            if text := text_of(chunk):
                self.add_text(str(chunk.get("id")), text, "events")

    def drop_unfinished(self, attempt: int, reason: str) -> Iterator[Retry]:
        """The run is tried again: drops the messages that are not whole, and says so."""
        if any(known.stage is Stage.BEGUN for known in self._before.values()):
            raise CannotResume  # their ids are not known
        for message_id in [at for at, each in self._messages.items() if not each.is_whole]:
            dropped = self._messages.pop(message_id)
            if self._unfinished_calls.pop(message_id, None) or dropped.digest:
                yield Retry(attempt, message_id, reason)

    def missing(
        self, state: Any, previous_id: str | None, modes: frozenset[str] = frozenset()
    ) -> set[str]:
        """The messages of this run that the state holds and that have not arrived to their end.

        Args:
            state: the values of the thread's state.
            previous_id: the message before the run's own, which are those after it until a person
                speaks again. None: not known; then only messages that have begun are compared.
            modes: the run's stream modes. A message has its end in each of them that shows ends:
                one can be cut off behind another.
        """
        after = () if self._has_nameless else _messages_after(state, previous_id)
        own = {str(message.get("id")) for message in after}
        spoken = {str(m.get("id")) for m in messages_in(state) if m.get("type") != "human"}
        expected = spoken & (own | self._messages.keys())
        return {at for at in expected if not self._is_whole(at, modes & _MODES_WITH_ENDS)}

    def has_any(self, message_ids: set[str]) -> bool:
        """Whether anything of one of these messages has arrived."""
        return bool(message_ids & self._messages.keys())

    def _is_whole(self, message_id: str, modes: frozenset[str]) -> bool:
        if self._ids_in_state is not None and message_id not in self._ids_in_state:
            return False
        if message := self._find(message_id):
            return message.is_whole and modes <= self._ends[message_id]
        return message_id in self._ids_seen

    def read_end(self, state: Any, previous_id: str | None) -> None:
        """Takes the state at the run's end: it decides what the answer is, if it holds any of it.

        Messages that no part of the stream spoke of are taken, too, unless the run is narrowed to
        some nodes.
        """
        own = {str(message.get("id")) for message in _messages_after(state, previous_id)}
        for message in messages_in(state):
            if message.get("type") == "ai" and (self.has(message) or message.get("id") in own):
                self.read_message(message)
                if self.has(message):
                    self._text_at_end = text_of(message)

    def corrections(self, state: Any, attempt: int) -> Iterator[Retry | Token]:
        """What makes the tokens the texts of the state after the run, which is always right."""
        for whole in messages_in(state):
            message_id, text = str(whole.get("id")), text_of(whole)
            message = self._messages.get(message_id)
            if message is None or message.digest in (0, digest_in(whole)):
                continue
            sent = "".join(message.sent)
            self.read_message(whole)
            if not text.startswith(sent):
                yield Retry(attempt, message_id, "what had arrived is not what the thread holds")
                sent = ""
                message.sent.clear()
                message.digest = 0
            if rest := text[len(sent) :]:
                yield self.token(message_id, rest, message.node)

    def unsent(
        self, state: Any, previous_id: str | None
    ) -> Iterator[Token | ToolCall | ToolResult]:
        """What the thread holds of the run, and nothing of it had arrived.

        Of a run that was stopped, or whose events the server does not store. Where `previous_id`
        is not known, that is a last message that is marked as stopped.
        """
        is_known = previous_id is not None
        own = _messages_after(state, previous_id) if is_known else _last_if_stopped(state)
        for message in own:
            message_id = str(message.get("id"))
            if message_id in self._ids_seen:
                continue
            if message.get("type") == "tool":
                self.note_seen(message)
                yield tool_result(message)
            elif message.get("type") == "ai":
                known, text = self._of(message_id), text_of(message)
                if not known.is_whole:
                    yield from self.whole_message(message, "model")
                elif text and not known.digest:  # its end arrived, and no piece of it
                    yield self.token(message_id, text, "model")

    def whole_message(self, whole: JSON, node: str) -> Iterator[Token | ToolCall]:
        """Takes a complete message. Its events: its text, unless any went out, and its calls."""
        self.read_message(whole)
        message_id, text = str(whole.get("id")), text_of(whole)
        message = self._of(message_id)
        if text and not message.digest:  # else `corrections` has the rest
            yield self.token(message_id, text, node)
        yield from message.call_events(node)

    def known(self) -> dict[int, Known] | None:
        """What a reader has to know who goes on here, by the messages' keys.

        None within a tool call that is being written, whose arguments so far would be needed, and
        where there are many messages.
        """
        count = len(self._before) + len(self._ids_seen) + len(self._messages)
        if self._unfinished_calls or count > MOST_MESSAGES:
            return None
        seen = {key_of(at): Known(0, Stage.SEEN) for at in self._ids_seen}
        messages = {
            key_of(at): Known(each.digest, Stage.WHOLE if each.is_whole else Stage.BEGUN)
            for at, each in self._messages.items()
        }
        return {**self._before, **seen, **messages}

    def resume(self, known: dict[int, Known]) -> None:
        """Begins after what another reader has read."""
        self._before = dict(known)

    def is_confirmed_by(self, state: Any, previous_id: str | None) -> bool:
        """Whether the state, or its outline, holds what went out, and no more of the run."""
        texts_agree = all(
            message.digest in (0, digest_in(whole))
            for whole in messages_in(state)
            if (message := self._find(str(whole.get("id"))))
        )
        return texts_agree and not self.missing(state, previous_id)

    def read_whole_run(self, state: Any, previous_id: str | None) -> None:
        """Takes all messages of the run from the state at its end, also those read before.

        An outline of the state brings their tool calls, and no text.
        """
        self._messages.clear()
        self.read_end(state, previous_id)

    def _of(self, message_id: str) -> _Message:
        return self._find(message_id) or self._messages.setdefault(message_id, _Message())

    def _find(self, message_id: str) -> _Message | None:
        if self._before and (known := self._before.pop(key_of(message_id), None)):
            if known.stage is Stage.SEEN:
                self._ids_seen.add(message_id)
            else:
                is_whole = known.stage is Stage.WHOLE
                self._messages[message_id] = _Message(digest=known.digest, is_whole=is_whole)
        return self._messages.get(message_id)


def _ended_by(kind: str, output: Any) -> list[JSON]:
    """The messages that a LangChain event brings whole."""
    if kind == "on_chat_model_end":
        return [output]
    return messages_in(output) if kind == "on_chain_end" else []


def _messages_after(state: Any, previous_id: str | None) -> Iterator[JSON]:
    """Those after the one with this id, until a person speaks again."""
    is_own = False
    for message in messages_in(state):
        if message.get("id") == previous_id or message.get("type") == "human":
            is_own = previous_id is not None and message.get("id") == previous_id
        elif is_own:
            yield message


def _last_if_stopped(state: Any) -> Iterator[JSON]:
    for message in messages_in(state)[-1:]:
        if (message.get("response_metadata") or {}).get("finish_reason") == "stopped":
            yield message


def _object(text: str) -> JSON | None:
    try:
        parsed = json.loads(text or "{}", strict=False)  # models write raw newlines in strings
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None
