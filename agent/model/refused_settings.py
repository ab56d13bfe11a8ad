"""What an endpoint was found to refuse of a request, so that it is asked without it from then on.

OpenAI-compatible endpoints answer 400 or 422 to optional settings and fields that they do not know,
and name them in their own words. What one model refuses another may take.
"""

import json
import re
from collections.abc import Iterable
from typing import Any

import openai
import structlog

log = structlog.stdlib.get_logger(__name__)

# Without any of these the answer is still an answer.
_OPTIONAL = (
    "stream_options",
    "parallel_tool_calls",
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "max_completion_tokens",
    "max_tokens",
    "reasoning_effort",
    "reasoning",
    "verbosity",
    "store",
    "metadata",
    "service_tier",
    "prompt_cache_key",
    "safety_identifier",
)
_RENAMED = {"max_completion_tokens": "max_tokens", "max_tokens": "max_completion_tokens"}

REASONING = "reasoning_content"
EXTRAS = "extra_content"
REASONING_EVERYWHERE = "assistant messages without reasoning_content"
RESULT_BEFORE_QUESTION = "a question right after a tool's result"
NAMES = "names of assistant messages"
PICTURES = "pictures of tools"
_UNKNOWN = re.compile(
    r"unsupported|(not|n't) (supported|permitted|allowed)|forbidden|unexpected|unknown|unrecognized"
    r"|extra",
    re.I,
)
_MISSING = re.compile(r"must|missing|required|pass(ed)? back", re.I)
_NAME = re.compile(  # as Mistral, xAI, Groq and gateways say it
    r"have a name|(property|argument) \W*name\W|messages\S{0,20}\.name\b|assistant\W+name\W", re.I
)
_NO_PICTURES = re.compile(  # as OpenAI, vLLM, llama.cpp, OpenRouter, DeepSeek and Groq say it
    r"(image|vision|multi-?modal).{0,40}(not (be )?(supported|enabled|allowed|accepted)|n't support"
    r"|not support|only supported|missing)"
    r"|(not support|n't support|no endpoints|not a|unknown variant|at most 0).{0,40}"
    r"(image|vision|multi-?modal)|content\W.{0,40}must be a string",
    re.I,
)
_ROLES = re.compile(r"roles? .{0,40}(alternate|after)|unexpected role", re.I)


class RefusedSettings:
    """By model, what is left out of requests to one endpoint; `known` is so for all its models."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._known = frozenset(known)
        self._by_model: dict[str, frozenset[str]] = {}

    def of(self, model: str) -> frozenset[str]:
        """The settings, fields and habits that this model refuses."""
        return self._by_model.get(model, self._known)

    def learn(self, model: str, sent: Iterable[str], error: openai.APIStatusError) -> bool:
        """Whether the error tells of something, sent and not known so, to be left out."""
        words = f"{error.message} {json.dumps(error.body, default=str, ensure_ascii=False)}"
        new = set(_refused(words, set(sent))) - self.of(model)
        if new:
            self._by_model[model] = self.of(model) | new
            names = ", ".join(sorted(new))
            log.warning(f"The model {model} refuses {names}: it is asked without from now on.")
        return bool(new)

    def remove_from(self, payload: dict[str, Any], model: str) -> None:
        """Takes the settings out of a request; a limit of tokens goes by its other name."""
        refused = self.of(model)
        for name in refused & payload.keys():
            value, other = payload.pop(name), _RENAMED.get(name)
            if other and other not in refused:
                payload[other] = value


def _refused(words: str, sent: set[str]) -> Iterable[str]:
    for name in sent & {*_OPTIONAL, EXTRAS}:
        if _names(name, words):
            yield name
    if _names(REASONING, words):
        if _MISSING.search(words) and not _UNKNOWN.search(words):
            yield REASONING_EVERYWHERE
        elif REASONING in sent:
            yield REASONING
    if NAMES in sent and _NAME.search(words):
        yield NAMES
    if PICTURES in sent and _NO_PICTURES.search(words):
        yield PICTURES
    if _ROLES.search(words):
        yield RESULT_BEFORE_QUESTION


def _names(name: str, words: str) -> bool:
    """Whether the words have the name, as `max_tokens`, `maxTokens` or `max tokens`."""
    pattern = r"[_\s-]?".join(map(re.escape, name.split("_")))
    return bool(re.search(rf"(?<![a-z0-9_]){pattern}(?![a-z0-9_])", words, re.IGNORECASE))
