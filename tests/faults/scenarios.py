"""A scenario from a seed: what is asked, what the model says, what goes wrong on the way. Pure."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations

from client import Mode
from tests.faults import answers
from tests.faults.plan import AT_END, FOR_EVER, NetFault, Plan
from tests.model_script import Reply, tokens

MODEL_RETRIES = 1  # of the server under test

MODES: tuple[Mode, ...] = ("values", "updates", "messages", "events")
_SETS = tuple(s for size in (2, 3, 4) for s in combinations(MODES, size))

# Error codes that are right where the network never comes back, and where the model failed.
GONE = frozenset({"cannot_connect", "unavailable", "connection_lost", "stream_lost", "run_lost"})
MODEL_FAILED = frozenset({"model_failed"})

ROWS = {
    "none": "no fault",
    "rst": "cut, RST",
    "fin": "cut, FIN",
    "end": "clean end between events",
    "end_mid": "clean end inside an event",
    "ends": "clean ends after the run",
    "stall": "stall",
    "throttle": "throttle",
    "buffer": "buffering",
    "split": "every byte by itself",
    "refuse": "port closed for a while",
    "reset": "connections reset for a while",
    "status": "429, 502, 503 on reconnect",
    "lost": "first answer lost",
    "unsent": "first request refused",
    "others": "other requests fail",
    "combined": "several in a row",
    "gone": "server never comes back",
}
_WIRE_ROWS = {
    **dict.fromkeys(("rst", "fin", "end_mid", "unsent", "lost"), "model's network: cuts"),
    "end": "model's network: clean end",
    **dict.fromkeys(("stall", "throttle", "buffer", "split"), "model's network: slow"),
    "status": "model's network: 429, 502, 503",
}
SEVERAL_ON_THE_WIRE = "model's network: several"
_WEIGHTS = {
    **dict.fromkeys(("rst", "fin", "end", "end_mid"), 8),
    **dict.fromkeys(("stall", "buffer", "refuse", "reset", "status", "lost", "unsent"), 5),
    **dict.fromkeys(("throttle", "split", "others"), 4),
    "combined": 18,
    "ends": 6,
    "none": 2,
    "gone": 2,
    "model": 10,
    "wire": 12,
}


@dataclass(frozen=True)
class Scenario:
    """One stream and everything that happens to it; `allowed` are error codes that are right.

    `kind` is its row in the table. The reader sleeps `reader_seconds` after each of the first
    `reader_sleeps` events; he leaves after each number of events in `leaves`, and joins again.
    `model_wire` are the faults between agent and model, one for each model call. The run may be
    stopped after `stops_after` pieces of text, and the thread may have `earlier_turns`.
    """

    seed: int
    kind: str
    modes: tuple[Mode, ...]
    question: str
    replies: tuple[Reply, ...]
    plan: Plan
    reader_seconds: float = 0.0
    reader_sleeps: int = 40
    reconnect_seconds: float = 30.0
    allowed: frozenset[str] = frozenset()
    must_fail: bool = False
    leaves: tuple[int, ...] = ()
    model_wire: tuple[NetFault, ...] = ()
    stops_after: int | None = None
    earlier_turns: int = 0

    @property
    def approvals(self) -> int:
        """How often the run waits for a person, who approves; each time another run goes on."""
        calls = [call.name for reply in self.replies for call in reply.tool_calls]
        return calls.count(answers.ACTS)

    def __str__(self) -> str:
        return (
            f"{self.kind} | {'+'.join(self.modes)} | {'; '.join(map(_said, self.replies))} | "
            f"reader {self.reader_seconds:g}s, leaves after {[*self.leaves]} | {self.plan} | "
            f"model: {', '.join(map(str, self.model_wire)) or 'no network fault'}"
        )


def _said(reply: Reply) -> str:
    words = tokens(reply.text)
    speed = f"{reply.tokens_per_second:g}/s" if reply.tokens_per_second else "full speed"
    told = [f"{len(words)} tokens ({words[0]!r}...)" if words else "no text", speed]
    told += [f"{len(reply.tool_calls)} calls"] if reply.tool_calls else []
    for fault in (*reply.fails, *filter(None, [reply.fault])):
        told.append(f"{fault.kind} {fault.status if fault.kind == 'status' else ''}".strip())
    return ", ".join(told)


def scenario(seed: int, *, frames: bool = True, model_faults: bool = True) -> Scenario:
    """The scenario of a seed. Without `frames` the model mostly writes at full speed."""
    rng = random.Random(f"{seed} {frames}")
    weights = {**_WEIGHTS, **({} if model_faults else {"model": 0, "wire": 0})}
    kind = rng.choices(list(weights), list(weights.values()))[0]
    modes = (rng.choice(MODES),) if rng.random() < 0.6 else rng.choice(_SETS)
    if rng.random() < 0.3:
        modes = ("messages",)
    made = Scenario(
        seed=seed,
        kind=ROWS.get(kind, kind),
        modes=modes,
        question=f"Scenario {seed}{'' if frames else ' without frames'}",
        replies=answers.replies(rng, seed, full_speed=0.4 if frames else 0.8),
        plan=Plan(seed=seed),
        reader_seconds=rng.choice([0.0, 0.0, 0.0, 0.005, 0.02]),
    )
    places = _Places(rng, _size_bytes(made, frames))
    if kind != "gone" and rng.random() < 0.2:
        made = replace(
            made, leaves=tuple(rng.choice([1, 2, 5, 20]) for _ in range(rng.randint(1, 3)))
        )
    if kind == "wire":
        return _with_model_wire(rng, made)
    if kind == "model":
        cuts = (_cut(rng, places),) if rng.random() < 0.4 else ()
        return _with_model_fault(rng, replace(made, plan=Plan(streams=cuts, seed=seed)))
    plan = _plan(rng, kind, places)
    made = replace(made, plan=replace(plan, seed=seed))
    if kind == "ends":  # the run must be over when the first response ends
        hurried = tuple(replace(reply, tokens_per_second=None) for reply in made.replies)
        made = replace(made, replies=hurried)
    if kind == "gone":
        made = replace(made, allowed=GONE, reconnect_seconds=1.5)
    return made


def _with_model_fault(rng: random.Random, made: Scenario) -> Scenario:
    at = rng.randrange(len(made.replies))
    reply = made.replies[at]
    if not reply.text:
        reply = replace(reply, text=answers.text(rng))
    kind, fault = answers.model_fault(rng, len(tokens(reply.text)))
    passes = fault.kind == "status" or rng.random() < 0.5
    kind += ", then answers" if passes else ""
    changed = replace(reply, fails=[fault]) if passes else replace(reply, fault=fault)
    replies = (*made.replies[:at], changed, *made.replies[at + 1 :])
    allowed = frozenset() if passes else MODEL_FAILED
    return replace(made, kind=kind, replies=replies, allowed=allowed, must_fail=not passes)


_MODEL_EVENT_BYTES = 300


def _with_model_wire(rng: random.Random, made: Scenario) -> Scenario:
    """Each model call may fail once and be tried again; where more goes wrong, it may give up."""
    size = _MODEL_EVENT_BYTES * sum(len(tokens(reply.text)) + 2 for reply in made.replies)
    places = _Places(rng, size // len(made.replies))
    faults = tuple(_on_the_wire(rng, places) for _ in range(rng.choice([1, 1, 1, 2, 3])))
    several = len(faults) > 1
    return replace(
        made,
        kind=SEVERAL_ON_THE_WIRE if several else _WIRE_ROWS[faults[0].kind],
        model_wire=faults,
        allowed=MODEL_FAILED if several else frozenset(),
    )


def _on_the_wire(rng: random.Random, places: "_Places") -> NetFault:
    kind = rng.choice(list(_WIRE_ROWS))
    if kind == "stall":  # within the model's patience, and beyond it
        return NetFault("stall", places.draw(), seconds=rng.choice([0.3, 1.0, 4.0]))
    if kind == "buffer":
        return NetFault("buffer", seconds=rng.choice([0.3, 1.0]))
    if kind == "status":
        return NetFault("status", status=rng.choice([429, 502, 503]), retry_after="0")
    if kind in ("unsent", "lost"):
        return NetFault(kind)  # type: ignore[arg-type]
    return _stream_faults(rng, kind, places)[0]


_BASE_BYTES = {"values": 2500, "updates": 2500, "messages": 1500, "events": 12_000}
_PIECE_BYTES = {"messages": 330, "events": 1500}  # of messages for our client, whatever the modes
_FRAME_SECONDS = 0.04


def _size_bytes(made: Scenario, frames: bool) -> int:
    """About how long the whole event stream is: as measured on langgraph-api 0.16.7."""
    size = 500
    for reply in made.replies:
        count = len(tokens(reply.text))
        seconds = count / reply.tokens_per_second if reply.tokens_per_second else 0.0
        pieces = min(count, round(seconds / _FRAME_SECONDS) + 2) if frames else count
        size += sum(_BASE_BYTES[mode] for mode in made.modes)
        size += pieces * sum(_PIECE_BYTES[mode] for mode in _streamed(made.modes))
    return size


def _streamed(modes: tuple[Mode, ...]) -> set[Mode]:
    """Those that bring an answer piece by piece; the client asks for messages in every mode."""
    return {"events"} if modes == ("events",) else {"messages", *({"events"} & set(modes))}


class _Places:
    """Draws where in a stream of about `size_bytes` a fault strikes."""

    def __init__(self, rng: random.Random, size_bytes: int) -> None:
        self._rng, self._size_bytes = rng, size_bytes

    def draw(self) -> int:
        if self._rng.random() < 0.1:
            return AT_END
        if self._rng.random() < 0.2:
            return self._rng.randrange(500)
        return round(self._size_bytes * self._rng.random())


def _plan(rng: random.Random, kind: str, places: _Places) -> Plan:
    match kind:
        case "none":
            return Plan()
        case "others":
            return Plan(streams=(_cut(rng, places),), others=0.6)
        case "lost" | "unsent":
            return Plan(start=_start(rng, kind))
        case "gone":
            fault = NetFault(rng.choice(["refuse", "reset"]), places.draw(), seconds=FOR_EVER)
            return Plan(streams=(fault,))
        case "ends":
            return _ends(rng, places)
        case "combined":
            return _combined(rng, places)
    faults: list[NetFault] = []
    for _ in range(rng.choice([1, 1, 2, 3])):
        faults += _stream_faults(rng, kind, places)
    return Plan(streams=tuple(faults), others=rng.choice([0.0, 0.0, 0.1]))


def _start(rng: random.Random, kind: str) -> tuple[NetFault, ...]:
    if kind == "lost":
        return (NetFault("lost"),)
    refusals = [NetFault("unsent"), NetFault("status", status=503), NetFault("status", status=429)]
    return tuple(rng.choice(refusals) for _ in range(rng.choice([1, 2])))


def _combined(rng: random.Random, places: _Places) -> Plan:
    start = _start(rng, rng.choice(["lost", "unsent"])) if rng.random() < 0.2 else ()
    faults: list[NetFault] = []
    for _ in range(rng.randint(2, 5)):
        faults += _stream_faults(rng, rng.choice(list(_STREAM_FAULTS)), places)
    return Plan(start=start, streams=tuple(faults), others=rng.choice([0.0, 0.1, 0.3]))


_FIRST_EVENT_BYTES = 150
_HEAD_BYTES = 700  # of a stream: what the server says before the model speaks


def _ends(rng: random.Random, places: _Places) -> Plan:
    """The run ends while the first response hangs; those that replay it end cleanly too soon."""
    first = NetFault("end", rng.choice([0, _HEAD_BYTES, max(places.draw(), 0)]), seconds=0.8)
    tells_nothing, replays = rng.random() < 0.5, list[NetFault]()
    for _ in range(rng.choice([1, 2, 6])):
        at = rng.choice([rng.randrange(_HEAD_BYTES), rng.randrange(_HEAD_BYTES), places.draw()])
        fault = NetFault(rng.choice(["end", "end_mid"]), at)
        again = NetFault("end", rng.randrange(_FIRST_EVENT_BYTES))
        replays.append(again if tells_nothing else fault)
    return Plan(streams=(first, *replays))


def _cut(rng: random.Random, places: _Places) -> NetFault:
    return _plain_cut(rng.choice(["rst", "fin", "end", "end_mid"]))(rng, places)[0]


def _stream_faults(rng: random.Random, kind: str, places: _Places) -> list[NetFault]:
    return _STREAM_FAULTS[kind](rng, places)


def _plain_cut(kind: str) -> Callable[[random.Random, _Places], list[NetFault]]:
    """A cut; some come so late that the run has ended meanwhile, and the rest is replay."""

    def made(rng: random.Random, places: _Places) -> list[NetFault]:
        seconds = rng.choice([0.0, 0.0, 0.0, 0.3, 0.8])
        return [NetFault(kind, places.draw(), seconds=seconds)]  # type: ignore[arg-type]

    return made


def _stall(rng: random.Random, places: _Places) -> list[NetFault]:
    return [NetFault("stall", places.draw(), seconds=rng.choice([0.3, 0.6, 1.0, 2.0, 3.0]))]


def _throttle(rng: random.Random, places: _Places) -> list[NetFault]:
    seconds, count = rng.choice([0.5, 1.0, 2.0]), rng.choice([500, 2000, 10_000])
    return [NetFault("throttle", max(places.draw(), 0), seconds=seconds, count=count)]


def _buffer(rng: random.Random, places: _Places) -> list[NetFault]:
    return [NetFault("buffer", seconds=rng.choice([0.5, 1.0, 2.0, 2.0]))]


def _split(rng: random.Random, places: _Places) -> list[NetFault]:
    return [NetFault("split", max(places.draw(), 0), count=rng.choice([500, 2000, 6000]))]


def _refuse(rng: random.Random, places: _Places) -> list[NetFault]:
    return [NetFault("refuse", places.draw(), seconds=rng.choice([0.3, 0.8, 2.0]))]


def _reset(rng: random.Random, places: _Places) -> list[NetFault]:
    return [NetFault("reset", places.draw(), seconds=rng.choice([0.3, 0.8, 2.0]))]


def _status(rng: random.Random, places: _Places) -> list[NetFault]:
    refusals = [
        NetFault("status", status=429, retry_after=rng.choice(["0", "1"])),
        NetFault("status", status=502),
        NetFault("status", status=503, retry_after=rng.choice([None, "1"])),
    ]
    return [_cut(rng, places), *(rng.choice(refusals) for _ in range(rng.choice([1, 1, 2])))]


_STREAM_FAULTS: dict[str, Callable[[random.Random, _Places], list[NetFault]]] = {
    **{kind: _plain_cut(kind) for kind in ("rst", "fin", "end", "end_mid")},
    "stall": _stall,
    "throttle": _throttle,
    "buffer": _buffer,
    "split": _split,
    "refuse": _refuse,
    "reset": _reset,
    "status": _status,
}
