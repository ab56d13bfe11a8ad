"""Parts of runs that a client of the thread-stream protocol (v3) began. Pure: no I/O.

On such a run the server puts the protocol's events into the parts of the run's own stream. Here
they become the parts that other runs have.
"""

from collections.abc import Iterator
from typing import Any

from ..events import JSON

CONFIG_KEY = "__event_streaming_v2"  # the server sets it in the config of such a run
MODES = frozenset({"values", "messages-tuple", "custom"})  # what its stream brings, for a reader
_SEPARATOR = "|"


def is_protocol_event(data: Any) -> bool:
    """Whether a part's data is an event of the protocol."""
    return (
        isinstance(data, dict)
        and data.get("type") == "event"
        and isinstance(data.get("params"), dict)
        and "seq" in data
    )


def is_protocol_run(run: JSON) -> bool:
    """Whether a client of the protocol began the run."""
    config = (run.get("kwargs") or {}).get("config") or run.get("config") or {}
    return bool((config.get("configurable") or {}).get(CONFIG_KEY))


class ProtocolEvents:
    """Turns events into parts; it remembers which message each namespace is writing.

    A message that begins, its pieces and its end come as `AIMessageChunk`; a tool's result as the
    message that holds it. Events that say nothing of messages, state or custom data are left out.
    """

    def __init__(self) -> None:
        self._message_ids: dict[str, str] = {}  # by namespace

    def parts(self, event: JSON) -> Iterator[tuple[str, Any]]:
        """The name and data of the parts that an event stands for."""
        params = event["params"]
        namespace = _SEPARATOR.join(params.get("namespace") or ())
        data = params.get("data")
        match event.get("method"):
            case "messages" if isinstance(data, dict):
                if (chunk := self._chunk(namespace, data)) is not None:
                    yield "messages", [chunk, _metadata(namespace, "model")]
            case "tools" if isinstance(data, dict) and data.get("event") == "tool-finished":
                if isinstance(output := data.get("output"), dict) and output.get("type") == "tool":
                    yield "messages", [output, _metadata(namespace, "tools")]
            case "values" | "updates" | "custom" as name if not namespace:
                yield name, data

    def _chunk(self, namespace: str, data: JSON) -> JSON | None:
        chunk: JSON = {"type": "AIMessageChunk", "content": ""}
        match data.get("event"):
            case "message-start" if data.get("role", "ai") == "ai":
                self._message_ids[namespace] = str(data.get("id"))
            case "content-block-start":
                chunk |= _content(data.get("index"), data.get("content") or {})
            case "content-block-delta":
                chunk |= _content(data.get("index"), data.get("delta") or data.get("content") or {})
            case "message-finish":
                chunk |= {
                    "chunk_position": "last",
                    "usage_metadata": data.get("usage"),
                    "response_metadata": data.get("metadata") or {},
                    "additional_kwargs": data.get("additional_kwargs") or {},
                }
            case _:
                return None
        message_id = self._message_ids.get(namespace)
        return {**chunk, "id": message_id} if message_id else None


def _content(index: Any, block: JSON) -> JSON:
    match block.get("type"):
        case "text" | "text-delta":
            return {"content": block.get("text") or ""}
        case "reasoning" | "reasoning-delta":
            return {"content": [{"type": "reasoning", "reasoning": block.get("reasoning") or ""}]}
        case "tool_call_chunk" | "tool-call-delta":
            names = ("id", "name", "args")
            piece = {name: block.get(name) for name in names}
            return {"tool_call_chunks": [{**piece, "index": index}]}
    return {}


def _metadata(namespace: str, node: str) -> JSON:
    """Events name the graph that they come from, and not its node."""
    path = _SEPARATOR.join(filter(None, (namespace, node)))
    return {"langgraph_node": node, "langgraph_checkpoint_ns": path}
