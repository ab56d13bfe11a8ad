"""How Chat Completions and the Responses API write a scripted reply. Pure: no sockets."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import orjson

from tests.model_script import JSON, Reply, ToolCall, Usage, tokens


class Event(NamedTuple):
    """Bytes to send; a token waits for its turn in a paced stream, everything else goes along."""

    data: bytes
    is_token: bool


def pieces(arguments: str, size: int = 6) -> list[str]:
    """The argument text of a call in the small pieces that a model streams."""
    return [arguments[at : at + size] for at in range(0, len(arguments), size)]


def token_count(reply: Reply) -> int:
    """How many tokens a stream of this reply sends."""
    spoken = (reply.reasoning, reply.text, reply.refusal)
    written = sum(1 + len(pieces(call.args_text)) for call in reply.tool_calls)
    return sum(len(tokens(text)) for text in spoken) + written


def _finish_reason(reply: Reply) -> str:
    return reply.finish_reason or ("tool_calls" if reply.tool_calls else "stop")


def _usage(reply: Reply, request: JSON) -> Usage:
    asked = orjson.dumps(request.get("messages") or request.get("input") or "")
    return reply.usage or Usage(len(asked.split()), token_count(reply))


def error_body(status: int, model: str = "") -> JSON:
    """OpenAI's JSON body for an HTTP error status."""
    message, kind, code = {
        400: ("The request cannot be answered.", "invalid_request_error", None),
        401: ("Incorrect API key provided.", "invalid_request_error", "invalid_api_key"),
        404: (f"The model `{model}` does not exist.", "invalid_request_error", "model_not_found"),
        429: ("Rate limit reached.", "requests", "rate_limit_exceeded"),
        503: ("The engine is currently overloaded.", "service_unavailable_error", None),
    }.get(status, ("The server had an error.", "server_error", None))
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


# Chat Completions


def _chat_usage(usage: Usage) -> JSON:
    total = usage.prompt_tokens + usage.completion_tokens
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": total,
    }


def _chat_base(request: JSON, number: int, kind: str) -> JSON:
    created, model = int(time.time()), request.get("model", "")
    return {"id": f"chatcmpl-{number}", "object": kind, "created": created, "model": model}


def _chat_call(call: ToolCall, number: int, index: int, arguments: str) -> JSON:
    function = {"name": call.name, "arguments": arguments}
    return {"id": call.id or f"call_{number}_{index}", "type": "function", "function": function}


def _sse(data: JSON) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"


def chat_stream(reply: Reply, request: JSON, number: int) -> Iterator[Event]:
    """The events of a streamed chat completion; `number` makes its ids."""
    wants_usage = bool((request.get("stream_options") or {}).get("include_usage"))
    base = _chat_base(request, number, "chat.completion.chunk")
    nulls = {"usage": None} if wants_usage else {}

    def chunk(delta: JSON, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _sse({**base, "choices": [choice], **nulls})

    def spoken(key: str, text: str | tuple[str, ...]) -> Iterator[Event]:
        before, after = chunk({key: "\0"}).split(rb'"\u0000"')
        return (Event(before + _json(word) + after, True) for word in tokens(text))

    yield Event(chunk({"role": "assistant", "content": ""}), False)
    yield from spoken("reasoning_content", reply.reasoning)
    yield from spoken("content", reply.text)
    yield from spoken("refusal", reply.refusal)
    for index, call in enumerate(reply.tool_calls):
        opening = {"index": index, **_chat_call(call, number, index, "")}
        yield Event(chunk({"tool_calls": [opening]}), True)
        for piece in pieces(call.args_text):
            more = {"index": index, "function": {"arguments": piece}}
            yield Event(chunk({"tool_calls": [more]}), True)
    yield Event(chunk({}, _finish_reason(reply)), False)
    if wants_usage:
        usage = _chat_usage(_usage(reply, request))
        yield Event(_sse({**base, "choices": [], "usage": usage}), False)
    yield Event(b"data: [DONE]\n\n", False)


def chat_whole(reply: Reply, request: JSON, number: int) -> JSON:
    """The body of a chat completion that is not streamed."""
    message: JSON = {"role": "assistant", "content": "".join(reply.text) or None}
    message["refusal"] = reply.refusal or None
    if reply.reasoning:
        message["reasoning_content"] = "".join(reply.reasoning)
    if reply.tool_calls:
        calls = enumerate(reply.tool_calls)
        message["tool_calls"] = [_chat_call(c, number, i, c.args_text) for i, c in calls]
    choice = {"index": 0, "message": message, "logprobs": None}
    choice["finish_reason"] = _finish_reason(reply)
    base = _chat_base(request, number, "chat.completion")
    return {**base, "choices": [choice], "usage": _chat_usage(_usage(reply, request))}


# Responses

_Part = tuple[str, JSON, bool]


def _response_items(reply: Reply, number: int) -> list[JSON]:
    items: list[JSON] = []
    if reply.reasoning:
        summary = [{"type": "summary_text", "text": "".join(reply.reasoning)}]
        items.append({"type": "reasoning", "id": f"rs_{number}", "summary": summary})
    spoken = {"output_text": "".join(reply.text), "refusal": reply.refusal}
    parts = [_content_part(kind, text) for kind, text in spoken.items() if text]
    if parts:
        message = {"type": "message", "id": f"msg_{number}", "role": "assistant"}
        items.append({**message, "status": "completed", "content": parts})
    for index, call in enumerate(reply.tool_calls):
        ids = {"id": f"fc_{number}_{index}", "call_id": call.id or f"call_{number}_{index}"}
        function = {"name": call.name, "arguments": call.args_text, "status": "completed"}
        items.append({"type": "function_call", **ids, **function})
    return items


def _content_part(kind: str, text: str) -> JSON:
    if kind == "refusal":
        return {"type": "refusal", "refusal": text}
    return {"type": kind, "text": text, "annotations": [], "logprobs": []}


def response_whole(reply: Reply, request: JSON, number: int) -> JSON:
    """The finished response object, which is also the body of one that is not streamed."""
    usage, thought = _usage(reply, request), len(tokens(reply.reasoning))
    cut = _finish_reason(reply) == "length"
    return {
        "id": f"resp_{number}",
        "object": "response",
        "created_at": int(time.time()),
        "model": request.get("model", ""),
        "status": "incomplete" if cut else "completed",
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "output": _response_items(reply, number),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": request.get("tools", []),
        "usage": {
            "input_tokens": usage.prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": usage.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": thought},
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        },
    }


def response_stream(reply: Reply, request: JSON, number: int) -> Iterator[Event]:
    """The events of a streamed response; `number` makes its ids."""
    final = response_whole(reply, request, number)
    opened = {**final, "status": "in_progress", "output": [], "usage": None}
    parts: list[_Part] = [("created", {"response": opened}, False)]
    parts.append(("in_progress", {"response": opened}, False))
    for index, item in enumerate(final["output"]):
        parts += _item_parts(reply, item, index)
    parts.append((final["status"], {"response": final}, False))
    for sequence, (name, fields, is_token) in enumerate(parts):
        kind = f"response.{name}"
        body = orjson.dumps({"type": kind, **fields, "sequence_number": sequence})
        yield Event(b"event: %s\ndata: %s\n\n" % (kind.encode(), body), is_token)


def _item_parts(reply: Reply, item: JSON, index: int) -> Iterator[_Part]:
    empty: dict[str, JSON] = {
        "reasoning": {"summary": []},
        "message": {"content": [], "status": "in_progress"},
        "function_call": {"arguments": "", "status": "in_progress"},
    }
    at = {"item_id": item["id"], "output_index": index}
    opening = {**item, **empty[item["type"]]}
    yield "output_item.added", {"output_index": index, "item": opening}, False
    if item["type"] == "reasoning":
        text = item["summary"][0]["text"]
        at = {**at, "summary_index": 0}
        part = {"type": "summary_text", "text": ""}
        yield "reasoning_summary_part.added", {**at, "part": part}, False
        yield from _deltas("reasoning_summary_text", at, tokens(reply.reasoning), {"text": text})
        yield "reasoning_summary_part.done", {**at, "part": {**part, "text": text}}, False
    elif item["type"] == "message":
        for place, part in enumerate(item["content"]):
            yield from _content_parts(reply, part, {**at, "content_index": place})
    else:
        text = item["arguments"]
        done = {"arguments": text, "name": item["name"]}
        yield from _deltas("function_call_arguments", at, pieces(text), done)
    yield "output_item.done", {"output_index": index, "item": item}, False


def _content_parts(reply: Reply, part: JSON, at: JSON) -> Iterator[_Part]:
    yield "content_part.added", {**at, "part": _content_part(part["type"], "")}, False
    if part["type"] == "refusal":
        yield from _deltas("refusal", at, tokens(reply.refusal), {"refusal": reply.refusal})
    else:
        done = {"text": part["text"], "logprobs": []}
        yield from _deltas("output_text", at, tokens(reply.text), done)
    yield "content_part.done", {**at, "part": part}, False


def _deltas(name: str, at: JSON, texts: Iterable[str], done: JSON) -> Iterator[_Part]:
    extra: JSON = {"logprobs": []} if name == "output_text" else {}
    for text in texts:
        yield f"{name}.delta", {**at, "delta": text, **extra}, True
    yield f"{name}.done", {**at, **done}, False


def _json(word: str) -> bytes:
    """As JSON; half of a surrogate pair, which orjson refuses, as an escape."""
    try:
        return orjson.dumps(word)
    except TypeError:
        return json.dumps(word).encode()
