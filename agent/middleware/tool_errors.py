"""A tool's failure is a result that the model reads, without what is not meant for it."""

import structlog
from langchain.agents.middleware import ToolErrorMiddleware
from langchain.tools.tool_node import ToolCallRequest
from langchain_core.tools import ToolException

log = structlog.stdlib.get_logger(__name__)


def tool_errors() -> ToolErrorMiddleware:
    """LangChain's middleware, with our messages."""
    return ToolErrorMiddleware(_message)


def _message(error: Exception, request: ToolCallRequest) -> str:
    """A ToolException's text is meant for the model; any other error goes to the log only."""
    name = request.tool_call["name"]
    if isinstance(error, ToolException):
        return str(error)
    log.error(f"The tool {name} failed.", exc_info=error)
    return f"The tool {name} failed."
