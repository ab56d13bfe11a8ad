"""The tools of MCP servers, which `STEADY_MCP_SERVERS` names, through LangChain's adapter.

The graph is made before any server is asked. Its servers are asked in the background, again and
again until they answer, and nobody waits for them: a model call has the tools that are there. Each
call of a tool opens a session of its own, so that a server which died and came back is used again.
What is in the settings of a server, and what its library says, is not logged: it may be a secret.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool
from langgraph.config import get_stream_writer

from agent.settings import McpServer, settings
from agent.tools.mcp_http import AnsweredRequests

log = structlog.stdlib.get_logger(__name__)

_LIST_SECONDS = 60.0  # the longest wait for one server's list: a first `npx` downloads it
_SHORTEST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 60.0  # between two tries
_REFRESH_SECONDS = 300.0  # a server's list may change
_LOOK_SECONDS, _ARRIVAL_LOOKS = 0.1, 100  # of a call whose server has not answered yet
_LONGEST_NAME_CHARACTERS = 64  # that model endpoints take
_SOUND = "audio:result"  # the protocol's files have an address
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]")


class McpTools:
    """The tools of some servers: each is called `<server>_<tool>`.

    Args:
        servers: their settings, by name.

    Attributes:
        tools: those that are there, by name.
    """

    def __init__(self, servers: Mapping[str, McpServer]) -> None:
        self._servers = dict(servers)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.tools: dict[str, BaseTool] = {}
        if servers:
            logging.getLogger("mcp").setLevel(logging.CRITICAL)
            urls = [server.url.get_secret_value() for server in servers.values() if server.url]
            logging.getLogger("httpx").addFilter(lambda record: not _names_any(record, urls))

    def start(self) -> None:
        """Has the servers asked for their tools, unless it is done already."""
        for name, server in self._servers.items():
            task = self._tasks.get(name)
            if task is None or task.done():
                self._tasks[name] = asyncio.create_task(self._keep_list(name, server))

    async def stop(self) -> None:
        """Asks no more; a program that was started for it is ended."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def has(self, tool: str) -> bool:
        """Whether this is the name of a tool of a server, which may not be there yet."""
        return _server_of(tool) in self._servers

    async def arrive(self, tool: str) -> BaseTool | None:
        """The tool, once its server has told of it; None where it does not in time."""
        self.start()
        for _ in range(_ARRIVAL_LOOKS):
            if tool in self.tools:
                break
            await asyncio.sleep(_LOOK_SECONDS)
        return self.tools.get(tool)

    def needs_approval(self, tool: str) -> bool:
        """Whether a person has to approve its calls; of a tool that is not there, too."""
        found = self.tools.get(tool)
        if found is None:
            return True
        server = self._servers[_server_of(tool)]
        if isinstance(server.approval, bool):
            return server.approval
        names = server.approval or ()
        is_named = any(tool.endswith(f"_{_clean(name)}") for name in names)
        return is_named or bool((found.metadata or {}).get("destructiveHint"))

    def acts(self, tool: str) -> bool:
        """Whether a call may change anything: unless the tool says that it only reads."""
        found = self.tools.get(tool)
        return found is None or not (found.metadata or {}).get("readOnlyHint")

    async def _keep_list(self, name: str, server: McpServer) -> None:
        pause_seconds, is_told = _SHORTEST_PAUSE_SECONDS, False
        while True:
            try:
                async with asyncio.timeout(_LIST_SECONDS):
                    self._take(name, await _listed(name, server))
                pause_seconds, is_told = _SHORTEST_PAUSE_SECONDS, False
                await asyncio.sleep(_REFRESH_SECONDS)
            except Exception as error:  # of any library, and of any process
                if not is_told:
                    reason = type(error).__name__
                    await log.awarning(f"The MCP server {name} does not answer ({reason}).")
                is_told = True
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)

    def _take(self, name: str, tools: list[BaseTool]) -> None:
        before = {each for each in self.tools if _server_of(each) == name}
        found = {tool.name: tool for tool in tools}
        self.tools = {k: v for k, v in self.tools.items() if k not in before} | found
        if before != found.keys():
            log.info(f"The MCP server {name} has {len(found)} tools.")


async def _listed(name: str, server: McpServer) -> list[BaseTool]:
    client = await asyncio.to_thread(_client, name, server)
    tools: list[BaseTool] = await client.get_tools()
    for tool in tools:
        tool.name = _clean(tool.name)
    return tools


def _client(name: str, server: McpServer) -> Any:
    """The adapter's client. It is imported here, where reading its files holds up no stream."""
    from langchain_mcp_adapters.callbacks import Callbacks
    from langchain_mcp_adapters.client import MultiServerMCPClient

    return MultiServerMCPClient(
        {name: _connection(server)},
        callbacks=Callbacks(on_progress=_tell_progress),
        tool_interceptors=[_sounds_as_files],
        tool_name_prefix=True,
    )


def _connection(server: McpServer) -> Any:
    if server.url is not None:
        return {
            "transport": "streamable_http",
            "url": server.url.get_secret_value(),
            "headers": {name: value.get_secret_value() for name, value in server.headers.items()},
            "httpx_client_factory": AnsweredRequests,
        }
    return {
        "transport": "stdio",
        "command": server.command,
        "args": [each.get_secret_value() for each in server.args],
        "env": {name: value.get_secret_value() for name, value in server.env.items()},
    }


async def _tell_progress(
    progress: float, total: float | None, message: str | None, context: Any
) -> None:
    """Passes on what a tool says of its progress, as custom data of the run."""
    told = {"progress": progress, "total": total, "message": message}
    get_stream_writer()({"type": "tool_progress", "tool": context.tool_name, **told})


async def _sounds_as_files(request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
    """Has a sound be a file of a result: the adapter fails a call that brings one."""
    result = await handler(request)
    if all(part.type != "audio" for part in result.content):
        return result
    told = result.model_dump(mode="json", by_alias=True, exclude_none=True)
    for part in told["content"]:
        if part["type"] == "audio":
            sound = {"uri": _SOUND, "blob": part.pop("data"), "mimeType": part.pop("mimeType")}
            part.update(type="resource", resource=sound)
    return type(result).model_validate(told)


def as_result(message: ToolMessage) -> ToolMessage:
    """The result as threads keep it: one text, with a line for each part that is none, and after it
    the pictures and files, as far as they are small enough."""
    if isinstance(message.content, str):
        return message
    left_bytes = settings().steady_largest_tool_media_bytes
    lines, media = list[str](), list[Any]()
    for part in message.content:
        block = part if isinstance(part, dict) else {"type": "text", "text": part}
        kind, data = str(block.get("type")), block.get("base64") or ""
        if kind == "text":
            lines.append(str(block.get("text", "")))
        elif not data:
            lines.append(f"[{kind}: {block.get('url', 'empty')}]")
        elif len(data) > left_bytes:
            lines.append(f"[{kind} left out: larger than STEADY_LARGEST_TOOL_MEDIA_BYTES]")
        else:
            left_bytes -= len(data)
            lines.append("[image]" if kind == "image" else f"[{kind}: {block.get('mime_type')}]")
            media.append({name: value for name, value in block.items() if name != "id"})
    text = "\n".join(lines)
    content = [{"type": "text", "text": text}, *media] if media else text
    return message.model_copy(update={"content": content})


def _server_of(tool: str) -> str:
    """The server's name in a tool's, which has no underscore (`McpServerName`); else empty."""
    name, mark, _ = tool.partition("_")
    return name if mark else ""


def _clean(name: str) -> str:
    return _NOT_IN_NAMES.sub("_", name)[:_LONGEST_NAME_CHARACTERS]


def _names_any(record: logging.LogRecord, urls: list[str]) -> bool:
    """Whether a line of httpx's log is about a request to one of these addresses."""
    return any(url in record.getMessage() for url in urls)


MCP = McpTools(settings().steady_mcp_servers)
