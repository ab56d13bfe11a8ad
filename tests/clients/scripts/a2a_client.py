"""The Python A2A client: reads the agent card, and sends each question.

Not streamed: langgraph-api 0.16 streams updates of A2A 0.3 to clients of A2A 1.0.

    a2a_client.py URL ASSISTANT_ID QUESTION...
"""

import asyncio
import json
import sys
from uuid import uuid4

import httpx
from a2a.client import A2ACardResolver, ClientConfig, ClientFactory
from a2a.types import Message, Part, Role, SendMessageRequest
from google.protobuf.json_format import MessageToDict


async def main(url: str, assistant_id: str, *questions: str) -> None:
    async with httpx.AsyncClient(timeout=60) as http:
        card = await A2ACardResolver(http, url).get_agent_card(
            relative_card_path=f"/.well-known/agent-card.json?assistant_id={assistant_id}"
        )
        print(json.dumps(card.name))
        client = ClientFactory(ClientConfig(streaming=False, httpx_client=http)).create(card)
        for question in questions:
            message = Message(
                role=Role.ROLE_USER, message_id=str(uuid4()), parts=[Part(text=question)]
            )
            events = client.send_message(SendMessageRequest(message=message))
            print(json.dumps([MessageToDict(event) async for event in events]))


asyncio.run(main(*sys.argv[1:]))
