"""The thin client: `AgentClient`, the events it streams and the errors it raises.

Names are imported when they are first used: `steady --help` need not wait for the SDK.

Attributes:
    __version__: this version, such as `0.1.0`.
    JSON: a JSON object, as Python has it: `dict[str, Any]`.
    Mode: one of the stream modes, as a text.
    AgentEvent: the union of all events.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__ as __version__

if TYPE_CHECKING:
    from .answer import Answer
    from .client import AgentClient
    from .decoding.messages import text_of
    from .errors import (
        CannotConnect,
        Conflict,
        ConnectionLost,
        FirstEventTimedOut,
        IdleTimedOut,
        InvalidRequest,
        ModelFailed,
        NotFound,
        RateLimited,
        RunError,
        RunFailed,
        RunLost,
        RunTimedOut,
        ServerError,
        SteadyError,
        StreamLost,
        ToolFailed,
        Unauthorized,
        Unavailable,
    )
    from .events import (
        JSON,
        AgentEvent,
        Checkpoint,
        Debug,
        Done,
        Error,
        Event,
        Interrupt,
        Mode,
        Progress,
        Reasoning,
        Retry,
        RunStarted,
        StructuredResponse,
        Task,
        Token,
        ToolCall,
        ToolCallDelta,
        ToolResult,
        Update,
        Usage,
        Values,
        from_json,
        to_json,
    )
    from .limits import Limits
    from .memories import Memories, Memory
    from .reconnect import Reconnect
    from .run import Run
    from .run_options import RunOptions
    from .runs import Runs
    from .threads import Threads

__all__ = [
    "JSON", "AgentClient", "AgentEvent", "Answer", "CannotConnect", "Checkpoint", "Conflict",
    "ConnectionLost", "Debug", "Done", "Error", "Event", "FirstEventTimedOut", "IdleTimedOut",
    "Interrupt", "InvalidRequest", "Limits", "Memories", "Memory", "Mode", "ModelFailed",
    "NotFound", "Progress", "RateLimited", "Reasoning", "Reconnect", "Retry", "Run", "RunError",
    "RunFailed", "RunLost", "RunOptions", "RunStarted", "RunTimedOut", "Runs", "ServerError",
    "SteadyError", "StreamLost", "StructuredResponse", "SyncAgentClient", "Task", "Threads",
    "Token", "ToolCall", "ToolCallDelta", "ToolFailed", "ToolResult", "Unauthorized",
    "Unavailable", "Update", "Usage", "Values", "from_json", "text_of", "to_json",
]  # fmt: skip

# The light ones first.
_HOMES = (
    "events", "errors", "limits", "reconnect", "answer", "decoding.messages", "run", "threads",
    "runs", "memories", "run_options", "client", "sync",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in __all__:
        for home in _HOMES:
            module = import_module(f".{home}", __name__)
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return ["__version__", *__all__]
