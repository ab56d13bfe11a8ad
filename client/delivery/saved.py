"""A run's events as the checkpoints of its thread keep them: each message whole. Pure."""

from collections.abc import Iterator, Sequence

from ..decoding.decoder import Decoder
from ..decoding.messages import messages_in, reasoning_of
from ..errors import RunLost, SteadyError
from ..events import JSON, AgentEvent, Done, Error, Reasoning, Usage
from ..state.decisions import waiting
from .expectation import Expectation
from .run_end import RunEnd, error_text

_NODE = "model"  # checkpoints do not say which node a message is from


def saved_events(
    thread_id: str, run_id: str, state: JSON, before: Sequence[JSON]
) -> list[AgentEvent]:
    """The events, from `run_started` to `done`; a failure is an `error` before it.

    Args:
        thread_id: the thread.
        run_id: the run.
        state: the last one that the run made.
        before: the messages that the thread had before the run.
    """
    decoder = Decoder(thread_id)
    ids_before = {message.get("id") for message in before}
    own = [m for m in messages_in(state.get("values")) if m.get("id") not in ids_before]
    events = [*decoder.decode("metadata", {"run_id": run_id})]
    for message in own:
        events += _events_of(decoder, message)
    try:
        status, rest = _end(run_id, state, own).last_events(decoder)
    except SteadyError as error:
        failure = Error(error.code, error.message, error.retryable)
        return [*events, failure, Done("error", run_id, None, 0)]
    reason = decoder.answer.finish_reason
    return [*events, *rest, Done(status, run_id, None, 0, reason)]


def _events_of(decoder: Decoder, message: JSON) -> Iterator[AgentEvent]:
    if message.get("type") == "ai" and (reasoning := reasoning_of(message)):
        yield Reasoning(reasoning, str(message.get("id")), _NODE)
    if usage := message.get("usage_metadata"):
        yield Usage(usage["input_tokens"], usage["output_tokens"])
    yield from decoder.decode("messages", (message, {"langgraph_node": _NODE}))


def _end(run_id: str, state: JSON, own: Sequence[JSON]) -> RunEnd:
    """How the run ended, by the last state that it made. Raises RunLost: it did not."""
    last = own[-1] if own else {}
    is_stopped = (last.get("response_metadata") or {}).get("finish_reason") == "stopped"
    if error_text(state):
        status = "error"
    elif is_stopped:
        status = "interrupted"
    elif state.get("next") and not waiting(state):
        raise RunLost(
            "The server stopped before the run had ended: `continue_run` continues from the "
            "thread's last checkpoint."
        )
    else:
        status = "success"
    return RunEnd(run_id, status, state, Expectation())
