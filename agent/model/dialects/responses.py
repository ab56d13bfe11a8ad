"""The events of a Responses API stream, or a whole response, as OpenAI would send them."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from agent.model.dialects.failures import UnusableAnswer, broken_off, raise_error_of
from agent.model.dialects.halves import Halves, dumps
from agent.model.dialects.tool_calls import Offer, arguments_object

JSON = dict[str, Any]

_TEXT, _SUMMARY = "response.output_text", "response.reasoning_summary_text"
_ARGUMENTS = "response.function_call_arguments"
_RENAMED = {"response.refusal": _TEXT, "response.reasoning_text": _SUMMARY}  # vLLM, LM Studio
_STEMS_OF = {
    "message": (_TEXT, "response.refusal"),
    "reasoning": (_SUMMARY, "response.reasoning_text"),
}
_ENDS = ("response.completed", "response.incomplete", "response.done")  # OpenRouter sends the last


@dataclass
class _Call:
    """A call, by which its later events are known: LangChain takes its id from its first alone."""

    call_id: str
    name: str
    texts: list[str] = field(default_factory=list)
    is_done: bool = False

    def is_complete(self) -> bool:
        """Whether all of it was told, so that another item may follow."""
        may_be = self.is_done or (bool(self.texts) and self.texts[-1].rstrip().endswith("}"))
        return may_be and (self.is_done or arguments_object("".join(self.texts)) is not None)


class Responses:
    """One response; refusals and open reasoning become texts of the kinds that are read.

    Some gateways tell texts and calls only when they are whole, or only in the last event.
    """

    def __init__(self, offer: Callable[[], Offer]) -> None:
        self._ask_offer = offer
        self._halves = defaultdict[tuple[str, Any], Halves](Halves)
        self._calls: dict[Any, _Call] = {}  # by the place of the item
        self._places: dict[Any, int] = {}  # by the item's id
        self._told: set[tuple[str, Any]] = set()
        self._turn: Any = None  # the place of the call that is told
        self._waiting: list[JSON] = []  # events of other items, until it is whole
        self._has_refused = False
        self.has_ended = False

    def add(self, event: Any, name: str = "") -> list[JSON]:
        """The regular events for one that came. Raises UnusableAnswer."""
        if not isinstance(event, dict):
            raise_error_of(event, name)
            return []
        kind = str(event.get("type") or name)
        if kind == "error" or not kind.startswith("response."):
            return self._whole(event) if isinstance(event.get("output"), list) else _other(event)
        if kind in ("response.failed", "response.error"):
            raise_error_of(event.get("response") or event, "error")
        if kind in _ENDS:
            return self._complete({**event, "type": kind})
        return self._in_turn(self._regular({**event, "type": kind}))

    def passes(self, event: JSON) -> Callable[[str], bool] | None:
        """Whether other texts at the place of this one go by as they are."""
        kind, place = event["type"].removesuffix(".delta"), event.get("output_index")
        halves = self._halves[kind, place]
        if kind != _ARGUMENTS:
            return lambda text: not (self._turn in self._calls or halves.pending)
        call = self._calls.get(place)
        if call is None:
            return None
        return lambda text: (
            self._turn == place and not (self._waiting or halves.pending) and _note(call, text)
        )

    def mark_done(self) -> None:
        """`[DONE]`, which some gateways send here too, adds nothing to the event of the end."""

    def end(self) -> list[JSON]:
        """Nothing is left to tell. Raises UnusableAnswer where the end was not told."""
        if not self.has_ended:
            raise broken_off()
        return []

    def _regular(self, event: JSON) -> list[JSON]:
        stem, _, step = event["type"].rpartition(".")
        if stem == "response.output_item" and isinstance(event.get("item"), dict):
            return self._item(event, step)
        self._has_refused = self._has_refused or stem == "response.refusal"
        regular = _RENAMED.get(stem, stem)
        if regular in (_TEXT, _SUMMARY, _ARGUMENTS):
            event["output_index"] = self._place(event)
            if step == "delta" and isinstance(event.get("delta"), str):
                return self._delta({**event, "type": f"{regular}.delta"}, stem)
            if step == "done":
                return self._done(event, stem, regular)
        return [event]

    def _place(self, event: JSON, is_new: bool = False) -> int:
        """The place of an event's item in the output: some gateways tell none, or 0 for all."""
        place, item = event.get("output_index"), event.get("item")
        item_id = item.get("id") if isinstance(item, dict) else event.get("item_id")
        taken = self._places.values()
        if item_id in self._places:
            return self._places[item_id]
        if not isinstance(place, int) or (is_new and place in taken):
            place = max(taken, default=-1) + (1 if is_new or item_id else 0)
        place = max(place, 0)
        self._places[item_id or f"at {place}"] = place
        return place

    def _item(self, event: JSON, step: str) -> list[JSON]:
        """An item that is opened, or told whole."""
        item, known = event["item"], self._calls.get(event.get("output_index"))
        is_known = known is not None and known.call_id == item.get("call_id")
        may_be_new = step == "added" or bool(known and known.is_done)
        place = self._place(event, may_be_new and not is_known)
        event["output_index"] = place
        if not _is_call(item):
            return [event] if step == "added" else [*self._untold(item, place), event]
        made, call = list[JSON](), self._calls.get(place)
        if call is None:
            call = self._calls[place] = _Call(self._call_id(item), str(item.get("name") or ""))
            opened = {**item, "call_id": call.call_id, "arguments": ""}
            made.append({**event, "type": "response.output_item.added", "item": opened})
        if not call.texts:
            made += self._arguments_of(call, place, _arguments(item))
        if step == "done":
            call.is_done = True
            whole = {**item, "call_id": call.call_id, "arguments": _arguments(item)}
            made.append({**event, "item": whole})
        return made

    def _arguments_of(self, call: _Call, place: int, text: str) -> list[JSON]:
        if not text:
            return []
        delta = {"type": f"{_ARGUMENTS}.delta", "output_index": place, "delta": text}
        return self._delta({**delta, "item_id": call.call_id, "sequence_number": 0}, _ARGUMENTS)

    def _call_id(self, item: JSON) -> str:
        """The call's id, or one of our own where it has none or another call's."""
        taken = {call.call_id for call in self._calls.values()} | self._ask_offer().ids
        own = item.get("call_id") or item.get("id")
        return own if isinstance(own, str) and own not in taken else f"call_{uuid4().hex[:24]}"

    def _in_turn(self, events: list[JSON]) -> list[JSON]:
        """The events, but those of other items only when the call that is told is whole."""
        made: list[JSON] = []
        for event in events:
            place, call = event.get("output_index"), self._calls.get(self._turn)
            if place is None:
                made.append(event)
            elif call and place != self._turn and (self._waiting or not call.is_complete()):
                self._waiting.append(event)
            else:
                self._turn = place
                made.append(event)
        call = self._calls.get(self._turn)
        if self._waiting and (call is None or call.is_complete()):
            waiting, self._waiting, self._turn = self._waiting, [], None
            made += self._in_turn(waiting)
        return made

    def _delta(self, event: JSON, stem: str) -> list[JSON]:
        kind, place = event["type"].removesuffix(".delta"), event["output_index"]
        self._told.add((stem, place))
        text = self._halves[kind, place].add(event["delta"])
        if kind == _ARGUMENTS and place in self._calls:
            self._calls[place].texts.append(text)
        event["delta"] = text
        if kind == _SUMMARY:
            event.setdefault("summary_index", event.pop("content_index", 0))
        if kind == _TEXT:
            event.setdefault("content_index", 0)
            event.setdefault("logprobs", [])
        return [event] if text else []

    def _done(self, event: JSON, stem: str, regular: str) -> list[JSON]:
        """The whole text of what was told piece by piece, or never was."""
        place, made = event["output_index"], list[JSON]()
        if (stem, place) not in self._told:
            name = {"response.refusal": "refusal", _ARGUMENTS: "arguments"}.get(stem, "text")
            text = _arguments(event) if stem == _ARGUMENTS else event.get(name)
            if isinstance(text, str) and text:
                made = self._delta({**event, "type": f"{regular}.delta", "delta": text}, stem)
        if pending := self._halves[regular, place].end():
            made.append({**event, "type": f"{regular}.delta", "delta": pending})
        return made if stem in _RENAMED or stem == _ARGUMENTS else [*made, event]

    def _untold(self, item: JSON, place: int) -> list[JSON]:
        """The texts of an item, where none of them was told before."""
        made: list[JSON] = []
        parts = [*(item.get("summary") or ()), *(item.get("content") or ())]
        stems = _STEMS_OF.get(str(item.get("type")), ())
        if any((stem, place) in self._told for stem in stems):
            return []
        for n, part in enumerate(each for each in parts if isinstance(each, dict)):
            stem = "response.refusal" if part.get("refusal") else stems[0] if stems else ""
            text = part.get("text") or part.get("refusal")
            if stem and isinstance(text, str):
                at = {"output_index": place, "item_id": item.get("id"), "content_index": n}
                made += self._regular({"type": f"{stem}.delta", **at, "delta": text})
        return made

    def _complete(self, event: JSON) -> list[JSON]:
        response = event.get("response")
        if not isinstance(response, dict):
            raise broken_off()
        details = response.get("incomplete_details") or {}
        is_cut = "incomplete" in (event["type"].rpartition(".")[2], response.get("status"))
        made = self._untold_output(response)
        for call in self._calls.values():
            self._check(call.name, "".join(call.texts), is_cut)
            call.is_done = True
        if is_cut and details.get("reason") not in ("max_output_tokens", "content_filter"):
            raise UnusableAnswer(f"stopped before the end of its answer: {details.get('reason')}.")
        self.has_ended = True
        output = [each for each in response.get("output") or () if not _is_call(each)]
        response = {**response, "output": output}
        if self._has_refused:
            response["metadata"] = {**(response.get("metadata") or {}), **_REFUSED}
        kind = f"response.{'incomplete' if is_cut else 'completed'}"
        return [*made, *self._in_turn([]), {**event, "type": kind, "response": response}]

    def _untold_output(self, response: JSON) -> list[JSON]:
        """What only the last event tells: texts where there were none, calls that are new."""
        made: list[JSON] = []
        items = [item for item in response.get("output") or () if isinstance(item, dict)]
        has_text = any(stem != _ARGUMENTS for stem, _ in self._told)
        is_new = len(self._calls) < sum(map(_is_call, items))
        known = {call.call_id for call in self._calls.values()}
        for item in items:
            place = max([*self._calls, *(place for _, place in self._told), -1]) + 1
            if _is_call(item):
                if is_new and item.get("call_id") not in known:
                    added = {"type": "response.output_item.done", "output_index": place}
                    made += self._in_turn(self._item({**added, "item": item}, "done"))
            elif not has_text:
                made += self._in_turn(self._untold(item, place))
        return made

    def _check(self, name: str, text: str, is_cut: bool) -> None:
        """Raises UnusableAnswer for a call that nobody meant."""
        if not name:
            raise UnusableAnswer("called a tool without naming it: try again.")
        is_empty = not text.strip() and not self._ask_offer().needs_arguments.get(name)
        if is_empty or arguments_object(text) is not None:
            return
        if is_cut:
            raise UnusableAnswer(
                f"was cut at the model's limit inside the arguments of {name}: "
                "ask for less at a time, or choose a model with a higher limit.",
                can_help=False,
            )
        raise UnusableAnswer(
            f"called {name} with arguments that cannot be read: try again, or choose another model."
        )

    def _whole(self, response: JSON) -> list[JSON]:
        """A response that did not stream, as events."""
        raise_error_of({"error": response.get("error"), "choices": []})
        created = self.add({"type": "response.created", "response": {**response, "output": []}})
        return created + self.add({"type": "response.completed", "response": response})


_REFUSED = {"steady_finish_reason": "refusal"}


def _is_call(item: Any) -> bool:
    return isinstance(item, dict) and item.get("type") == "function_call"


def _arguments(fields: JSON) -> str:
    """The arguments as text; some gateways send an object."""
    value = fields.get("arguments")
    return value if isinstance(value, str) else dumps(value).decode() if value else ""


def _other(event: JSON) -> list[JSON]:
    """An event of no kind of this API: an error in one of its forms, or a ping."""
    raise_error_of(event, "error" if event.get("type") == "error" else "")
    return []


def _note(call: _Call, text: str) -> bool:
    call.texts.append(text)
    return True
