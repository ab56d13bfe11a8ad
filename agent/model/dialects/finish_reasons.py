"""Why a model stopped, in the words of its maker, sorted into those of the Chat Completions API."""

import re

from agent.model.dialects.failures import UnusableAnswer

_SAME = {
    # OpenAI; Anthropic, Mistral, Cohere, TGI, llama.cpp and Gemini behind gateways
    "stop": "stop end_turn eos eos_token stop_sequence stop_token stop_str stop_word complete "
    "completed finished finish finish_reason_stop end done natural success normal",
    "tool_calls": "tool_calls tool_call tool_use function_call function_calls tools",
    "length": "length max_tokens max_output_tokens max_completion_tokens max_length model_length "
    "token_limit model_context_window_exceeded context_length_exceeded context_length limit "
    "max_tokens_reached incomplete truncated max_new_tokens finish_reason_max_tokens",
    "content_filter": "content_filter content_filtered content_filtering safety recitation "
    "blocklist prohibited_content spii sensitive guardrail_intervened guardrails moderation "
    "image_safety language blocked filtered error_toxic finish_reason_safety",
    "refusal": "refusal refused",
}
_WORDS = {word: reason for reason, words in _SAME.items() for word in words.split()}
_NONE = frozenset({"", "null", "none", "finish_reason_unspecified", "unspecified"})


def finish_reason(word: object) -> str | None:
    """stop, tool_calls, length, content_filter or refusal; None: the answer goes on.

    Raises UnusableAnswer for every other word: the model failed, such as DeepSeek's
    `insufficient_system_resource`, vLLM's `abort` and OpenRouter's `error`.
    """
    if word is None or word is False:
        return None
    name = re.sub(r"[\s-]+", "_", str(word).strip().lower())
    if name in _NONE:
        return None
    if reason := _WORDS.get(name):
        return reason
    raise UnusableAnswer(f"stopped before the end of its answer: {str(word)[:100]}.")
