"""Tool calls: which fragment belongs to which call, and what its arguments are.

OpenAI sends a call's id and name once, at its first fragment, and tells later ones by `index`.
Others number all calls 0 (Ollama) or none (Gemini), give no id (vLLM's parsers) or a new one in
each fragment, repeat the name, send arguments whole, as an object, encoded twice, or after `{}`.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from agent.model.dialects.failures import UnusableAnswer
from agent.model.dialects.halves import Halves, dumps, escaped_halves, without_halves

JSON = dict[str, Any]

CALL_ID = "call_id"  # of a fragment whose call was told before; LangChain joins those of `id`
_NO_ARGUMENTS = ("", "null", "None")
_FRAGMENT_FIELDS = frozenset(
    {"index", "id", "type", "function", "name", "arguments", "parameters", "input"}
)
_DECODER = json.JSONDecoder(strict=False)
_OPENING_FENCE = re.compile(r"^\s*```\w*")
_CLOSING_MARK = re.compile(r"\s*(```|<\|\w+\|>)?\s*")  # of a code block; of gpt-oss
_ENDS = {"{": "}", '"': '"', "`": "`"}  # of an object; encoded twice; in a code block
_MARK_AT_END = re.compile(r"(?<=\})\s*<\|[^{}]*$")
_SEPARATOR = re.compile(r"[.:/]")
_HALF_ESCAPE = re.compile(r"\\u[dD]|\\u?$")  # or what may become one with the next fragment


@dataclass(frozen=True)
class Offer:
    """What the request offers: by a tool's name whether it needs arguments; ids that are taken."""

    needs_arguments: Mapping[str, bool] = field(default_factory=dict)
    ids: frozenset[str] = frozenset()


@dataclass
class _Call:
    """One call. `text` is its arguments so far, of which `sent` characters have been passed on."""

    position: int
    index: int | None
    raw_id: str
    id: str
    name: str = ""
    fields: JSON = field(default_factory=dict)
    told_fields: set[str] = field(default_factory=set)
    is_open: bool = False
    text: str = ""
    sent: int = 0
    is_held: bool = False
    is_over: bool = False
    halves: Halves = field(default_factory=Halves)

    def passes(self, text: str) -> bool:
        """Takes plain text that may go on as it is, which it tells."""
        if self.is_held or self.sent != len(self.text) or not self.sent or self.halves.pending:
            return False
        if _HALF_ESCAPE.search(text) or "<|" in text or self.text.endswith(("\\", "\\u")):
            return False
        self.text += text
        self.sent += len(text)
        return True

    def write(self, text: str) -> None:
        """Adds arguments. What may still turn out to be something else is held."""
        text = "" if self.is_over else self.halves.add(text)
        if self.text.strip() == "{}" and not self.sent and text.strip():
            self.text = ""  # the arguments themselves come after an empty object
        tail = self.text[-2:]
        self.text += text
        if "<|" in text and (mark := _MARK_AT_END.search(self.text)):
            whole = self.text[: mark.start()]
            if self.sent <= len(whole) and arguments_object(whole) is not None:
                self.text, self.is_over = whole, True
        if not self.is_held:
            start = self.text.lstrip()
            self.is_held = bool(start) and start[0] != "{"
            self.is_held = self.is_held or "\\ud" in f"{tail}{text}".lower()

    def ready(self) -> str:
        """What may be passed on now."""
        if self.is_held or (not self.sent and self.text.strip() in ("", "{", "{}")):
            return ""
        ready, self.sent = self.text[self.sent :], len(self.text)
        return ready

    def untold_fields(self) -> JSON:
        """Fields of the endpoint's own, each to be passed on once."""
        fields, self.fields = self.fields, {}
        self.told_fields |= fields.keys()
        return fields

    def is_complete(self) -> bool:
        """Whether the arguments are a whole object: nothing can be added to it."""
        end = _ENDS.get(self.text.lstrip()[:1])
        if end is None or not self.text.rstrip().endswith(end):
            return False
        return arguments_object(self.text) is not None

    def rest(self) -> str | None:
        """The end of the arguments; None: they are none."""
        self.text += self.halves.end()
        arguments = arguments_object(self.text)
        if arguments is None:
            return "" if self.text.strip() in _NO_ARGUMENTS and not self.sent else None
        if self.sent:
            return escaped_halves(self.text)[self.sent :]
        if self.text.lstrip().startswith("{") and not self.is_held:
            return self.text
        return dumps(without_halves(arguments)).decode()


def arguments_object(text: str) -> JSON | None:
    """The arguments, which may be encoded twice, in a code block, or have a mark behind them."""
    value: Any = text
    for _ in range(3):
        if not isinstance(value, str):
            break
        text = _OPENING_FENCE.sub("", value).strip()
        try:
            value, end = _DECODER.raw_decode(text)
        except (ValueError, RecursionError):
            return None
        if not _CLOSING_MARK.fullmatch(text, end):
            return None
    return value if isinstance(value, dict) else None


class ToolCalls:
    """The calls of one answer; `offer` is asked for once, when the first call comes."""

    def __init__(self, offer: Callable[[], Offer]) -> None:
        self._ask_offer = offer
        self._offer: Offer | None = None
        self._calls: list[_Call] = []

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, fragments: Any) -> list[JSON]:
        """Regular fragments for those of one chunk, which may be a list, or a single one."""
        if isinstance(fragments, dict) and "0" in fragments:  # a list, as PHP may write it
            fragments = list(fragments.values())
        fragments = fragments if isinstance(fragments, list) else [fragments]
        return [made for one in fragments if isinstance(one, dict) for made in self._add(one)]

    def passes(self, fragment: JSON) -> Callable[[str], bool] | None:
        """Takes the texts of fragments like this one; None where each has to be looked at."""
        if fragment.get("id") or (fragment.get("function") or {}).get("name"):
            return None
        index = _index(fragment.get("index"))
        call = next((c for c in reversed(self._calls) if c.index == index), None)
        return call.passes if call and call.is_open and call.position == index else None

    def end(self, is_cut: bool) -> list[JSON]:
        """What is left to tell of the calls. Raises UnusableAnswer."""
        return [made for call in self._calls for made in self._end(call, is_cut)]

    def _add(self, fragment: JSON) -> list[JSON]:
        self._offer = self._offer or self._ask_offer()
        function = fragment.get("function")
        function = function if isinstance(function, dict) else fragment
        name, text = function.get("name"), _arguments(function)
        name = self._offered(name.strip()) if isinstance(name, str) else ""
        raw_id = str(fragment["id"]) if fragment.get("id") else ""
        index = _index(fragment.get("index"))
        call = self._called(index, raw_id, name, text)
        if call is None:
            if not (name or raw_id or text):
                return []
            call = self._new(index, raw_id)
        elif text and text == call.text and name in ("", call.name) and call.is_complete():
            text = ""  # told once more, whole
        known = _FRAGMENT_FIELDS | call.told_fields
        call.fields |= {key: value for key, value in fragment.items() if key not in known and value}
        if name and name != call.name:
            call.name += name
        if text:
            call.write(text)
        return self._tell(call)

    def _called(self, index: int | None, raw_id: str, name: str, text: str) -> _Call | None:
        """The call that a fragment goes on with; None: a new one."""
        call = self._last(index, raw_id)
        if call is None or (raw_id and raw_id == call.raw_id and not (name and text)):
            return call
        if not name and not raw_id:
            return call
        if call.is_complete():
            is_empty_start = call.text.strip() == "{}" and not call.sent and name in ("", call.name)
            is_repeated = text in ("", call.text) and name in ("", call.name)
            same_id = raw_id in ("", call.raw_id)
            goes_on = (is_empty_start and same_id and text) or (is_repeated and same_id)
            return call if goes_on or (not name and not raw_id) else None
        if name and call.name and name != call.name:
            return call if self._may_become(call.name + name) else None
        if raw_id and raw_id != call.raw_id and name and not call.text:
            return call if self._needs_arguments(call) else None
        return call

    def _last(self, index: int | None, raw_id: str) -> _Call | None:
        """The latest call of this id, else of this index; without an index the latest of all."""
        if raw_id:
            named = [c for c in self._calls if c.raw_id == raw_id]
            same = [c for c in named if index is None or c.index == index]
            if same or (named and not named[-1].is_complete()):
                return (same or named)[-1]
        calls = [c for c in self._calls if index is None or c.index == index]
        if not calls and not raw_id and self._calls and not self._calls[-1].name:
            return self._calls[-1]
        return calls[-1] if calls else None

    def _new(self, index: int | None, raw_id: str) -> _Call:
        offer = self._offer or Offer()
        taken = {call.id for call in self._calls} | offer.ids
        own = raw_id if raw_id and raw_id not in taken else f"call_{uuid4().hex[:24]}"
        call = _Call(len(self._calls), index, raw_id, own)
        self._calls.append(call)
        return call

    def _offered(self, name: str) -> str:
        """A tool's name without what models add: Gemini's `default_api.`, gpt-oss's marks."""
        tools = (self._offer or Offer()).needs_arguments
        bare = name.partition("<|")[0].strip()
        forms = (name, bare, _SEPARATOR.split(bare)[-1])
        return next((form for form in forms if form in tools), name)

    def _may_become(self, name: str) -> bool:
        return any(tool.startswith(name) for tool in (self._offer or Offer()).needs_arguments)

    def _needs_arguments(self, call: _Call) -> bool:
        return (self._offer or Offer()).needs_arguments.get(call.name, False)

    def _tell(self, call: _Call) -> list[JSON]:
        """The fragments that may go out: none before the name is known to be whole."""
        if not call.name or (not call.is_open and not call.text and self._is_prefix(call.name)):
            return []
        ready = call.ready()
        if call.is_open:
            return [_more(call, ready)] if ready or call.fields else []
        call.is_open = True
        return [_opening(call, ready)]

    def _is_prefix(self, name: str) -> bool:
        """Whether the name of a tool is the beginning of another one's, or of one only."""
        tools = (self._offer or Offer()).needs_arguments
        return any(tool != name and tool.startswith(name) for tool in tools)

    def _end(self, call: _Call, is_cut: bool) -> list[JSON]:
        if not call.name:
            raise UnusableAnswer("called a tool without naming it: try again.")
        rest = call.rest()
        if rest is None or (not rest and not call.sent and self._needs_arguments(call)):
            if is_cut:
                raise UnusableAnswer(
                    f"was cut at the model's limit inside the arguments of {call.name}: "
                    "ask for less at a time, or choose a model with a higher limit.",
                    can_help=False,
                )
            fault = "no arguments" if not call.text.strip() else "arguments that cannot be read"
            raise UnusableAnswer(
                f"called {call.name} with {fault}: try again, or choose another model."
            )
        rest = rest if rest or call.sent else "{}"
        if not call.is_open:
            return [_opening(call, rest)]
        return [_more(call, rest)] if rest else []


def _opening(call: _Call, text: str) -> JSON:
    function = {"name": call.name, "arguments": text}
    return {
        **call.untold_fields(),
        "index": call.position,
        "id": call.id,
        "type": "function",
        "function": function,
    }


def _more(call: _Call, text: str) -> JSON:
    """More arguments; with fields that come late, such as Gemini's signature, whose they are."""
    fields = call.untold_fields()
    whose = {CALL_ID: call.id} if fields else {}
    return {**fields, **whose, "index": call.position, "function": {"arguments": text}}


def _index(value: Any) -> int | None:
    """A number, which some gateways send as a text or with a fraction."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)
        return int(number) if number == int(number) else None
    except (TypeError, ValueError, OverflowError):
        return None


def _arguments(function: JSON) -> str:
    """The arguments as text: Ollama and some gateways send an object."""
    value = next(
        (function[key] for key in ("arguments", "parameters", "input") if function.get(key)), None
    )
    if value is None:
        # an empty object is one, where nothing or null is not
        return "{}" if function.get("arguments") == {} else ""
    return value if isinstance(value, str) else dumps(value).decode()


def offer_of(request: bytes) -> Offer:
    """What a request's body offers, of Chat Completions or of the Responses API."""
    try:
        body = json.loads(request)
    except ValueError:
        return Offer()
    tools = [tool.get("function") or tool for tool in body.get("tools") or ()]
    needs = {
        tool["name"]: bool((tool.get("parameters") or {}).get("required"))
        for tool in tools
        if isinstance(tool, dict) and isinstance(tool.get("name"), str)
    }
    messages = body.get("messages") or ()
    calls = [call for message in messages for call in message.get("tool_calls") or ()]
    items = body.get("input") if isinstance(body.get("input"), list) else ()
    ids = [call.get("id") for call in calls] + [item.get("call_id") for item in items or ()]
    return Offer(needs, frozenset(filter(None, ids)))
