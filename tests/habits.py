"""What endpoints send that OpenAI does not document: who does it, the bytes, what must come of it.

Each habit is the answer to a first question; where it calls a tool, the next answer is `SAID`.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

JSON = dict[str, Any]
SAID = "The answer is 42."
WORDS = ("The", " answer", " is", " 42.")


def block(event: Any) -> bytes:
    return b"data: " + json.dumps(event).encode() + b"\n\n"


def chunk(delta: Any, finish: Any = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    base = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "odd"}
    return block({**base, "choices": [choice], **more})


def text(*words: str) -> list[bytes]:
    return [chunk({"content": word}) for word in words]


def call(arguments: Any = None, name: Any = "calculate", **fields: Any) -> JSON:
    function = {"name": name, "arguments": arguments}
    made = {"index": 0, "id": "a", "type": "function"} | fields
    known = {key: value for key, value in function.items() if value is not None}
    return {key: value for key, value in made.items() if value is not ...} | {"function": known}


def calls(*fragments: JSON) -> list[bytes]:
    return [chunk({"tool_calls": [fragment]}) for fragment in fragments]


ONE, TWO = '{"expression": "1+1"}', '{"expression": "2+2"}'
DONE = b"data: [DONE]\n\n"
OPEN = chunk({"role": "assistant", "content": ""})
STOP = [chunk({}, "stop"), DONE]
CALLED = [chunk({}, "tool_calls"), DONE]
PLAIN = [OPEN, *text(*WORDS)]


@dataclass(frozen=True)
class Habit:
    """`expressions` are those of the calls of `calculate` that were meant; `error` is told instead
    of an answer, after one request where `asked_once`. `before` is said before the calls.
    `langchain` is whether LangChain alone gives the same text, calls and end."""

    name: str
    who: str
    raw: Sequence[bytes]
    langchain: bool
    text: str = SAID
    expressions: Sequence[str] = ()
    before: str = ""
    reasoning: str = ""
    usage: tuple[int, int] | None = None
    finish: str = "stop"
    error: str = ""
    asked_once: bool = False
    type: str = "text/event-stream"
    headers: JSON = field(default_factory=dict)


def _whole(message: JSON, finish: str = "stop", **more: Any) -> list[bytes]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return [json.dumps({"id": "c", "choices": [choice], **more}).encode()]


def _usage(prompt: Any, completion: Any, total: Any) -> JSON:
    return {
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": total,
        }
    }


_ONE, _TWO = ("1+1",), ("1+1", "2+2")
_CRLF = [b.replace(b"\n", b"\r\n") for b in [*PLAIN, *STOP]]

# fmt: off
STREAMS = [
    Habit("plain", "OpenAI", [*PLAIN, *STOP], True),
    Habit("event: ping", "Anthropic's gateways", [OPEN, b"event: ping\n\n", *PLAIN, *STOP], False),
    Habit("retry line first", "gateways", [b"retry: 3000\n\n", *PLAIN, *STOP], False),
    Habit("ids and comments", "OpenRouter", [b": PROCESSING\n\n", b"id: 1\n" + OPEN,
          b"id: 2\n: x\n\n", *text(*WORDS), *STOP], False),
    Habit("CRLF", "Windows servers", _CRLF, True),
    Habit("CR", "old servers", [b.replace(b"\n", b"\r") for b in [*PLAIN, *STOP]], True),
    Habit("byte-order mark", ".NET gateways", [b"\xef\xbb\xbf" + OPEN, *text(*WORDS), *STOP],
          True),
    Habit("several data lines", "proxies", [b'data: {"choices": [{"index": 0,\ndata: "delta": '
          b'{"content": "The answer is 42."}}]}\n\n', *STOP], True),
    Habit("no blank line at the end", "small servers", [*PLAIN, chunk({}, "stop"),
          b"data: [DONE]"], True),
    Habit("bytes that are no UTF-8", "llama.cpp", [OPEN, b'data: {"choices":[{"index":0,"delta":'
          b'{"content":"\xff"}}]}\n\n', *STOP], False, text="\ufffd"),
    Habit("one character in two halves", "Java gateways", [*text("Hi \ud83d", "\ude00"), *STOP],
          False, text="Hi 😀"),
    Habit("half a character", "Java gateways", [*text("Hi \ud83d", "!"), *STOP], False,
          text="Hi \ufffd!"),
    Habit("no finish reason", "small servers", [*PLAIN, DONE], True),
    Habit("no [DONE]", "small servers", [*PLAIN, chunk({}, "stop")], True),
    Habit("half an event behind the end", "a proxy that cuts", [*PLAIN, chunk({}, "stop"),
          b'data: {"choices": [], "usage": {"prompt_to'], True),
    Habit("usage is the end", "gateways", [*PLAIN, block({"choices": [], **_usage(5, 4, 9)})],
          True, usage=(5, 4)),
    Habit("neither end", "a server that died", PLAIN, False, error="broke off"),
    Habit("nothing at all", "a gateway without a model", [b""], False, error="broke off"),
    Habit("the last delta is null", "Azure", [*PLAIN, chunk(None, "stop"), DONE], True),
    Habit("message instead of delta", "gateways", [block({"choices": [{"index": 0, "message":
          {"role": "assistant", "content": SAID}, "finish_reason": "stop"}]}), DONE], False),
    Habit("a finish reason on each chunk", "gateways", [chunk({"content": word}, "stop") for word in
          WORDS] + [DONE], True),
    Habit("several answers", "n above 1", [*PLAIN, block({"choices": [{"index": 1, "delta":
          {"content": "No."}}]}), *STOP], False),
    Habit("cut at the limit", "everybody", [*PLAIN, chunk({}, "MAX_TOKENS"), DONE], True,
          finish="length"),
    Habit("filtered", "Gemini", [*PLAIN, chunk({}, "SAFETY"), DONE], True,
          finish="content_filter"),
    Habit("end_turn", "Anthropic through gateways", [*PLAIN, chunk({}, "end_turn"), DONE], True),
    Habit("no resources", "DeepSeek", [*PLAIN, chunk({}, "insufficient_system_resource"), DONE],
          False, error="insufficient_system_resource"),
    Habit("aborted", "vLLM", [*PLAIN, chunk({}, "abort"), DONE], False, error="abort"),
    Habit("refusal", "OpenAI", [OPEN, chunk({"refusal": "The answer "}), chunk({"refusal":
          "is 42."}), *STOP], False, finish="refusal"),
    Habit("content is a list", "Mistral", [chunk({"content": [{"type": "thinking", "thinking":
          [{"type": "text", "text": "hmm"}]}]}), chunk({"content": [{"type": "text", "text":
          SAID}]}), *STOP], False, reasoning="hmm"),
    Habit("reasoning", "OpenRouter, Ollama", [chunk({"reasoning": "hmm"}), *PLAIN, *STOP], False,
          reasoning="hmm"),
    Habit("reasoning_content", "DeepSeek, vLLM", [chunk({"reasoning_content": "hmm"}), *PLAIN,
          *STOP], False, reasoning="hmm"),
    Habit("reasoning_details", "OpenRouter", [chunk({"reasoning_details": [{"type":
          "reasoning.text", "text": "hmm"}]}), *PLAIN, *STOP], False, reasoning="hmm"),
    Habit("<think>", "Qwen, DeepSeek", [*text("<thi", "nk>hm", "m</thi", "nk>\n\n", *WORDS), *STOP],
          False, reasoning="hmm"),
    Habit("<think>, a word at a time", "Qwen, DeepSeek", [*text("<think>", "h", "m", "m",
          "</think>", "\n\n", *WORDS), *STOP], False, reasoning="hmm"),
    Habit("◁think▷", "Kimi", [*text("◁think▷hmm◁/thi", "nk▷", *WORDS), *STOP], False,
          reasoning="hmm"),
    Habit("<think> in a text", "everybody", [*text("Use ", "<think>", "x</think>"), *STOP], True,
          text="Use <think>x</think>"),
    Habit("usage on each chunk", "vLLM, Kimi", [chunk({"content": word}, **_usage(5, n, 5 + n)) for
          n, word in enumerate(WORDS, 1)] + STOP, False, usage=(5, 4)),
    Habit("usage twice, with fractions and texts", "OpenRouter", [*PLAIN, chunk({}, "stop",
          **_usage(5.0, "3", None)), block({"choices": [], **_usage("5", 4.0, 9.0)}), DONE], False,
          usage=(5, 4)),
    Habit("an error without `error`", "vLLM", [*text("The"), block({"object": "error", "message":
          "CUDA out of memory", "code": 500}), DONE], False, error="CUDA out of memory"),
    Habit("an error that is a text", "gateways", [block({"error": "CUDA out of memory"})], False,
          error="CUDA out of memory"),
    Habit("an error in an error", "LiteLLM", [block({"error": {"error": {"message":
          "CUDA out of memory"}}})], False, error="CUDA out of memory"),
    Habit("choices: null", "gateways", [block({"choices": None, "message":
          "CUDA out of memory"})], False, error="CUDA out of memory"),
    Habit("detail", "FastAPI", [block({"detail": "CUDA out of memory"})], False,
          error="CUDA out of memory"),
    Habit("event: error", "Anthropic's gateways", [b"event: error\ndata: CUDA out of memory\n\n"],
          False, error="CUDA out of memory"),
    Habit("no JSON", "proxies", [*text("The"), b"data: <oops>\n\n"], False, error="cannot be read"),
    Habit("no space behind `data:`", "vLLM", [b.replace(b"data: ", b"data:") for b in [*PLAIN,
          *STOP]], True),
    Habit("no choices at first", "Azure", [block({"choices": [], "created": 0, "id": "", "model":
          "", "prompt_filter_results": [{"prompt_index": 0}]}), *PLAIN, *STOP], True),
    Habit("nulls everywhere", "llama.cpp", [chunk({"role": "assistant", "content": word,
          "tool_calls": None, "function_call": None, "refusal": None, "reasoning_content": None})
          for word in WORDS] + [chunk({"role": None, "content": None, "tool_calls": []}, "stop"),
          DONE], True),
    Habit("the whole text beside each piece", "Perplexity", [block({"choices": [{"index": 0,
          "delta": {"content": word}, "message": {"content": "".join(WORDS[:n])}}]}) for n, word in
          enumerate(WORDS, 1)] + STOP, True),
    Habit("`text` beside the delta", "Together", [block({"choices": [{"index": 0, "text": word,
          "delta": {"content": word}}]}) for word in WORDS] + STOP, True),
    Habit("choices count from 1", "gateways", [block({"choices": [{"index": 1, "delta": {"content":
          word}, "finish_reason": None}]}) for word in WORDS] + [block({"choices": [{"index": 1,
          "delta": {}, "finish_reason": "stop"}]}), DONE], True),
    Habit("the choice is no list", "gateways", [block({"choices": {"index": 0, "delta": {"content":
          SAID}}}), *STOP], False),
    Habit("a list of chunks", "Gemini's gateways", [b"data: [" + chunk({"content": SAID},
          "stop")[6:].strip() + b"]\n\n", DONE], False),
    Habit("an empty list for a delta", "PHP gateways", [*PLAIN, chunk([], "stop"), DONE], False),
    Habit("a quoted [DONE]", "gateways", [*PLAIN, b'data: "[DONE]"\n\n'], False),
    Habit("tool_calls behind a text", "small models", [*PLAIN, *CALLED], True),
    Habit("usage in the choice", "Kimi", [*PLAIN, block({"choices": [{"index": 0, "delta": {},
          "finish_reason": "stop", **_usage(5, 4, 9)}]}), DONE], False, usage=(5, 4)),
    Habit("an error that says nothing", "gateways", [block({"choices": [{"index": 0, "delta":
          {"content": word}}], "error": {"code": 0, "message": ""}}) for word in WORDS] + STOP,
          False),
    Habit("an `error:` line", "llama.cpp", [*text("The"), b'error: {"code": 500, "message": '
          b'"CUDA out of memory"}\n\n'], False, error="CUDA out of memory"),
    Habit("a status and a message", "Cerebras", [block({"status_code": 500, "message":
          "CUDA out of memory"})], False, error="CUDA out of memory"),
]
CALLS = [
    Habit("all calls are number 0", "Ollama", [*calls(call(ONE), call(TWO, id="b")), *CALLED], True,
          expressions=_TWO),
    Habit("no index", "Gemini", [*calls(call(ONE, index=...), call(TWO, id="b", index=...)),
          *CALLED], True, expressions=_TWO),
    Habit("index is null", "gateways", [*calls(call(ONE, index=None), call(TWO, id="b",
          index=None)), *CALLED], True, expressions=_TWO),
    Habit("index is a text", "gateways", [*calls(call(ONE, index="0"), call(TWO, id="b",
          index="1")), *CALLED], True, expressions=_TWO),
    Habit("no id", "vLLM's parsers", [*calls(call(ONE, id=...)), *CALLED], False,
          expressions=_ONE),
    Habit("an empty id", "gateways", [*calls(call(ONE, id="")), *CALLED], True, expressions=_ONE),
    Habit("the id in each fragment", "gateways", [*calls(call(ONE[:9]), call(ONE[9:], None)),
          *CALLED], True, expressions=_ONE),
    Habit("a new id in each fragment", "gateways", [*calls(call(ONE[:9]), call(ONE[9:], None,
          id="b")), *CALLED], False, expressions=_ONE),
    Habit("the name in each fragment", "gateways", [*calls(call(ONE[:9]), call(ONE[9:])), *CALLED],
          False, expressions=_ONE),
    Habit("a name in two pieces", "gateways", [*calls(call(None, "calc"), call(None, "ulate",
          id=...), call(ONE, None, id=...)), *CALLED], True, expressions=_ONE),
    Habit("interleaved calls", "OpenAI", [*calls(call(ONE[:9]), call(TWO[:9], id="b", index=1),
          call(ONE[9:], None, id=...), call(TWO[9:], None, id=..., index=1)), *CALLED], True,
          expressions=_TWO),
    Habit("arguments are {} first", "gateways", [*calls(call("{}"), call(ONE, None, id=...)),
          *CALLED], False, expressions=_ONE),
    Habit("arguments are an object", "Ollama", [*calls(call({"expression": "1+1"})), *CALLED],
          False, expressions=_ONE),
    Habit("arguments are encoded twice", "GLM", [*calls(call(json.dumps(ONE))), *CALLED], False,
          expressions=_ONE),
    Habit("arguments are null", "gateways", [*calls(call("null")), *CALLED], False,
          error="with no arguments|cannot be read"),
    Habit("no arguments", "gateways", [*calls(call("")), *CALLED], False,
          error="with no arguments"),
    Habit("later fragments without index", "gateways", [*calls(call(ONE[:9]), call(ONE[9:], None,
          id=..., index=...)), *CALLED], False, expressions=_ONE),
    Habit("function: null", "gateways", [*calls(call(ONE)), chunk({"tool_calls": [{"index": 0,
          "function": None}]}), *CALLED], False, expressions=_ONE),
    Habit("function_call", "old servers", [chunk({"function_call": {"name": "calculate",
          "arguments": ONE[:9]}}), chunk({"function_call": {"arguments": ONE[9:]}}),
          chunk({}, "function_call"), DONE], False, expressions=_ONE),
    Habit("stop behind a call", "Gemini, Ollama", [*calls(call(ONE)), *STOP], True,
          expressions=_ONE),
    Habit("a character in two halves in arguments", "Java gateways", [*calls(call('{"expression": '
          '"1+1", "why": "\ud83d'), call('\ude00"}', None, id=...)), *CALLED], False,
          expressions=_ONE),
    Habit("half a character in arguments", "Java gateways", [*calls(call('{"expression": "1+1", '
          '"why": "\\ud83d"}')), *CALLED], False, expressions=_ONE),
    Habit("cut inside arguments", "everybody", [*calls(call(ONE[:9])), chunk({}, "length"), DONE],
          False, error="cut at the model's limit", asked_once=True),
    Habit("arguments that are no JSON", "small models", [*calls(call("{'expression': ")),
          *CALLED], False, error="cannot be read"),
    Habit("the id is the text null", "Mistral", [*calls(call(ONE, id="null"), call(TWO, id="null",
          index=1)), *CALLED], False, expressions=_TWO),
    Habit("all in one chunk", "gateways", [chunk({"reasoning_content": "hmm", "content": "",
          "tool_calls": [call(ONE)]}, "tool_calls"), DONE], False, expressions=_ONE,
          reasoning="hmm"),
    Habit("calls are an object", "PHP gateways", [chunk({"tool_calls": {"0": call(ONE)}}),
          *CALLED], False, expressions=_ONE),
    Habit("a prefix before the name", "Gemini, gpt-oss", [*calls(call(ONE,
          "default_api.calculate")), *CALLED], False, expressions=_ONE),
    Habit("a mark behind the name", "gpt-oss", [*calls(call(ONE,
          "calculate<|channel|>commentary")), *CALLED], False, expressions=_ONE),
    Habit("a mark behind the arguments", "gpt-oss", [*calls(call(f"{ONE}<|call|>")), *CALLED],
          True, expressions=_ONE),
    Habit("arguments in a code block", "small models", [*calls(call(f"```json\n{ONE}\n```")),
          *CALLED], False, expressions=_ONE),
    Habit("two objects as arguments", "vLLM's parsers", [*calls(call(ONE), call(TWO, None,
          id=...)), *CALLED], False, error="cannot be read"),
    Habit("tool_calls without a call", "small models", [OPEN, *CALLED], False,
          error="told no call"),
]
WHOLE = [
    Habit("JSON lines without `data:`", "proxies", [b.removeprefix(b"data: ").replace(b"\n\n",
          b"\n") for b in [*PLAIN, *STOP]], False),
    Habit("not a stream", "gateways", _whole({"content": SAID}), False, type="application/json"),
    Habit("a call, not in a stream", "gateways", _whole({"content": None, "tool_calls": [call(ONE,
          index=...)]}, "tool_calls"), False, expressions=_ONE, type="application/json"),
    Habit("an error, not in a stream", "gateways", [b'{"error": {"message": '
          b'"CUDA out of memory"}}'], False, error="CUDA out of memory", type="application/json"),
    Habit("a web page", "a wrong URL", [b"<!doctype html><title>Hello</title>"], False,
          error="OPENAI_BASE_URL", asked_once=True, type="text/html"),
    Habit("compressed", "CDNs", [gzip.compress(b"".join([*PLAIN, *STOP]))], True,
          headers={"content-encoding": "gzip"}),
]
# fmt: on
HABITS = [*STREAMS, *CALLS, *WHOLE]


def table(habits: Sequence[Habit]) -> str:
    """A table of `agent/model/README.md`: `python -m tests.habits_of_responses` prints both."""
    rows = ["| habit | who does it | LangChain alone | here |", "|---|---|---|---|"]
    for habit in habits:
        here = f"told: {habit.error.partition('|')[0]}" if habit.error else "understood"
        alone = "right" if habit.langchain else "wrong"
        cells = [habit.name, habit.who, alone, here]
        rows.append(f"| {' | '.join(cell.replace('<', '&lt;') for cell in cells)} |")
    return "\n".join(rows)
