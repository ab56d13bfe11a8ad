"""The chunks of a Chat Completions stream, or a whole completion, as OpenAI would send them."""

from collections.abc import Callable
from typing import Any

from agent.model.dialects.failures import UnusableAnswer, broken_off, raise_error_of
from agent.model.dialects.finish_reasons import finish_reason
from agent.model.dialects.halves import Halves
from agent.model.dialects.thinking import (
    THINKING_FIELDS,
    LoneClosingTag,
    ThinkTags,
    parts_of,
    reasoning_of,
)
from agent.model.dialects.tool_calls import Offer, ToolCalls
from agent.model.dialects.usage import usage_of

JSON = dict[str, Any]

_MADE_ANEW = frozenset(
    {"role", "content", "refusal", "tool_calls", "function_call", "id", *THINKING_FIELDS}
)

_NOT_OF_BASE = ("choices", "usage", "error", "errors")  # the SDK raises for any error


class ChatCompletions:
    """One answer. `hidden_openings` are models whose answers begin in the middle of reasoning.

    What ends an answer and what it cost are told once, by `end`.
    """

    def __init__(self, offer: Callable[[], Offer], hidden_openings: set[str]) -> None:
        self._hidden_openings = hidden_openings
        self._calls = ToolCalls(offer)
        self._reasoning, self._content = Halves(), Halves()
        self._tags: ThinkTags | None = None
        self._lone_tag = LoneClosingTag()
        self._choice_index: str | None = None
        self._finish: str | None = None
        self._is_refusal = False
        self._has_ended = False
        self._usage: JSON | None = None
        self._last: JSON | None = None
        self._has_opened = self._has_text = self._has_delta = False

    @property
    def has_ended(self) -> bool:
        """Whether the answer is known to be complete; more may still come."""
        return self._has_ended

    def add(self, event: Any, name: str = "") -> list[JSON]:
        """The regular chunks for one that came. Raises UnusableAnswer."""
        raise_error_of(event, name)
        if isinstance(event, list):  # some gateways send several chunks in one event
            return [made for each in event if isinstance(each, dict) for made in self.add(each)]
        if not isinstance(event, dict):
            return []
        if usage := usage_of(event):
            self._usage = usage
            self._has_ended = self._has_ended or not event.get("choices")
        choice = self._choice_of(event)
        if choice is None:
            return []
        self._last = event
        if reason := finish_reason(choice.get("finish_reason")):
            self._finish, self._has_ended = reason, True
        return self._chunks(event, choice, self._delta_of(choice))

    def passes(self, chunk: JSON) -> Callable[[str], bool] | None:
        """For a regular chunk: a check for the texts that may take its place without being parsed.

        None where each chunk like it has to be looked at.
        """
        delta = chunk["choices"][0]["delta"]
        if calls := delta.get("tool_calls"):
            return self._calls.passes(calls[0])
        if "reasoning_content" in delta:
            if self._tags is not None and not self._tags.is_past:
                return None  # it came as text, in which the closing tag has to be found
            return lambda text: not self._reasoning.pending
        return self._content_passes

    def mark_done(self) -> None:
        """The stream told by `[DONE]` that it is complete."""
        self._has_ended = self._has_ended or self._last is not None

    def end(self) -> list[JSON]:
        """What is left to tell at the end of the response. Raises UnusableAnswer."""
        if not self._has_ended or self._last is None:
            raise broken_off()
        if self._finish == "tool_calls" and not (self._calls or self._has_text):
            raise UnusableAnswer("ended as if it called a tool, and told no call: try again.")
        tags = self._tags or ThinkTags()
        reasoning, text = tags.end()
        texts = {
            "reasoning_content": self._reasoning.add(reasoning) + self._reasoning.end(),
            "content": self._content.add(text) + self._content.end(),
        }
        deltas: list[JSON] = [{key: value} for key, value in texts.items() if value]
        deltas += [{"tool_calls": [f]} for f in self._calls.end(self._finish == "length")]
        made = [_chunk(self._last, delta) for delta in deltas]
        made.append(_chunk(self._last, {}, self._reason()))
        if self._usage:
            made.append({**_base(self._last), "choices": [], "usage": self._usage})
        return made

    def _reason(self) -> str:
        if self._is_refusal:
            return "refusal"
        if self._calls and self._finish in (None, "stop"):  # Ollama, Gemini
            return "tool_calls"
        if self._finish == "tool_calls" and not self._calls:
            return "stop"
        return self._finish or "stop"

    def _choice_of(self, event: JSON) -> JSON | None:
        """Of several answers (`n` above 1) the first is the answer; not all count from 0."""
        choices = event.get("choices")
        for choice in choices if isinstance(choices, list) else [choices]:
            if isinstance(choice, dict):
                index = None if choice.get("index") is None else str(choice["index"])
                self._choice_index = self._choice_index or index
                if index in (None, self._choice_index):
                    return choice
        return None

    def _delta_of(self, choice: JSON) -> JSON:
        """What a chunk adds. Some gateways send `message`, at the end once more and whole."""
        delta = choice.get("delta")
        if isinstance(delta, str):
            return {"content": delta}
        if isinstance(delta, dict):
            self._has_delta = True
            return delta
        message = choice.get("message")
        if isinstance(message, dict) and not self._has_delta:
            return message
        return {"content": choice["text"]} if isinstance(choice.get("text"), str) else {}

    def _chunks(self, event: JSON, choice: JSON, delta: JSON) -> list[JSON]:
        made = {key: value for key, value in delta.items() if key not in _MADE_ANEW and value}
        reasoning, content = self._texts_of(event, delta)
        deltas: list[JSON] = []
        if reasoning:
            deltas.append({"reasoning_content": reasoning})
        if content:
            deltas.append({"content": content})
        fragments = self._calls.add(delta["tool_calls"]) if delta.get("tool_calls") else []
        if delta.get("function_call"):
            fragments += self._calls.add(delta["function_call"])
        deltas += [{"tool_calls": [fragment]} for fragment in fragments]
        if made or choice.get("logprobs"):
            deltas = [made | (deltas[0] if deltas else {}), *deltas[1:]]
        if not self._has_opened:
            self._has_opened = True
            deltas.insert(0, {"role": "assistant", "content": ""})
        first = {"logprobs": choice["logprobs"]} if choice.get("logprobs") else {}
        return [_chunk(event, delta, **(first if not n else {})) for n, delta in enumerate(deltas)]

    def _texts_of(self, event: JSON, delta: JSON) -> tuple[str, str]:
        reasoning = reasoning_of(delta)
        thought, content = parts_of(delta.get("content"))
        if isinstance(refusal := delta.get("refusal"), str) and refusal:
            self._is_refusal = True
            content += refusal
        reasoning = reasoning or thought
        if reasoning:
            self._lone_tag.is_over = True
            reasoning = self._reasoning.add(reasoning)
        if content:
            thought, content = self._said(event, self._content.add(content))
            reasoning += self._reasoning.add(thought) if thought else ""
        self._has_text = self._has_text or bool(content)
        return reasoning, content

    def _said(self, event: JSON, text: str) -> tuple[str, str]:
        """The reasoning and the answer in a text."""
        if self._tags is None:
            model = str(event.get("model"))
            self._tags = ThinkTags(model in self._hidden_openings and not self._lone_tag.is_over)
        reasoning, text = self._tags.add(text)
        if reasoning:
            self._lone_tag.is_over = True
        if text and self._lone_tag.is_in(text):
            if not self._has_text:
                self._tags = ThinkTags(begins_inside=True)
                return self._tags.add(text)
            self._hidden_openings.add(str(event.get("model")))
            raise UnusableAnswer(
                "sent its reasoning as if it were the answer: ask again, it is known now.",
                is_hint=True,
            )
        return reasoning, text

    def _content_passes(self, text: str) -> bool:
        tags = self._tags
        is_plain = tags is not None and tags.is_past and not self._content.pending
        return is_plain and self._lone_tag.passes(text)


def _base(event: JSON) -> JSON:
    base = {key: value for key, value in event.items() if key not in _NOT_OF_BASE}
    return base | {"object": "chat.completion.chunk"}


def _chunk(event: JSON, delta: JSON, finish: str | None = None, **more: Any) -> JSON:
    choice = {"index": 0, "delta": delta, "finish_reason": finish, **more}
    return {**_base(event), "choices": [choice]}
