"""The events of a Responses API stream, or a whole response, as OpenAI would send them."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from agent.model.dialects.failures import UnusableAnswer, broken_off, raise_error_of
from agent.model.dialects.halves import Halves
from agent.model.dialects.tool_calls import Offer, arguments_object

JSON = dict[str, Any]

_TEXT, _SUMMARY = "response.output_text", "response.reasoning_summary_text"
_ARGUMENTS = "response.function_call_arguments"
_RENAMED = {"response.refusal": _TEXT, "response.reasoning_text": _SUMMARY}  # vLLM, LM Studio


class Responses:
    """One response; refusals and open reasoning become texts of the kinds that are read."""

    def __init__(self, offer: Callable[[], Offer]) -> None:
        self._ask_offer = offer
        self._halves = defaultdict[tuple[str, Any], Halves](Halves)
        self._arguments: dict[Any, tuple[str, list[str]]] = {}
        self._told: set[tuple[str, Any]] = set()
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
        stem, _, step = kind.rpartition(".")
        if kind == "response.failed":
            raise_error_of(event.get("response") or event, "error")
        if kind in ("response.completed", "response.incomplete"):
            return self._complete({**event, "type": kind})
        if kind == "response.output_item.added":
            self._open(event)
        self._has_refused = self._has_refused or stem == "response.refusal"
        regular = _RENAMED.get(stem, stem)
        if step == "delta" and isinstance(event.get("delta"), str):
            return self._delta({**event, "type": f"{regular}.delta"}, stem)
        if step == "done" and regular in (_TEXT, _SUMMARY, _ARGUMENTS):
            return self._done(event, stem, regular)
        return [{**event, "type": kind}]

    def passes(self, event: JSON) -> Callable[[str], bool] | None:
        """Whether other texts at the place of this one go by as they are."""
        kind, index = event["type"].removesuffix(".delta"), event.get("output_index")
        if kind == _ARGUMENTS:
            texts = self._arguments.get(index, ("", []))[1]
            return lambda text: not self._halves[kind, index].pending and _note(texts, text)
        return lambda text: not self._halves[kind, index].pending

    def mark_done(self) -> None:
        """`[DONE]`, which some gateways send here too, adds nothing to the event of the end."""

    def end(self) -> list[JSON]:
        """Nothing is left to tell. Raises UnusableAnswer where the end was not told."""
        if not self.has_ended:
            raise broken_off()
        return []

    def _open(self, event: JSON) -> None:
        item = event.get("item")
        if isinstance(item, dict) and item.get("type") == "function_call":
            texts = [text for text in [item.get("arguments")] if isinstance(text, str) and text]
            self._arguments[event.get("output_index")] = (str(item.get("name")), texts)

    def _delta(self, event: JSON, stem: str) -> list[JSON]:
        kind, index = event["type"].removesuffix(".delta"), event.get("output_index")
        self._told.add((stem, index))
        text = self._halves[kind, index].add(event["delta"])
        if kind == _ARGUMENTS and index in self._arguments:
            self._arguments[index][1].append(text)
        event["delta"] = text
        if kind == _SUMMARY:
            event.setdefault("summary_index", event.pop("content_index", 0))
        if kind == _TEXT:
            event.setdefault("content_index", 0)
            event.setdefault("logprobs", [])
        return [event] if text else []

    def _done(self, event: JSON, stem: str, regular: str) -> list[JSON]:
        """The whole text of what was told piece by piece, or never was."""
        index = event.get("output_index")
        made = []
        if (stem, index) not in self._told:
            name = {"response.refusal": "refusal", _ARGUMENTS: "arguments"}.get(stem, "text")
            known = "".join(self._arguments.get(index, ("", []))[1]) if stem == _ARGUMENTS else ""
            if isinstance(text := event.get(name), str) and text and not known:
                made = self._delta({**event, "type": f"{regular}.delta", "delta": text}, stem)
        if pending := self._halves[regular, index].end():
            made.append({**event, "type": f"{regular}.delta", "delta": pending})
        return made if stem in _RENAMED else [*made, event]

    def _complete(self, event: JSON) -> list[JSON]:
        response = event.get("response")
        if not isinstance(response, dict):
            raise broken_off()
        details = response.get("incomplete_details") or {}
        is_cut = event["type"] == "response.incomplete"
        for name, texts in self._arguments.values():
            self._check(name, "".join(texts), is_cut)
        if is_cut and details.get("reason") not in ("max_output_tokens", "content_filter"):
            raise UnusableAnswer(f"stopped before the end of its answer: {details.get('reason')}.")
        self.has_ended = True
        if self._has_refused:
            response = {**response, "metadata": {**(response.get("metadata") or {}), **_REFUSED}}
        return [{**event, "response": response}]

    def _check(self, name: str, text: str, is_cut: bool) -> None:
        """Raises UnusableAnswer for arguments that nobody meant."""
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
        made: list[JSON] = self.add({"type": "response.created", "response": response})
        for index, item in enumerate(response["output"]):
            at = {"output_index": index, "item_id": item.get("id")}
            made += self.add({"type": "response.output_item.added", **at, "item": item})
            for kind, key in ((_SUMMARY, "summary"), (_TEXT, "content")):
                for place, part in enumerate(item.get(key) or ()):
                    text = part.get("text") or part.get("refusal") or ""
                    where = {"content_index": place, "summary_index": place}
                    stem = "response.refusal" if part.get("refusal") else kind
                    delta = {"type": f"{stem}.delta", **at, **where, "delta": text}
                    made += self.add(delta)
        status = "incomplete" if response.get("status") == "incomplete" else "completed"
        return made + self.add({"type": f"response.{status}", "response": response})


_REFUSED = {"steady_finish_reason": "refusal"}


def _other(event: JSON) -> list[JSON]:
    """An event of no kind of this API: an error in one of its forms, or a ping."""
    raise_error_of(event, "error" if event.get("type") == "error" else "")
    return []


def _note(texts: list[str], text: str) -> bool:
    texts.append(text)
    return True
