"""Which function does a message need, if any? A measured choice, not a guess in free text.

A small model asked to write a call invents names and calls for everything. Asked which name comes
next, its log probabilities tell the functions well apart, once each function's own attraction is
taken off: how likely the model finds it after messages that need no function at all. A word that
the message shares with a function's description counts in its favour: it makes the choice depend
far less on the order of the functions.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import mean

from agent.embedded.engine import CHOICE_SLOT, UNLIKELY, Engine, version
from agent.embedded.prompt import NONE, Turn, choice_prefix, choice_prompt
from agent.embedded.states import key
from agent.embedded.wire import Function

# In log odds: how much likelier than after an idle message a function must be, and what a shared
# word is worth. Measured: a lower threshold calls functions for plain questions, a higher one
# misses calls.
THRESHOLD = 6.4
SHARED_WORD = 2.0

_IDLE_MESSAGES = (
    "",
    "N/A",
    "hello there",
    "What is gravity?",
    "Write a song about summer",
    "Who are you?",
    "How do plants grow?",
    "nice, thank you",
    "What is the capital of Spain?",
    "Tell me about Napoleon",
    "Translate 'dog' to French",
    "How old is the Earth?",
    "Correct this: he go home",
    "Give me ideas for dinner",
)


def margins(scores: dict[str, float], idle: Sequence[dict[str, float]]) -> dict[str, float]:
    """How much each function's log odds against none exceed their mean after idle messages."""
    odds = _odds(scores)
    usual = [_odds(each) for each in idle]
    return {name: value - mean(o[name] for o in usual) for name, value in odds.items()}


def _odds(scores: dict[str, float]) -> dict[str, float]:
    return {name: value - scores[NONE] for name, value in scores.items() if name != NONE}


def shares_a_word(message: str, function: Function) -> bool:
    """Whether the message has a word of the function's name or description that says something."""
    known = f"{function.name.replace('_', ' ')} {function.description}"
    return bool(_telling_words(message) & _telling_words(known))


def _telling_words(text: str) -> set[str]:
    words = set(re.findall(r"[^\W\d_]+|\d+", text.casefold()))
    return {_stem(word) for word in words - _COMMON_WORDS}


def _stem(word: str) -> str:
    """Cuts a usual ending; every number is the same word: one who shows numbers takes numbers."""
    return "0" if word.isdigit() else re.sub(r"(?<=\w\w\w)(ing|ed|es|s)$", "", word)


_COMMON_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a about an and are as at be by can for from get how i in into is it its itself me my of "
        "on or s such than that the their them then there these this to us use used what when "
        "where which who will with you your",
    )
)


def best(margin: dict[str, float], forced: bool) -> str | None:
    """The function to call, or None for an answer in text."""
    name = max(margin, key=margin.__getitem__)
    return name if forced or margin[name] > THRESHOLD else None


@dataclass
class Chooser:
    """Chooses among one set of functions. `prepare` first; it is cheap when done before."""

    engine: Engine
    functions: Sequence[Function]
    _idle: list[dict[str, float]] = field(default_factory=list)
    _labels: dict[str, list[str]] = field(default_factory=dict)

    async def choose(self, talk: Sequence[Turn], forced: bool = False) -> str | None:
        """The function that the last turn needs, or None; with `forced`, the likeliest one."""
        await self.prepare()
        async with self.engine.choosing:
            margin = margins(await self._scores(talk), self._idle)
        for function in self.functions:
            margin[function.name] += SHARED_WORD * shares_a_word(talk[-1].user, function)
        return best(margin, forced)

    async def prepare(self) -> None:
        """Read the constant prefix and measure the idle messages, or restore both from before."""
        if self._idle:
            return
        async with self.engine.choosing:
            names = [*(function.name for function in self.functions), NONE]
            self._labels = {name: await self.engine.tokens(f" {name}") for name in names}
            self._idle = self._idle or await self._restored() or await self._measured()

    async def _restored(self) -> list[dict[str, float]]:
        saved = await self.engine.restore(CHOICE_SLOT, self._key())
        return list(saved["idle"]) if saved else []

    async def _measured(self) -> list[dict[str, float]]:
        await self.engine.read(choice_prefix(self.functions), CHOICE_SLOT)
        idle = [await self._scores([Turn(message)]) for message in _IDLE_MESSAGES]
        await self.engine.save(CHOICE_SLOT, self._key(), {"idle": idle})
        return idle

    def _key(self) -> str:
        return key("choice", version(), choice_prefix(self.functions), _IDLE_MESSAGES)

    async def _scores(self, talk: Sequence[Turn]) -> dict[str, float]:
        prompt = choice_prompt(self.functions, talk)
        return await self._descend(prompt, list(self._labels), 0)

    async def _descend(self, prompt: str, names: list[str], depth: int) -> dict[str, float]:
        """Score names by their tokens, as far as it takes to tell them apart."""
        likely = await self.engine.likely(prompt, CHOICE_SLOT)
        scores: dict[str, float] = {}
        for token in {self._token(name, depth) for name in names}:
            alike = [name for name in names if self._token(name, depth) == token]
            score = likely.get(token, UNLIKELY)
            deeper = await self._descend(prompt + token, alike, depth + 1) if len(alike) > 1 else {}
            scores |= {name: score + deeper.get(name, 0.0) for name in alike}
        return scores

    def _token(self, name: str, depth: int) -> str:
        tokens = self._labels[name]
        # After its last token a name ends the line: `get` against `get_weather`.
        return tokens[depth] if depth < len(tokens) else "\n"
