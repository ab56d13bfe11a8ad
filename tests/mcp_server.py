"""An MCP server as its makers' package builds it, for the tests: `python -m tests.mcp_server`.

    --port P       Streamable HTTP on this port; else stdio
    --slow S       seconds until it answers anything at all
    --tools N      so many tools more
    --calls FILE   where each call that acts adds a line

`die` ends the process in the middle of its call; `hang` waits for whoever does.
"""

import argparse
import asyncio
import os
import time
from pathlib import Path
from typing import Any

from mcp.server.fastmcp import Audio, Context, FastMCP, Image
from mcp.types import ToolAnnotations

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000 1f15c4890000000d49444154"
    "789c6360000002000001 e221bc330000000049454e44ae426082".replace(" ", "")
)


def server(port: int, more_tools: int, calls: Path) -> FastMCP:
    made = FastMCP("tests", port=port, log_level="ERROR")

    def note(line: str) -> None:
        with calls.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    @made.tool(annotations=ToolAnnotations(readOnlyHint=True))
    def look_up(word: str) -> str:
        """Look a word up."""
        return f"{word} is in the book."

    @made.tool(annotations=ToolAnnotations(readOnlyHint=True))
    async def count(steps: int, context: Context) -> list[str]:
        """Count, and tell how far it is."""
        for step in range(1, steps + 1):
            await context.report_progress(step, steps, f"step {step}")
            await asyncio.sleep(0.01)
        return [f"number {step}" for step in range(1, steps + 1)]

    @made.tool(annotations=ToolAnnotations(readOnlyHint=True))
    def draw() -> Image:
        """Draw a picture."""
        return Image(data=PIXEL, format="png")

    @made.tool(annotations=ToolAnnotations(readOnlyHint=True), structured_output=False)
    def sing() -> list[Any]:
        """Sing a song."""
        return ["La.", Audio(data=PIXEL, format="wav")]

    @made.tool(annotations=ToolAnnotations(destructiveHint=True))
    def wipe(name: str) -> str:
        """Delete something for good."""
        note(f"wipe {name}")
        return f"{name} is gone."

    @made.tool()
    async def die(name: str) -> str:
        """Begin, and die."""
        note(f"die {name}")
        os._exit(1)

    @made.tool()
    async def hang(name: str) -> str:
        """Begin, and come to no end."""
        note(f"hang {name}")
        await asyncio.sleep(3600)
        return "It is over."

    for number in range(more_tools):
        made.add_tool(lambda: "here", name=f"more{number}", description="One of many.")
    return made


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--slow", type=float, default=0.0)
    parser.add_argument("--tools", type=int, default=0)
    parser.add_argument("--calls", type=Path, default=Path(os.devnull))
    options = parser.parse_args()
    time.sleep(options.slow)
    made = server(options.port, options.tools, options.calls)
    made.run("streamable-http" if options.port else "stdio")


if __name__ == "__main__":
    main()
