"""What the scripted model says in a scenario, drawn from a random source. Pure."""

import random

from tests.model_script import Fault, Reply, ToolCall

ACTS = "save_note"  # waits for approval
_LONGEST_SECONDS = 2.0
_SLOWEST = 30.0
_REPEATED = ("no ", "ha", "\n", "0", "very, ", "\U0001f389")
_UNICODE = (
    *("Grüß", " dich", "日本", "語 ", "e\u0301", "\U0001f468\u200d\U0001f469\u200d\U0001f467"),
    *("\U0001f1ee\U0001f1f9", " שלום", "\u200f", "\U00020000", "\u2028", "\x85", "ﷺ", "\r\n", " "),
)
_ODD = ("data: x\n\n", "\n\n", "event: end\n", ": ", "id: 7-0\n", "[DONE]", '"', "\\n", "{}", " ")


def text(rng: random.Random, *, longest: int = 400) -> tuple[str, ...]:
    """The tokens of an answer: 20 to `longest`, the short ones as likely as the long ones."""
    count = round(20 * (longest / 20) ** rng.random())
    match rng.choices(["words", "same", "few", "unicode", "odd"], [35, 25, 15, 15, 10])[0]:
        case "words":
            return tuple(f"{' ' if n else ''}word{n}" for n in range(count))
        case "same":
            return (rng.choice(_REPEATED),) * count
        case "few":
            return tuple(rng.choice(("a", "b", "ab ")) for _ in range(count))
        case "unicode":
            return tuple(rng.choice(_UNICODE) for _ in range(count))
    return tuple(rng.choice(_ODD) for _ in range(count))


def rate(rng: random.Random, tokens: tuple[str, ...], *, full_speed: float) -> float | None:
    """Tokens a second; None, with the probability `full_speed`, is as fast as can be."""
    if rng.random() < full_speed or not tokens:
        return None
    return round(max(_SLOWEST, len(tokens) / _LONGEST_SECONDS) * rng.uniform(1, 4), 1)


def replies(rng: random.Random, seed: int, *, full_speed: float) -> tuple[Reply, ...]:
    """One turn of the model: a plain answer, an empty one, or some rounds of tools.

    In some of them a person must approve a call before the turn goes on.
    """
    rounds = rng.choices([0, 1, 2], [70, 15, 15])[0]
    said = [_calling(rng, seed, number, full_speed) for number in range(rounds)]
    if rng.random() < 0.15:
        said.insert(rng.randint(0, rounds), _acting(rng, seed, full_speed))
    if rng.random() < 0.05:
        return (*said, Reply(""))
    return (*said, _spoken(rng, text(rng), full_speed))


def _spoken(
    rng: random.Random,
    tokens: tuple[str, ...],
    full_speed: float,
    calls: tuple[ToolCall, ...] = (),
) -> Reply:
    speed = rate(rng, tokens, full_speed=full_speed)
    return Reply(tokens, tool_calls=calls, tokens_per_second=speed)


def _calling(rng: random.Random, seed: int, number: int, full_speed: float) -> Reply:
    calls = tuple(
        ToolCall(
            "calculate",
            {"expression": f"{rng.randrange(10_000)} * {rng.randrange(10_000)}"},
            id=f"call-{seed}-{number}-{n}",
        )
        for n in range(rng.choice([1, 1, 2, 3]))
    )
    said = () if rng.random() < 0.4 else text(rng, longest=60)
    return _spoken(rng, said, full_speed, calls)


def _acting(rng: random.Random, seed: int, full_speed: float) -> Reply:
    note = {"title": f"Scenario {seed}", "text": "".join(text(rng, longest=60))}
    said = () if rng.random() < 0.4 else text(rng, longest=60)
    return _spoken(rng, said, full_speed, (ToolCall(ACTS, note, id=f"act-{seed}"),))


_BREAKS = ("disconnect", "end", "stall", "bad_json", "error_event")


def model_fault(rng: random.Random, tokens: int) -> tuple[str, Fault]:
    """What goes wrong at the model, and the name of its row."""
    if rng.random() < 0.2:
        busy = Fault(status=rng.choice([429, 503]), headers={"Retry-After": "0"})
        return "model: busy", busy
    kind = rng.choice(_BREAKS)
    after = rng.randrange(1, max(tokens, 2))
    return f"model: {_NAMES[kind]}", Fault(kind, after_tokens=after)  # type: ignore[arg-type]


_NAMES = {
    "disconnect": "breaks off",
    "end": "ends early",
    "stall": "falls silent",
    "bad_json": "sends broken JSON",
    "error_event": "sends an error",
}
