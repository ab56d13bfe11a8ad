"""From messages and functions to the text that the model reads (ChatML). Pure.

There are two prompts. The choice prompt asks which function the message needs, if any: a list of
the functions, examples, the message, and `Function:` for the model to continue. The answer
prompt is the conversation itself. Each begins with a part that stays the same between messages,
so that the model reads it once.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from agent.embedded.examples import CALLS, PLAIN
from agent.embedded.wire import Function, Message

NONE = "none"
CHOICE_LEAD = "Function:"
ARGUMENTS_LEAD = "\nArguments: "

# A small model reads about 100 tokens a second on two cores: these keep an answer within seconds.
CHOICE_MESSAGE_CHARS = 600
CHOICE_REPLY_CHARS = 120
CHOICE_EARLIER_TURNS = 2
TOOL_RESULT_CHARS = 2000

_CHOICE_HEAD = (
    "You are a helpful assistant with these functions:\n{functions}\n"
    f"- {NONE}: no function; for chat, general knowledge, writing, translation.\n"
    "Say first which function the message needs."
)
_CHOICE_TAIL = "\n\n(Which function does this message need, if any?)"
_RESULT_TAIL = "Answer with this result. Keep every number and name in it exactly."


@dataclass(frozen=True)
class Turn:
    """A person's message, and the reply, the call and its results."""

    user: str
    reply: str = ""
    call: tuple[str, str] | None = None
    results: list[str] = field(default_factory=list)

    @property
    def answers_a_tool(self) -> bool:
        return bool(self.results)


def turns(messages: Sequence[Message]) -> tuple[str, list[Turn]]:
    """Split messages into the system text and the turns; the last turn is the one to answer."""
    system = "\n\n".join(m.content for m in messages if m.role in ("system", "developer"))
    talk = [m for m in messages if m.role not in ("system", "developer")]
    starts = [i for i, m in enumerate(talk) if m.role == "user"]
    if not starts or starts[0] > 0:
        starts.insert(0, 0)
    ends = [*starts[1:], len(talk)]
    return system, [_turn(talk[a:b]) for a, b in zip(starts, ends, strict=True)]


def _turn(messages: Sequence[Message]) -> Turn:
    texts = [m.content for m in messages if m.role == "user"]
    reply = [m.content for m in messages if m.role == "assistant" and m.content]
    calls = [call.function for m in messages for call in m.tool_calls]
    call = (calls[-1].name, calls[-1].arguments) if calls else None
    results = [m.content for m in messages if m.role == "tool"]
    return Turn("\n".join(texts), reply[-1] if reply else "", call, results)


def choice_prefix(functions: Sequence[Function]) -> str:
    """The part of the choice prompt that stays the same for these functions."""
    listed = "\n".join(f"- {f.name}: {_one_line(f.description)}" for f in functions)
    head = _say("system", _CHOICE_HEAD.format(functions=listed))
    return head + "".join(_choice_examples(functions))


def _choice_examples(functions: Sequence[Function]) -> Iterator[str]:
    # In turn, so that no function is the habit of the moment.
    rounds = zip_longest(*(list(_calls(function)) for function in functions))
    calls = [call for each in rounds for call in each if call]
    for call, plain in zip_longest(calls, PLAIN):
        if call:
            yield call
        if plain:
            yield _choice_turn(plain[0], f" {NONE}\n{plain[1]}")


def _calls(function: Function) -> Iterator[str]:
    # A function's own description, said by the user, is an example of a message that needs it.
    yield _choice_turn(_one_line(function.description), f" {function.name}")
    for user, arguments in CALLS.get(function.name, []):
        written = json.dumps(arguments, ensure_ascii=False)
        yield _choice_turn(user, f" {function.name}{ARGUMENTS_LEAD}{written}")


def choice_prompt(functions: Sequence[Function], talk: Sequence[Turn]) -> str:
    """Ends where the model names the function that the last turn needs."""
    earlier = "".join(_earlier(turn) for turn in talk[-1 - CHOICE_EARLIER_TURNS : -1])
    last = _clip(talk[-1].user, CHOICE_MESSAGE_CHARS)
    return choice_prefix(functions) + earlier + _open(last + _CHOICE_TAIL) + CHOICE_LEAD


def _earlier(turn: Turn) -> str:
    user = _clip(turn.user, CHOICE_MESSAGE_CHARS // 2)
    if turn.call:
        name, arguments = turn.call
        return _choice_turn(user, f" {name}{ARGUMENTS_LEAD}{arguments}")
    return _choice_turn(user, f" {NONE}\n{_clip(turn.reply, CHOICE_REPLY_CHARS)}")


def _choice_turn(user: str, reply: str) -> str:
    return _say("user", user + _CHOICE_TAIL) + _say("assistant", CHOICE_LEAD + reply)


def answer_prefix(system: str, functions: Sequence[Function]) -> str:
    """The part of the answer prompt that stays the same between conversations."""
    abilities = "\n".join(f"- {_one_line(f.description)}" for f in functions)
    can = f"\n\nBesides talking, you can do this when asked:\n{abilities}" if abilities else ""
    return _say("system", (system or "You are a helpful assistant.") + can)


def answer_prompt(system: str, functions: Sequence[Function], talk: Sequence[Turn]) -> str:
    """Ends where the model answers the last turn in text."""
    earlier = "".join(_say("user", t.user) + _say("assistant", t.reply) for t in talk[:-1])
    return answer_prefix(system, functions) + earlier + _open(_question(talk[-1]))


def _question(turn: Turn) -> str:
    if not turn.results:
        return turn.user
    name = turn.call[0] if turn.call else "the function"
    result = _clip("\n".join(turn.results), TOOL_RESULT_CHARS)
    return f"{turn.user}\n\nThe result of {name}:\n{result}\n\n{_RESULT_TAIL}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _clip(text: str, chars: int) -> str:
    """Keep the beginning and the end, where a message says what it wants."""
    if len(text) <= chars:
        return text
    return f"{text[: chars * 2 // 3]} … {text[-chars // 3 :]}"


def _say(role: str, text: str) -> str:
    return f"<|im_start|>{role}\n{_plain(text)}<|im_end|>\n"


def _open(user: str) -> str:
    return _say("user", user) + "<|im_start|>assistant\n"


def _plain(text: str) -> str:
    # What a person writes must not end their turn and speak for the system.
    return text.replace("<|", "<\u200b|")
