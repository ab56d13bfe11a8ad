"""Reasoning, which has a field of its own in each of several dialects, or tags in the text."""

from typing import Any

JSON = dict[str, Any]

# Qwen, DeepSeek and most others; Gemini's endpoint; Kimi; Seed; Magistral; Granite's templates
_TAGS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<reasoning>": "</reasoning>",
    "<seed:think>": "</seed:think>",
    "◁think▷": "◁/think▷",
    "[THINK]": "[/THINK]",
}
_CLOSING = tuple(_TAGS.values())
_LONGEST_TAG_CHARACTERS = max(map(len, _CLOSING))
_LONGEST_LINE_CHARACTERS = 1000
_FIELDS = ("reasoning_content", "reasoning", "reasoning_text", "thinking")
_LISTS = ("reasoning_details", "thinking_blocks")
THINKING_FIELDS = (*_FIELDS, *_LISTS)


def reasoning_of(delta: JSON) -> str:
    """The reasoning in a chunk's own fields; of those that say the same, the first.

    `reasoning_content`: DeepSeek, vLLM, LM Studio. `reasoning`: OpenRouter, Ollama, Groq.
    `reasoning_details`: OpenRouter. `thinking_blocks`: LiteLLM.
    """
    for name in THINKING_FIELDS:
        if (value := delta.get(name)) and (text := _text(value)):
            return text
    return ""


def parts_of(content: Any) -> tuple[str, str]:
    """The reasoning and the text of a content, which Mistral sends as a list of blocks."""
    if isinstance(content, str):
        return "", content
    if isinstance(content, bool) or content is None:
        return "", ""
    if isinstance(content, int | float):
        return "", str(content)
    blocks = content if isinstance(content, list) else [content]
    reasoning, text = [], []
    for block in blocks:
        if isinstance(block, dict) and block.get("type") in ("thinking", "reasoning"):
            reasoning.append(_text(block))
        else:
            text.append(_text(block))
    return "".join(reasoning), "".join(text)


def _text(value: Any) -> str:
    """All text in a block, however it is nested; encrypted reasoning is none."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(map(_text, value))
    if isinstance(value, dict):
        for name in ("text", "thinking", "reasoning", "summary", "content", "refusal"):
            if text := _text(value.get(name)):
                return text
    return ""


class ThinkTags:
    """Parts the text of one answer into reasoning, in tags at its start, and what is said.

    Templates of DeepSeek and Qwen put the opening tag into the prompt, so that only the closing one
    is sent; `begins_inside` is for models that are known to do so. Tags anywhere else are text.
    """

    def __init__(self, begins_inside: bool = False) -> None:
        self._closing = _CLOSING if begins_inside else ()
        self._is_at_start = not begins_inside
        self._is_after = False  # right behind the tag: its line ends are no part of the answer
        self._held = ""
        self._inside: list[str] | None = [] if begins_inside else None

    @property
    def is_past(self) -> bool:
        """Whether all further text is the answer, and none of it reasoning."""
        return not (self._is_at_start or self._closing or self._is_after)

    def add(self, text: str) -> tuple[str, str]:
        """The reasoning and the text that are known from here on; a piece of a tag is kept back."""
        if self.is_past:
            return "", text
        text, self._held = self._held + text, ""
        reasoning = ""
        if self._is_at_start:
            text = self._open(text)
        if self._closing:
            reasoning, text = self._close(text)
        if self._is_after:
            text = text.lstrip()
            self._is_after = not text
        return reasoning, text

    def end(self) -> tuple[str, str]:
        """What was kept back. Reasoning whose beginning was only assumed was the answer."""
        held, self._held = self._held, ""
        if not self._closing:
            return "", held
        if self._inside is not None:
            return held, "".join([*self._inside, held])
        return held, ""

    def _open(self, text: str) -> str:
        start = text.lstrip()
        tag = next((tag for tag in _TAGS if start.startswith(tag)), None)
        if tag:
            self._is_at_start, self._closing = False, (_TAGS[tag],)
            return start[len(tag) :]
        if any(tag.startswith(start) for tag in _TAGS):
            self._held = text
            return ""
        self._is_at_start = False
        return text

    def _close(self, text: str) -> tuple[str, str]:
        places = [(text.find(tag), tag) for tag in self._closing if tag in text]
        if places:
            at, tag = min(places)
            self._closing, self._is_after, self._inside = (), True, None
            return text[:at], text[at + len(tag) :]
        keep = max(_overlap(text, tag) for tag in self._closing)
        reasoning, self._held = text[: len(text) - keep], text[len(text) - keep :]
        if self._inside is not None:
            self._inside.append(reasoning)
        return reasoning, ""


def _overlap(text: str, tag: str) -> int:
    """How much of the text's end may be the tag's beginning."""
    return next(
        (n for n in range(min(len(tag) - 1, len(text)), 0, -1) if text.endswith(tag[:n])), 0
    )


class LoneClosingTag:
    """Finds in an answer that was taken for text the closing tag of reasoning that never opened.

    In a code block, or after an opening tag, it is text: somebody writes about the tags.
    """

    def __init__(self) -> None:
        self._line = ""
        self._is_in_code = False
        self.is_over = False

    def passes(self, text: str) -> bool:
        """Whether a text tells nothing and may go by unseen."""
        return self.is_over or not (
            self._line or "<" in text or "◁" in text or "[" in text or "`" in text
        )

    def is_in(self, text: str) -> bool:
        """Whether the text brings the closing tag."""
        if self.passes(text):
            return False
        self._line += text
        *lines, self._line = self._line.split("\n")
        looks = [self._look(line) for line in lines]  # each of them: a line may begin a code block
        found = any(looks)
        if not found and any(tag in self._line for tag in (*_TAGS, *_CLOSING)):
            found = self._look(self._line)
        if not any(mark in self._line for mark in "<◁[`"):
            self._line = ""
        elif len(self._line) > _LONGEST_LINE_CHARACTERS:  # each piece looks at all of it again
            self._look_for_fence(self._line)
            self._line = self._line[-_LONGEST_TAG_CHARACTERS - 1 :]
        return found

    def _look_for_fence(self, line: str) -> bool:
        """Whether the line begins or ends a code block."""
        is_fence = line.lstrip().startswith("```")
        self._is_in_code ^= is_fence
        return is_fence

    def _look(self, line: str) -> bool:
        if self._look_for_fence(line):
            return False
        if any(tag in line for tag in _TAGS):
            self.is_over = True
        if self.is_over or self._is_in_code:
            return False
        tag = next((tag for tag in _CLOSING if tag in line), None)
        return tag is not None and f"`{tag}" not in line
