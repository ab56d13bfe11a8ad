"""prompt | model: plain chat in this process, without tools, threads or a server.

    chain.stream({"question": "Why is the sky blue?"})                       # pieces, as they come
    chain.astream({"question": "And at night?", "history": [...]})           # the same, async
    chain.astream_events({"question": "Why?"}, version="v2")                 # what happens inside

The pieces are LangChain's AIMessageChunk; `.text` is their text. A model that fails raises
`agent.model.errors.ModelError`, whose message is one line for the person.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Coroutine
from typing import Any

from langchain_core.messages import AIMessageChunk
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder

from agent.model.chat_model import chat_model
from agent.model.errors import ModelError
from agent.prompt import CHAT_PROMPT
from agent.settings import InvalidSettings

PROMPT = ChatPromptTemplate(
    [
        ("system", CHAT_PROMPT),
        MessagesPlaceholder("history", optional=True),
        ("human", "{question}"),
    ]
)

try:
    chain = PROMPT | chat_model()
except InvalidSettings as error:
    if __name__ != "__main__":
        raise
    sys.stderr.write(f"steady: {error}\n")
    sys.exit(2)


def show_stream(question: str) -> None:
    """Prints the answer by `stream`."""
    for piece in chain.stream({"question": question}):
        _write(piece.text)
    _write("\n")


async def show_astream(question: str) -> None:
    """Prints the answer by `astream`."""
    async for piece in chain.astream({"question": question}):
        _write(piece.text)
    _write("\n")


async def show_events(question: str) -> None:
    """Prints one line for each event of `astream_events`."""
    async for event in chain.astream_events({"question": question}, version="v2"):
        chunk = event["data"].get("chunk")
        text = repr(chunk.text) if isinstance(chunk, AIMessageChunk) else ""
        _write(f"{event['event']:<22} {event['name']:<18} {text}".rstrip() + "\n")


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def main() -> int:
    """`steady chain`: 1 if the model failed, 2 for no question, 130 if it was interrupted."""
    parser = argparse.ArgumentParser(prog="steady chain")
    parser.add_argument("question")
    parser.add_argument("--how", choices=["stream", "astream", "events"], default="astream")
    arguments = parser.parse_args()
    if not arguments.question.strip():
        sys.stderr.write("steady: The question is empty: say something.\n")
        return 2
    try:
        _show(arguments.question, arguments.how)
    except ModelError as error:
        sys.stderr.write(f"steady: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # what is left in the buffer is written once more when Python ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _show(question: str, how: str) -> None:
    match how:
        case "stream":
            show_stream(question)
        case "astream":
            asyncio.run(_show_and_close(show_astream(question)))
        case "events":
            asyncio.run(_show_and_close(show_events(question)))


async def _show_and_close(show: Coroutine[Any, Any, None]) -> None:
    """Closes the model's connections before the event loop ends.

    An answer that was left in the middle would be closed by the loop itself, all of its generators
    at once, and httpx2's then find each other running.
    """
    try:
        await show
    finally:
        await chat_model().aclose()


if __name__ == "__main__":
    sys.exit(main())
