"""The Python MCP client: lists the tools of a server, and calls one with each question.

mcp_client.py URL QUESTION...
"""

import asyncio
import json
import sys

from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client


async def main(url: str, *questions: str) -> None:
    async with (
        streamable_http_client(url) as (reading, writing, *_),
        ClientSession(reading, writing) as session,
    ):
        await session.initialize()
        print(json.dumps([tool.name for tool in (await session.list_tools()).tools]))
        for question in questions:
            message = {"role": "user", "content": question}
            result = await session.call_tool("agent", {"messages": [message]})
            texts = [block.text for block in result.content]
            print(json.dumps({"is_error": result.is_error, "text": "".join(texts)}))


asyncio.run(main(*sys.argv[1:]))
