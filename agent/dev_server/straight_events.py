"""A run's events go straight to a reader in this process, past the server's queue and its HTTP.

Such a reader asks by HTTP like any other, and gets the first events like any other: by then the
server has checked that the run is the reader's to see. What follows is handed over where it is put.
The rest of the request stays as it is: it ends with the run, and with the reader.
"""

import functools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from contextvars import ContextVar
from importlib import import_module
from typing import Any

from agent.dev_server.patch import Patch, Shape

_ALIVE_SECONDS = 0.4  # a server that hears nothing for 0.5 s looks whether the run goes on

Event = tuple[memoryview, memoryview, bytes | None]  # its name, its JSON, its id if it has one
Take = Callable[[Event], bool]  # whether the reader has taken it
reader: ContextVar[Take | None] = ContextVar("reader", default=None)  # of the request


def _hand_over(ops: Any) -> None:
    stream, codec = ops.Runs.Stream, import_module("langgraph_api.utils.stream_codec")
    join = stream.join
    alive = ops.Message(topic=b"", data=codec.STREAM_CODEC.encode("control", b""))

    def go_straight(queue: Any, take: Take, *, has_ids: bool) -> None:
        """Past the queue, which is empty, until the run ends or the reader takes no more."""
        put, told_at = queue.put_nowait, time.monotonic()

        def put_straight(message: Any) -> None:
            nonlocal told_at
            packet = codec.decode_stream_message(message.data, channel=message.topic)
            event = packet.event, packet.message, message.id if has_ids else None
            if packet.event == b"control" or not take(event):
                del queue.put_nowait
                put(message)
            elif (now := time.monotonic()) - told_at > _ALIVE_SECONDS:
                told_at = now
                put(alive)

        queue.put_nowait = put_straight

    @functools.wraps(join)
    async def join_straight(
        run_id: Any, *, stream_channel: Any, **kwargs: Any
    ) -> AsyncIterator[Any]:
        is_whole = not (kwargs.get("stream_mode") or kwargs.get("last_event_id"))
        take = reader.get() if is_whole else None
        joined = join(run_id, stream_channel=stream_channel, **kwargs)
        async with aclosing(joined):
            async for event in joined:
                yield event
                if take is not None and stream_channel.empty():
                    go_straight(stream_channel, take, has_ids=event[2] is not None)

    stream.join = staticmethod(join_straight)


STRAIGHT_EVENTS = Patch(
    name="events go straight to the chat routes",
    module="langgraph_runtime_inmem.ops",
    replaces={
        "Runs.Stream.join": Shape(
            "run_id stream_channel thread_id ignore_404 cancel_on_disconnect stream_mode "
            "last_event_id ctx",
            """
            if mode == "control":
                if payload == b"done":
                    break
            elif _run_stream_mode_matches(mode, stream_mode):
                # We only return a stream ID if the run is resumable
            """,
        )
    },
    needs=("Message",),
    apply=_hand_over,
    loss="each event of a chat route costs more",
)
