"""What becomes of an event that is written to a run's stream, in the environment of `make scale`.

    python -m tests.scale.event_writes

Prints, a line for each case, `written`, `known` (as it was written before) or `refused`, then what
a reader finds, and what one reads who asked for brief messages.
"""

import asyncio
import uuid

from agent.scale import server  # noqa: F401 - it puts Aegra's parts together
from agent.scale.event_stream import EventStream, redis_manager
from agent.scale.stored_event import Encoded, StoredEvent

METADATA = {"langgraph_node": "model"}


async def main() -> None:
    await redis_manager.initialize()
    key = f"test:{uuid.uuid4().hex}"
    stream, seen = EventStream(key), set[int]()

    async def write(text: str, writer: str, number: int, *, begins: bool = False) -> None:
        event = Encoded.of(("messages", (text, METADATA)) if writer else ("end", text))
        written = await stream.write(event, writer, number, begins=begins)
        outcome = "refused" if written is None else "known" if written[1] in seen else "written"
        seen.update(written[1:] if written else ())
        print(text, outcome)

    await write("begins", "first", 1, begins=True)
    await write("begins", "first", 1, begins=True)
    await write("next", "first", 2)
    await write("next", "first", 2)
    await write("taken-over", "second", 1, begins=True)
    await write("late", "first", 3)
    await redis_manager.get_client().delete(f"{key}:run")
    await write("forgotten", "second", 2)
    await write("stopped", "", 0)
    for event in await EventStream(key).read(0, None):
        print(*event.payload())
    for message in ({"content": "Hi.", "id": "1", "name": None, "tool_calls": []}, "no message"):
        event = Encoded.of(("messages", (message, {**METADATA, "thread_id": "2"})))
        print(StoredEvent(1, event).as_server_sent("run", is_brief=True).splitlines()[1])
    await redis_manager.close()


if __name__ == "__main__":
    asyncio.run(main())
