"""What a scripted model is told to say, and which reply a request is due. Pure: no sockets.

A question is answered by its script. Any other is echoed, or obeyed if it is one of these, which
need no script and so drive a server in another process:

    stream 500 tokens                              word0 word1 ... as fast as the server may
    stream 500 tokens at 50 per second
    stream 500 tokens then disconnect after 20     any kind of `Fault`, at every attempt
    call search_docs {"query": "frames"}           calls the tool, then says that it is done
    fail 503                                       that HTTP status, at every attempt

LangChain's prompt for a summary is answered by `SUMMARY`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Literal, cast

import orjson

JSON = dict[str, Any]

AFTER_RESULTS = "The pictures of the results above, in their order:"  # no question of the user's
SUMMARY = "They counted turns."
SUMMARY_PROMPT = "<role>\nContext Extraction Assistant\n</role>"
_DIRECTIVE = re.compile(
    r"stream (?P<tokens>\d+) tokens(?: at (?P<rate>[\d.]+) per second)?"
    r"(?: then (?P<kind>disconnect|end|stall|bad_json|error_event) after (?P<after>\d+))?"
    r"|call (?P<tool>\w+) (?P<args>\{.*\})"
    r"|fail (?P<status>\d{3})",
    re.DOTALL,
)


@dataclass(frozen=True)
class ToolCall:
    """A tool call; `args` is a mapping, or the exact argument text, which may be broken JSON."""

    name: str
    args: Mapping[str, Any] | str = field(default_factory=dict)
    id: str | None = None

    @property
    def args_text(self) -> str:
        return self.args if isinstance(self.args, str) else orjson.dumps(dict(self.args)).decode()


@dataclass(frozen=True)
class Usage:
    """Token counts as the model would report them."""

    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Fault:
    """What goes wrong, once `after_tokens` tokens have been sent.

    `status` answers with that HTTP status before anything is sent; `disconnect` cuts the
    connection; `end` ends the response cleanly, unfinished; `stall` falls silent until the reader
    leaves; `bad_json` sends one broken event and goes on; `error_event` sends an error and ends.
    """

    kind: Literal["status", "disconnect", "end", "stall", "bad_json", "error_event"] = "status"
    after_tokens: int = 0
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """One answer of the model.

    `text` is split into words that keep their leading space; a tuple gives the exact tokens.
    `fails` are the faults of the first requests for this reply, one each; `fault` is that of every
    later one. A speed of None is the server's own.

    `raw` is sent as it is instead of all of this, each of its blocks as an HTTP chunk of its own,
    as `raw_type` and with the headers `raw_headers`.
    """

    text: str | tuple[str, ...] = ""
    reasoning: str | tuple[str, ...] = ""
    tool_calls: Sequence[ToolCall] = ()
    refusal: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None
    tokens_per_second: float | None = None
    first_token_seconds: float | None = None
    fault: Fault | None = None
    fails: Sequence[Fault] = ()
    raw: Sequence[bytes] | None = None
    raw_type: str = "text/event-stream"
    raw_headers: Mapping[str, str] = field(default_factory=dict)


def tokens(text: str | tuple[str, ...]) -> tuple[str, ...]:
    """Splits text into words that keep their leading white space."""
    return text if isinstance(text, tuple) else tuple(re.findall(r"\s*\S+|\s+", text))


def place(messages: str | list[JSON]) -> tuple[str, int]:
    """The last user message's text, and how many model calls have answered it so far."""
    if isinstance(messages, str):
        return messages, 0
    users = [at for at, message in enumerate(messages) if _is_question(message)]
    if not users:
        return "", 0
    after = messages[users[-1] + 1 :]
    if not any("type" in message for message in after):
        calls = sum(message.get("role") == "assistant" for message in after)
    else:  # the Responses API gives one call's output as several items in a row
        calls = sum(spoke for spoke, _ in groupby(after, _is_model_output))
    return _text(messages[users[-1]].get("content") or ""), calls


def _is_question(message: JSON) -> bool:
    is_users = message.get("role") == "user"
    return is_users and _text(message.get("content") or "") != AFTER_RESULTS


def _is_model_output(item: JSON) -> bool:
    return item.get("role") == "assistant" or item.get("type") in ("function_call", "reasoning")


def _text(content: str | list[JSON]) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def unscripted(question: str, step: int) -> Reply:
    """The reply to a question that no script answers: a directive obeyed, or an echo."""
    if question.startswith(SUMMARY_PROMPT):
        return Reply(SUMMARY)
    asked = _DIRECTIVE.fullmatch(question.strip())
    if asked is None:
        return Reply(f"You said: {question}")
    if asked["status"]:
        return Reply(fault=Fault(status=int(asked["status"])))
    if asked["tool"]:
        call = ToolCall(asked["tool"], asked["args"])
        return Reply("The tool is done.") if step else Reply(tool_calls=[call])
    words = tuple(f"{' ' if n else ''}word{n}" for n in range(int(asked["tokens"])))
    rate = float(asked["rate"]) if asked["rate"] else None
    kind = cast(Any, asked["kind"])
    fault = Fault(kind, after_tokens=int(asked["after"])) if kind else None
    return Reply(words, tokens_per_second=rate, fault=fault)
