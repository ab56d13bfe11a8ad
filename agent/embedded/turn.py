"""One answer of the model: choose a function and write its arguments, or write text."""

import asyncio
import contextlib
import json
import re
import secrets
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import jsonschema_rs

from agent.embedded.choice import Chooser
from agent.embedded.engine import ANSWER_SLOTS, CHOICE_SLOT, CONTEXT_TOKENS, Engine, version
from agent.embedded.prompt import (
    ARGUMENTS_LEAD,
    CHOICE_MESSAGE_CHARS,
    Turn,
    answer_prefix,
    answer_prompt,
    choice_prompt,
    turns,
)
from agent.embedded.states import key
from agent.embedded.wire import (
    Arguments,
    BadRequest,
    CallStarted,
    ChatRequest,
    Finished,
    Function,
    Json,
    Message,
    Part,
    Text,
    Usage,
)

ANSWER_TOKENS = 1024
# Arguments quote the message. A small model that does not end them would write for a minute.
ARGUMENT_TOKENS = 64
ARGUMENT_TOKENS_PER_CHAR = 0.5
# An answer needs some room even when the conversation fills the context.
LEAST_ANSWER_TOKENS = 256
# When a conversation no longer fits, it is cut to this, so that the next cut is many turns away.
CUT_PROMPT_TOKENS = CONTEXT_TOKENS // 4

_SAMPLING = {"temperature": 0.3, "top_p": 0.8, "top_k": 20, "repeat_penalty": 1.05}
# A passage of so many characters, three times in a row.
_LOOP = re.compile(r"(.{20,400})\1\1\Z", re.DOTALL)
_LOOP_CHARS = 1200
_LOOP_WORDS = 4  # fewer different ones may be a ruled line, or a refrain
_PASSAGE_ENDS = frozenset("\n.!?")
_GREEDY = {"temperature": 0.0}


class Model:
    """Answers chat requests with an engine; remembers what it has prepared."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._choosers: dict[str, Chooser] = {}
        self._read: set[str] = set()
        self._warming = asyncio.Lock()

    async def warm(self, messages: Sequence[Message], functions: Sequence[Function]) -> None:
        """Read what stays the same between messages, so that the first answer need not wait."""
        if functions:
            await self._chooser(functions).prepare()
        await self._read_prefix(answer_prefix(turns(messages)[0], functions))

    async def answer(self, request: ChatRequest) -> AsyncGenerator[Part]:
        """The parts of one answer; raises BadRequest before the first if it cannot be served."""
        system, talk = turns(request.messages)
        call = await self._call(request, talk)
        if call:
            for part in call:
                yield part
            return
        functions = [tool.function for tool in request.tools or []]
        prompt = await self._fitting(system, functions, talk)
        async with contextlib.aclosing(self._text(prompt, _options(request))) as parts:
            async for part in parts:
                yield part

    async def _call(self, request: ChatRequest, talk: list[Turn]) -> list[Part] | None:
        functions, forced = request.functions, request.forced
        if not functions or (talk[-1].answers_a_tool and forced is None):
            return None
        chooser = self._chooser(functions)
        name = forced or await chooser.choose(talk, forced=forced is not None)
        function = next((f for f in functions if f.name == name), None)
        return await self._arguments(functions, function, talk) if function else None

    async def _arguments(
        self, functions: Sequence[Function], function: Function, talk: list[Turn]
    ) -> list[Part] | None:
        prompt = f"{choice_prompt(functions, talk)} {function.name}{ARGUMENTS_LEAD}"
        schema = argument_schema(function)
        message = talk[-1].user[:CHOICE_MESSAGE_CHARS]
        room = ARGUMENT_TOKENS + int(ARGUMENT_TOKENS_PER_CHAR * len(message))
        async with self._engine.choosing:
            written = await self._engine.complete(
                prompt, CHOICE_SLOT, json_schema=schema, n_predict=room, **_GREEDY
            )
        arguments = fitting_arguments(written.text, function, talk[-1].user)
        if arguments is None:
            return None
        usage = Usage(written.prompt_tokens, written.completion_tokens)
        started = CallStarted(f"call_{secrets.token_hex(8)}", function.name)
        return [started, Arguments(arguments), Finished("tool_calls", usage)]

    async def _text(self, prompt: str, options: Json) -> AsyncGenerator[Part]:
        async with (
            self._engine.slots.lend(prompt) as slot,
            contextlib.aclosing(self._engine.stream(prompt, slot, **options)) as pieces,
        ):
            text, written = "", 0
            async for piece in pieces:
                text, written = (text + piece.text)[-_LOOP_CHARS:], written + 1
                if piece.text:
                    yield Text(piece.text)
                if not piece.reason and piece.text[-1:] in _PASSAGE_ENDS and is_loop(text):
                    yield Finished("stop", Usage(len(await self._engine.tokens(prompt)), written))
                    return
                if piece.reason:
                    usage = Usage(piece.prompt_tokens, piece.completion_tokens)
                    yield Finished(piece.reason, usage)

    async def _fitting(self, system: str, functions: Sequence[Function], talk: list[Turn]) -> str:
        """The answer prompt, without the oldest turns if they do not fit."""
        limit = CONTEXT_TOKENS - LEAST_ANSWER_TOKENS
        prompt = answer_prompt(system, functions, talk)
        while (count := await self._count(prompt)) > limit and len(talk) > 1:
            limit = CUT_PROMPT_TOKENS
            talk = talk[1:]
            prompt = answer_prompt(system, functions, talk)
        if count > CONTEXT_TOKENS - LEAST_ANSWER_TOKENS:
            raise BadRequest(
                f"The last message has about {count} tokens; the embedded model reads at most "
                f"{CONTEXT_TOKENS - LEAST_ANSWER_TOKENS}. Shorten it, or use another model.",
                "context_length_exceeded",
            )
        return prompt

    async def _count(self, prompt: str) -> int:
        return len(await self._engine.tokens(prompt))

    def _chooser(self, functions: Sequence[Function]) -> Chooser:
        key = json.dumps([f.model_dump() for f in functions], sort_keys=True)
        return self._choosers.setdefault(key, Chooser(self._engine, functions))

    async def _read_prefix(self, prefix: str) -> None:
        async with self._warming:  # two that each held some of the slots would wait for ever
            if prefix in self._read:
                return
            async with contextlib.AsyncExitStack() as lent:
                lend = self._engine.slots.lend
                slots = [await lent.enter_async_context(lend(prefix)) for _ in ANSWER_SLOTS]
                await self._fill(slots, prefix)
            self._read.add(prefix)

    async def _fill(self, slots: Sequence[int], prefix: str) -> None:
        first, *others = slots
        name = key("answer", version(), prefix)
        if await self._engine.restore(first, name) is None:
            await self._engine.read(prefix, first)
            await self._engine.save(first, name, {})
        for slot in others:
            await self._engine.restore(slot, name)


def is_loop(text: str) -> bool:
    """Whether the text ends with one passage three times.

    A small model that has no more to say says its last lines again, until its limit.
    """
    found = _LOOP.search(text)
    return found is not None and len(set(found[1].split())) >= _LOOP_WORDS


def argument_schema(function: Function) -> Json:
    """The schema that the model writes under: the function's own, and nothing besides."""
    return {"type": "object", "additionalProperties": False, **function.parameters}


def fitting_arguments(written: str, function: Function, message: str) -> str | None:
    """The arguments as JSON text if they fit the function's schema, else None."""
    try:
        arguments = json.loads(written)
    except ValueError:
        return None
    arguments = without_examples(arguments, function, message)
    if not jsonschema_rs.is_valid(argument_schema(function), arguments):
        return None
    return json.dumps(arguments, ensure_ascii=False)


def without_examples(arguments: Any, function: Function, message: str) -> Any:
    """Leave out optional arguments that repeat an example of the description, not the message."""
    if not isinstance(arguments, dict):
        return arguments
    required = function.parameters.get("required", [])
    examples = set(re.findall(r"'([^']+)'", function.description))
    text = message.casefold()
    return {
        key: value
        for key, value in arguments.items()
        if key in required
        or not isinstance(value, str)
        or value not in examples
        or any(word in text for word in _words(value))
    }


def _words(value: str) -> list[str]:
    return [word for word in re.split(r"\W+", value.casefold()) if word]


def _options(request: ChatRequest) -> Json:
    """The request's options, under llama.cpp's names."""
    wanted = {"temperature": request.temperature, "top_p": request.top_p, "seed": request.seed}
    options: Json = _SAMPLING | {key: value for key, value in wanted.items() if value is not None}
    stop = [request.stop] if isinstance(request.stop, str) else request.stop or []
    options |= {"n_predict": request.token_limit or ANSWER_TOKENS, "stop": stop}
    return options | ({"json_schema": request.schema_wanted} if request.schema_wanted else {})
