"""When the end of a run's stream is believed, and how long there are new tries."""

from collections.abc import Iterator

import pytest

from client.decoding.decoder import Decoder
from client.delivery.expectation import Expectation
from client.delivery.request import RunRequest
from client.delivery.run_end import EndProof, RunEnd
from client.errors import ModelFailed, RunTimedOut, StreamLost
from client.reconnect import Backoff, Reconnect

ANSWER = {"type": "ai", "id": "a", "content": "42."}
STATE = {"values": {"messages": [{"type": "human", "id": "q", "content": "?"}, ANSWER]}}
CHUNK = {**ANSWER, "type": "AIMessageChunk", "chunk_position": "last"}


def end(status: str = "success", is_proved: bool = True, **state: object) -> RunEnd:
    return RunEnd("r", status, {**STATE, **state}, Expectation(previous_id="q"), is_proved)


def decoder_of(*chunks: dict[str, str]) -> Decoder:
    decoder = Decoder()
    for chunk in chunks:
        list(decoder.decode("messages", [chunk, {"langgraph_node": "model"}]))
    return decoder


def few_delays(limit_seconds: float) -> Iterator[float]:
    yield from (0.0, 0.0)


WHOLE, HALF = decoder_of(CHUNK), decoder_of({**CHUNK, "content": "4", "chunk_position": ""})
NOTHING = decoder_of()


async def joins_needed(decoder: Decoder, is_proved: bool) -> int:
    """How many joins without anything new it takes until the end is believed."""
    proof, joins = EndProof(few_delays), 1
    while not await proof.is_enough(end(is_proved=is_proved), decoder):
        joins += 1
    return joins


@pytest.mark.parametrize(
    ("decoder", "is_proved", "joins"),
    [
        (WHOLE, True, 1),
        (WHOLE, False, 4),
        (NOTHING, True, 4),
        (NOTHING, False, 10),
        (HALF, True, 10),
        (HALF, False, 10),
    ],
)
async def test_the_end_is_believed_after(decoder: Decoder, is_proved: bool, joins: int) -> None:
    """One join proves a complete stream that came to the reader's position; others take more."""
    assert await joins_needed(decoder, is_proved) == joins


async def test_something_new_begins_the_proof_again() -> None:
    """Joins before the one that brought something new count for nothing."""
    proof = EndProof(few_delays)
    assert not any([await proof.is_enough(end(is_proved=False), WHOLE) for _ in range(3)])
    proof.reset()
    assert not any([await proof.is_enough(end(is_proved=False), WHOLE) for _ in range(3)])
    assert await proof.is_enough(end(is_proved=False), WHOLE)


def test_what_the_state_holds_must_have_arrived() -> None:
    """A message that arrived to its end is complete; one that began and broke off is a loss."""
    assert end().is_complete(decoder_of(CHUNK))
    assert end().last_events(decoder_of(CHUNK)) == ("success", [])
    half = decoder_of({**ANSWER, "type": "AIMessageChunk", "content": "4"})
    assert not end().is_complete(half)
    with pytest.raises(StreamLost):
        end().last_events(half)


def test_an_unproved_end_forgives_no_missing_message() -> None:
    """A message of which nothing arrived may be one that the graph does not stream, if proved."""
    assert end(is_proved=True).last_events(decoder_of()) == ("success", [])
    with pytest.raises(StreamLost):
        end(is_proved=False).last_events(decoder_of())


def test_a_run_that_failed_raises_its_error() -> None:
    """The server's time limit, and the error that the thread's state keeps."""
    with pytest.raises(RunTimedOut):
        end("timeout").last_events(decoder_of())
    with pytest.raises(ModelFailed, match="It broke"):
        end("error", tasks=[{"error": "ModelError('It broke.')"}]).last_events(decoder_of())


def test_an_interrupt_of_another_run_is_not_this_runs() -> None:
    """What waits on the thread is told only where the state is that of this run."""
    waiting = {"interrupts": [{"id": "i", "value": {}}]}
    status, _ = end(**waiting, metadata={"run_id": "r"}).last_events(decoder_of(CHUNK))
    assert status == "interrupted"
    assert end(**waiting, metadata={"run_id": "other"}).interrupts == []


async def test_backoff_ends_and_begins_again() -> None:
    """The tries end with their delays; after one that worked there are as many again."""
    backoff = Backoff(Reconnect(delays=few_delays))
    assert [await backoff.wait(1.0) for _ in range(3)] == [True, True, False]
    backoff.reset()
    assert await backoff.wait(1.0)
    assert not await backoff.wait(1.0, least_seconds=2.0)  # longer than the limit


def test_a_request_for_a_lost_run_is_a_new_one() -> None:
    """It has a key of its own and was never sent; where nothing is left to run there is none."""
    request = RunRequest({"input": 1}, Expectation(), restart_body=lambda state: state)
    request.attempts = 1
    restarted = request.restarted({"input": None})
    assert restarted is not None
    assert restarted.body == {"input": None}
    assert not restarted.may_have_arrived
    assert restarted.idempotency_key != request.idempotency_key
    assert request.restarted(None) is None
