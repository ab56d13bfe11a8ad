"""What endpoints of the Responses API send: who does it, the bytes, what must come of it.

As in `tests.habits`: each is the answer to a first question; `SAID` is what comes behind a call.
"""

from __future__ import annotations

import json
from typing import Any

from tests.habits import DONE, HABITS, JSON, ONE, SAID, TWO, WORDS, Habit, table

RESPONSE: JSON = {
    "id": "resp_1", "object": "response", "created_at": 1, "model": "odd", "status": "in_progress",
    "output": [], "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
}  # fmt: skip
COUNTS: JSON = {
    "input_tokens": 5, "output_tokens": 4, "total_tokens": 9,
    "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0},
}  # fmt: skip


def event(kind: str, **fields: Any) -> bytes:
    data = json.dumps({"type": kind, "sequence_number": 1, **fields})
    return f"event: {kind}\ndata: {data}\n\n".encode()


def message(*parts: JSON, status: str = "completed") -> JSON:
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": status,
            "content": list(parts)}  # fmt: skip


def part(text: str) -> JSON:
    return {"type": "output_text", "text": text, "annotations": []}


def deltas(*words: str, kind: str = "response.output_text", **at: Any) -> list[bytes]:
    place = {"output_index": 0, "content_index": 0, "item_id": "msg_1", "logprobs": [], **at}
    return [event(f"{kind}.delta", delta=word, **place) for word in words]


def ended(*items: JSON, status: str = "completed", **fields: Any) -> list[bytes]:
    whole = {**RESPONSE, "status": status, "output": list(items), "usage": COUNTS, **fields}
    return [event(f"response.{status}", response=whole)]


def item_done(item: JSON, index: int = 0) -> bytes:
    return event("response.output_item.done", output_index=index, item=item)


def item_added(item: JSON, index: int = 0) -> bytes:
    return event("response.output_item.added", output_index=index, item=item)


def asked(arguments: Any, number: int = 0, **fields: Any) -> JSON:
    made = {"type": "function_call", "id": f"fc_{number}", "call_id": f"call_{number}",
            "name": "calculate", "arguments": arguments, "status": "completed"}  # fmt: skip
    return {key: value for key, value in (made | fields).items() if value is not ...}


def argument_deltas(*texts: str, number: int = 0) -> list[bytes]:
    at = {"output_index": number, "item_id": f"fc_{number}"}
    return [event("response.function_call_arguments.delta", delta=text, **at) for text in texts]


def arguments_done(text: Any, number: int = 0) -> bytes:
    at = {"output_index": number, "item_id": f"fc_{number}"}
    return event("response.function_call_arguments.done", arguments=text, **at)


def bare(raw: list[bytes], *, without: str) -> list[bytes]:
    """The events without their `event:` line, or without a field."""
    if without == "event":
        return [each[each.index(b"data:") :] for each in raw]
    made = []
    for each in raw:
        head, _, data = each.partition(b"data: ")
        fields = json.loads(data)
        fields.pop(without, None)
        made.append(head + b"data: " + json.dumps(fields).encode() + b"\n\n")
    return made


CREATED = event("response.created", response=RESPONSE)
OPEN = [
    CREATED,
    item_added(message(status="in_progress")),
    event("response.content_part.added", output_index=0, content_index=0, item_id="msg_1",
          part=part("")),
]  # fmt: skip
CLOSE = [
    event("response.output_text.done", output_index=0, content_index=0, item_id="msg_1", text=SAID,
          logprobs=[]),
    event("response.content_part.done", output_index=0, content_index=0, item_id="msg_1",
          part=part(SAID)),
    item_done(message(part(SAID))),
]  # fmt: skip
ENDED = ended(message(part(SAID)))
PLAIN = [*OPEN, *deltas(*WORDS), *CLOSE, *ENDED]
CALL = [
    CREATED, item_added(asked("", status="in_progress")), *argument_deltas(ONE[:9], ONE[9:]),
    arguments_done(ONE), item_done(asked(ONE)), *ended(asked(ONE)),
]  # fmt: skip
BOTH = [CREATED, item_added(asked("")), item_added(asked("", 1), 1)]
REFUSED = message({"type": "refusal", "refusal": SAID})
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hmm"}]}
_ONE, _TWO = ("1+1",), ("1+1", "2+2")


def _whole(*items: JSON, **fields: Any) -> list[bytes]:
    whole = {**RESPONSE, "status": "completed", "output": list(items), "usage": COUNTS, **fields}
    return [json.dumps(whole).encode()]


# fmt: off
RESPONSES = [
    Habit("plain", "OpenAI", PLAIN, True, usage=(5, 4)),
    Habit("no `event:` lines", "vLLM, gateways", bare(PLAIN, without="event"), True, usage=(5, 4)),
    Habit("the type on the `event:` line alone", "gateways", bare(PLAIN, without="type"), False),
    Habit("no sequence numbers", "gateways", bare(PLAIN, without="sequence_number"), True),
    Habit("no places", "gateways", bare(bare(PLAIN, without="output_index"),
          without="content_index"), True),
    Habit("comments, pings and [DONE]", "LiteLLM, proxies", [b": x\n\n",
          b"event: ping\ndata: {}\n\n", *PLAIN, DONE], True),
    Habit("response.done is the end", "OpenRouter", [*PLAIN[:-1], event("response.done",
          response={**RESPONSE, "status": "completed", "usage": COUNTS})], False, usage=(5, 4)),
    Habit("the text at its end alone", "gateways", [*OPEN, *CLOSE, *ENDED], False),
    Habit("the text in the last event alone", "gateways", [CREATED, *ENDED], False),
    Habit("no usage", "small servers", [*PLAIN[:-1], *ended(message(part(SAID)), usage=None)],
          True),
    Habit("one character in two halves", "Java gateways", [*OPEN, *deltas("Hi \ud83d", "\ude00"),
          *ended(message(part("Hi 😀")))], False, text="Hi 😀"),
    Habit("cut at the limit", "everybody", [*OPEN, *deltas(*WORDS), *ended(message(part(SAID),
          status="incomplete"), status="incomplete", incomplete_details={"reason":
          "max_output_tokens"})], True, finish="length"),
    Habit("filtered", "Azure", [*OPEN, *deltas(*WORDS), *ended(message(part(SAID)),
          status="incomplete", incomplete_details={"reason": "content_filter"})], True,
          finish="content_filter"),
    Habit("refusal", "OpenAI", [*OPEN, *deltas("The answer ", "is 42.", kind="response.refusal"),
          item_done(REFUSED), *ended(REFUSED)], False, finish="refusal"),
    Habit("a summary of its reasoning", "OpenAI", [CREATED, item_added({**THOUGHT, "summary": []}),
          *deltas("hm", "m", kind="response.reasoning_summary_text", summary_index=0,
          item_id="rs_1"), item_done(THOUGHT), item_added(message(), 1), *deltas(*WORDS,
          output_index=1), item_done(message(part(SAID)), 1), *ended(THOUGHT, message(part(SAID)))],
          True, reasoning="hmm"),
    Habit("open reasoning", "vLLM, LM Studio", [CREATED, *deltas("hm", "m",
          kind="response.reasoning_text", item_id="rs_1"), *deltas(*WORDS, output_index=1),
          *ended(message(part(SAID)))], False, reasoning="hmm"),
    Habit("neither end", "a server that died", PLAIN[:-1], False, error="broke off"),
    Habit("failed", "OpenAI", [CREATED, event("response.failed", response={**RESPONSE, "status":
          "failed", "error": {"code": "server_error", "message": "CUDA out of memory"}})], True,
          error="CUDA out of memory"),
    Habit("event: error", "OpenAI", [CREATED, event("error", code="server_error", message=
          "CUDA out of memory", param=None)], True, error="CUDA out of memory"),
    Habit("an error in an error", "gateways", [*OPEN, *deltas("The"), event("error", error={"type":
          "server_error", "message": "CUDA out of memory"})], True, error="CUDA out of memory"),
    Habit("an error without a type", "gateways", [CREATED, b'data: {"error": {"message": '
          b'"CUDA out of memory"}}\n\n'], True, error="CUDA out of memory"),
    Habit("a call", "OpenAI", CALL, True, expressions=_ONE),
    Habit("two calls, interleaved", "OpenAI", [*BOTH, *argument_deltas(ONE[:9]), *argument_deltas(
          TWO[:9], number=1), *argument_deltas(ONE[9:]), *argument_deltas(TWO[9:], number=1),
          *ended(asked(ONE), asked(TWO, 1))], False, expressions=_TWO),
    Habit("all items are number 0", "gateways", [CREATED, item_added(asked("")), *argument_deltas(
          ONE), item_done(asked(ONE)), item_added(asked("", 1)), event(
          "response.function_call_arguments.delta", delta=TWO, output_index=0, item_id="fc_1"),
          item_done(asked(TWO, 1)), *ended(asked(ONE), asked(TWO, 1))], False, expressions=_TWO),
    Habit("another item id in each event", "LiteLLM", [CREATED, item_added(asked("")), *bare(
          argument_deltas(ONE[:9]), without="item_id"), event(
          "response.function_call_arguments.delta", delta=ONE[9:], output_index=0, item_id="x"),
          item_done(asked(ONE, id="y")), *ended(asked(ONE, id="z"))], True, expressions=_ONE),
    Habit("text, then a call", "OpenAI", [*OPEN, *deltas("Let me see."), item_added(asked(""), 1),
          event("response.function_call_arguments.delta", delta=ONE, output_index=1, item_id="f"),
          item_done(asked(ONE), 1), *ended(message(part("Let me see.")), asked(ONE))], True,
          expressions=_ONE, before="Let me see."),
    Habit("arguments at their end alone", "gateways", [CREATED, item_added(asked("")),
          arguments_done(ONE), item_done(asked(ONE)), *ended(asked(ONE))], False, expressions=_ONE),
    Habit("a call when it is whole", "LM Studio, gateways", [CREATED, item_added(asked(ONE)),
          item_done(asked(ONE)), *ended(asked(ONE))], True, expressions=_ONE),
    Habit("a call at its end alone", "gateways", [CREATED, item_done(asked(ONE)), *ended(
          asked(ONE))], False, expressions=_ONE),
    Habit("a call in the last event alone", "gateways", [CREATED, *ended(asked(ONE))], False,
          expressions=_ONE),
    Habit("a call without call_id", "gateways", [CREATED, item_added(asked("", call_id=...)),
          *argument_deltas(ONE), item_done(asked(ONE, call_id=...)), *ended(asked(ONE,
          call_id=...))], False, expressions=_ONE),
    Habit("arguments are an object", "gateways", [CREATED, item_added(asked({"expression": "1+1"})),
          *ended(asked({"expression": "1+1"}))], False, expressions=_ONE),
    Habit("a call without a name", "gateways", [CREATED, item_added(asked(ONE, name=None)), *ended(
          asked(ONE, name=None))], False, error="without naming it"),
    Habit("cut inside arguments", "everybody", [CREATED, item_added(asked("")), *argument_deltas(
          ONE[:9]), *ended(asked(ONE[:9]), status="incomplete", incomplete_details={"reason":
          "max_output_tokens"})], False, error="cut at the model's limit", asked_once=True),
    Habit("arguments that are no JSON", "small models", [CREATED, item_added(asked("")),
          *argument_deltas("{'expression': "), *ended(asked("{'expression': "))], False,
          error="cannot be read"),
    Habit("no arguments", "gateways", [CREATED, item_added(asked("")), *ended(asked(""))], False,
          error="cannot be read|with no arguments"),
    Habit("not a stream", "gateways", _whole(message(part(SAID))), False, type="application/json"),
    Habit("a call, not in a stream", "gateways", _whole(asked(ONE)), False, expressions=_ONE,
          type="application/json"),
    Habit("an error, not in a stream", "gateways", _whole(status="failed", error={"message":
          "CUDA out of memory"}), False, error="CUDA out of memory", type="application/json"),
]
# fmt: on


if __name__ == "__main__":
    print(table(HABITS), table(RESPONSES), sep="\n\n")
