"""What a run's stream has to bring, so that a whole stream can be told from one cut short. Pure.

Who starts a run knows it; who joins a run, perhaps in another process, reads it from the run.
"""

from dataclasses import dataclass
from typing import Any, Self

from ..decoding.protocol_events import MODES as PROTOCOL_MODES
from ..decoding.protocol_events import is_protocol_run
from ..events import JSON

_MODES_KEY, _PREVIOUS_KEY = "steady_modes", "steady_since"
_USUAL_MODES = frozenset({"messages-tuple", "custom"})


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a run's stream has to bring.

    Args:
        modes: the stream modes that its reader asked for, by the server's names. Its messages come
            in any case: the answer is read from them.
        previous_id: the id of the thread's last message before the run's own; None where it is not
            known.
        is_stored: whether the server keeps the run's events for readers who come later. It does not
            of most runs that other clients start.
        is_asked: whether one that it does not keep began with a person's message.
    """

    modes: frozenset[str] = _USUAL_MODES
    previous_id: str | None = None
    is_stored: bool = True
    is_asked: bool = False

    @property
    def has_tokens(self) -> bool:
        """Whether the reader asked for the model's text piece by piece."""
        return "messages-tuple" in self.modes

    @property
    def is_usual(self) -> bool:
        """Whether the run has the usual stream modes, and its own messages are known by place."""
        return self.modes == _USUAL_MODES and self.previous_id is not None

    def metadata(self, body: JSON) -> JSON:
        """The run's metadata for readers who join: what not every server tells of such a run.

        Each checkpoint of the run keeps it, so the usual is left out.
        """
        metadata: JSON = {}
        if self.modes != _USUAL_MODES:
            metadata[_MODES_KEY] = ",".join(sorted(self.modes))
        if self.previous_id and _id_of(_last_message(body.get("input"))) is None:
            metadata[_PREVIOUS_KEY] = self.previous_id
        return metadata

    @classmethod
    def of_run(cls, run: JSON) -> Self:
        """Reads it from a run as the server returns it, whoever started the run."""
        kwargs, metadata = run.get("kwargs") or {}, metadata_of(run)
        modes = str(metadata.get(_MODES_KEY) or "").split(",")
        if modes == [""]:
            modes = kwargs.get("stream_mode") or []
        names = frozenset([modes] if isinstance(modes, str) else filter(None, modes))
        if is_protocol_run(run):
            names = PROTOCOL_MODES
        is_stored = kwargs.get("resumable") is not False
        question = _last_message(kwargs.get("input") or run.get("input"))
        return cls(
            names or _USUAL_MODES,
            metadata.get(_PREVIOUS_KEY) or _id_of(question),
            is_stored,
            not is_stored and question.get("type", question.get("role")) in ("human", "user"),
        )


def metadata_of(run: JSON) -> JSON:
    """A run's metadata. Not every server returns it as such; all return the run's config."""
    of_config: JSON = (run.get("config") or {}).get("metadata") or {}
    return {**of_config, **(run.get("metadata") or {})}


def _last_message(run_input: Any) -> JSON:
    messages = run_input.get("messages") if isinstance(run_input, dict) else None
    last = messages[-1] if isinstance(messages, list) and messages else None
    return last if isinstance(last, dict) else {}


def _id_of(message: JSON) -> str | None:
    return str(message["id"]) if message.get("id") else None
