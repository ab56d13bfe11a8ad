"""What a run may be given, as its request says it to the server."""

import json
from collections.abc import Iterable, Sequence
from typing import Literal, TypedDict, get_args

from .decoding.decoder import WIRE_MODES
from .errors import InvalidRequest
from .events import JSON, Mode
from .run import listed

Durability = Literal["sync", "async", "exit"]
ALWAYS = ("messages-tuple", "custom")  # the answer is read from the model's messages
DEFAULT_ASSISTANT = "agent"


class RunOptions(TypedDict, total=False):
    """What each method that starts a run takes, beside its own parameters.

    Args:
        modes: one of `values`, `updates`, `messages`, `events`, `custom`, `debug`, `checkpoints`
            and `tasks`, or any set of them. Default: `messages`. Others raise InvalidRequest.
        assistant_id: a graph's name or an assistant's id. None, the default: the one of the
            thread's last run, and `agent` for a new thread.
        context: the run's context, as the graph's context schema has it. None, the default: the
            assistant's own.
        config: LangGraph's config of the run: `recursion_limit`, `tags`, `configurable`. None, the
            default: the assistant's own.
        metadata: kept with the run. None, the default: none.
        interrupt_before: the nodes before which the run pauses, or `*` for each. It ends
            `interrupted`, and `continue_run` goes on. None, the default: no node.
        interrupt_after: the nodes after which it pauses, likewise. None, the default: no node.
        durability: when checkpoints are written: `sync` before the next step, `async` during it,
            `exit` at the run's end. None, the default: as the server does it.
        idempotency_key: a UUID of yours that makes it safe to ask again, even from another process:
            a run that was started with it is streamed from its beginning, and no second one is
            started. None, the default: each call starts a run.
    """

    modes: Mode | Iterable[Mode]
    assistant_id: str | None
    context: JSON | None
    config: JSON | None
    metadata: JSON | None
    interrupt_before: str | Sequence[str] | None
    interrupt_after: str | Sequence[str] | None
    durability: Durability | None
    idempotency_key: str | None


def options_in_body(options: RunOptions, modes: Sequence[Mode]) -> JSON:
    """The fields of a run's request that say its options. Raises InvalidRequest."""
    if options.get("durability") not in (None, *get_args(Durability)):
        raise InvalidRequest(f"`durability` is one of {', '.join(get_args(Durability))}.")
    given: JSON = {
        name: options.get(name) for name in ("context", "config", "metadata", "durability")
    }
    for name in ("interrupt_before", "interrupt_after"):
        nodes = options.get(name)
        given[name] = nodes if nodes in (None, "*") else listed(nodes)
    return {
        **{name: value for name, value in given.items() if value is not None},
        "assistant_id": options.get("assistant_id") or DEFAULT_ASSISTANT,
        "stream_mode": [*dict.fromkeys([*(WIRE_MODES[mode] for mode in modes), *ALWAYS])],
        "stream_subgraphs": True,
        "stream_resumable": True,
        "on_disconnect": "continue",
    }


def checked_modes(modes: Mode | Iterable[Mode] | None) -> list[Mode]:
    """The stream modes, each once; None stands for `messages`. Raises InvalidRequest."""
    chosen: list[Mode] = list(dict.fromkeys(listed("messages" if modes is None else modes)))
    unknown = [mode for mode in chosen if mode not in WIRE_MODES]
    if unknown or not chosen:
        raise InvalidRequest(
            f"Not a stream mode: {', '.join(map(repr, unknown)) or 'none given'}; "
            f"choose from {', '.join(WIRE_MODES)}."
        )
    return chosen


def check_json(body: JSON) -> None:
    """Raises InvalidRequest for what JSON cannot say: half a surrogate pair, NaN, an object."""
    try:
        json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"The request cannot be written as JSON: {error}.") from error
