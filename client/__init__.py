"""The thin client: `AgentClient`, the events it streams and the errors it raises.

Names are imported when they are first used: `steady --help` need not wait for the SDK.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .client import AgentClient, RunOptions
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
        AgentEvent,
        Done,
        Error,
        Event,
        Interrupt,
        Mode,
        Progress,
        Reasoning,
        Retry,
        RunStarted,
        Token,
        ToolCall,
        ToolCallDelta,
        ToolResult,
        Update,
        Usage,
        Values,
        to_json,
    )
    from .limits import Limits
    from .memories import Memory
    from .reconnect import Reconnect
    from .run import Run

__all__ = [
    "AgentClient", "AgentEvent", "CannotConnect", "Conflict", "ConnectionLost", "Done", "Error",
    "Event", "FirstEventTimedOut", "IdleTimedOut", "Interrupt", "InvalidRequest", "Limits",
    "Memory", "Mode", "ModelFailed", "NotFound", "Progress", "RateLimited", "Reasoning",
    "Reconnect", "Retry", "Run", "RunError", "RunFailed", "RunLost", "RunOptions", "RunStarted",
    "RunTimedOut", "ServerError", "SteadyError", "StreamLost", "Token", "ToolCall",
    "ToolCallDelta", "ToolFailed", "ToolResult", "Unauthorized", "Unavailable", "Update",
    "Usage", "Values", "to_json",
]  # fmt: skip

# The light ones first.
_HOMES = ("events", "errors", "limits", "reconnect", "run", "memories", "client")


def __getattr__(name: str) -> Any:
    if name in __all__:
        for home in _HOMES:
            module = import_module(f".{home}", __name__)
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
