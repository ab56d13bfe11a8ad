"""llama.cpp in this process: completions of raw prompts, in slots that each keep what they read."""

import asyncio
import contextlib
import json
import os
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import xllamacpp

from agent.embedded.states import States
from agent.embedded.weights import WEIGHTS

Json = dict[str, Any]

CONTEXT_TOKENS = 8192
# One slot only chooses functions, so that its constant prefix is always warm; the others answer.
CHOICE_SLOT = 0
ANSWER_SLOTS = (1, 2, 3)
# Far enough down the list of likely tokens to find the beginning of every function's name.
LIKELY_TOKENS = 400
UNLIKELY = -20.0
# What is read at once: between two such pieces others write a token, and a reader who left is seen.
READ_TOKENS = 32
_AFFINITY = hasattr(os, "sched_getaffinity")  # Linux


class EngineError(Exception):
    """llama.cpp refused a request."""


@dataclass(frozen=True)
class Piece:
    """A piece of a completion; the last one has `reason` (stop or length) and the counts."""

    text: str
    reason: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Slots:
    """Lends answer slots, the one that has read most of a prompt first; waits when all are lent."""

    def __init__(self) -> None:
        self._read = dict.fromkeys(ANSWER_SLOTS, "")
        self._free = set(ANSWER_SLOTS)
        self._returned = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def lend(self, prompt: str) -> AsyncIterator[int]:
        async with self._returned:
            await self._returned.wait_for(lambda: self._free)
            slot = max(self._free, key=lambda s: _shared_chars(self._read[s], prompt))
            self._free.remove(slot)
        self._read[slot] = prompt
        try:
            yield slot
        finally:
            self._free.add(slot)
            await asyncio.shield(self._notify())

    async def _notify(self) -> None:
        async with self._returned:
            self._returned.notify()


class Engine:
    """The loaded model. Use it as an async context manager; loading takes about a second."""

    def __init__(self, gguf: Path, states: Path) -> None:
        """`states` is a folder for what the slots have read, to be read back by the next start."""
        states.mkdir(parents=True, exist_ok=True)
        key = secrets.token_urlsafe(32)
        self._server = xllamacpp.Server(_params(gguf, states, key))
        self._http = httpx.AsyncClient(
            base_url=self._server.listening_address,
            headers={"Authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(None, connect=5),
            # llama.cpp closes idle connections at any time; on loopback a new one costs nothing.
            limits=httpx.Limits(max_keepalive_connections=0),
            trust_env=False,
        )
        self._states = States(states)
        self.slots = Slots()
        self.choosing = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def stream(self, prompt: str, slot: int, **options: Any) -> AsyncGenerator[Piece]:
        """Continue `prompt`; options are llama.cpp's. Closing the iterator stops the model."""
        body = {"prompt": prompt, "id_slot": slot, "stream": True, **options}
        async with self._http.stream("POST", "/completion", json=body) as response:
            if response.is_error:
                raise EngineError(_reason(await response.aread()))
            async for line in response.aiter_lines():
                if line.startswith(("data:", "error:")):
                    yield _piece(json.loads(line.partition(":")[2]))

    async def complete(self, prompt: str, slot: int, **options: Any) -> Piece:
        """Continue `prompt`, and return the whole text as one piece."""
        text, last = "", Piece("")
        async with contextlib.aclosing(self.stream(prompt, slot, **options)) as pieces:
            async for last in pieces:
                text += last.text
        return Piece(text, last.reason, last.prompt_tokens, last.completion_tokens)

    async def likely(self, prompt: str, slot: int) -> dict[str, float]:
        """The likeliest next tokens after `prompt`, each with its log probability."""
        body = {"prompt": prompt, "id_slot": slot, "n_predict": 1, "n_probs": LIKELY_TOKENS}
        reply = await self._post("/completion", body)
        tokens: dict[str, float] = {}
        for entry in reply["completion_probabilities"][0]["top_logprobs"]:
            tokens.setdefault(entry["token"], entry["logprob"])
        return tokens

    async def tokens(self, text: str) -> list[str]:
        """The tokens that `text` is read as."""
        reply = await self._post("/tokenize", {"content": text, "with_pieces": True})
        return [str(token["piece"]) for token in reply["tokens"]]

    async def read(self, prompt: str, slot: int) -> None:
        """Have a slot read a prompt and keep it, without writing anything."""
        await self._post("/completion", {"prompt": prompt, "id_slot": slot, "n_predict": 0})

    async def save(self, slot: int, name: str, note: Json) -> None:
        """Keep what a slot has read, and a note with it, for `restore`."""
        part = f"{name}.{secrets.token_hex(4)}"
        await self._post(f"/slots/{slot}?action=save", {"filename": part})
        await asyncio.to_thread(self._states.keep, part, name, note)

    async def restore(self, slot: int, name: str) -> Json | None:
        """Give a slot what `save` stored, and return the note; None if nothing usable is stored."""
        note = await asyncio.to_thread(self._states.note, name)
        if note is None:
            return None
        try:
            await self._post(f"/slots/{slot}?action=restore", {"filename": f"{name}.kv"})
        except EngineError:
            return None
        return note

    async def _post(self, path: str, body: Json) -> Json:
        response = await self._http.post(path, json=body)
        if response.is_error:
            raise EngineError(_reason(response.content))
        reply: Json = response.json()
        return reply


def version() -> str:
    """What a saved state depends on: another engine or model may not be able to read it."""
    return f"{xllamacpp.__version__} {WEIGHTS.sha256}"


def _shared_chars(one: str, other: str) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def _params(gguf: Path, states: Path, key: str) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = str(gguf)
    slots = 1 + len(ANSWER_SLOTS)
    params.n_batch = params.n_ubatch = READ_TOKENS
    params.n_parallel, params.n_ctx = slots, slots * CONTEXT_TOKENS
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = _threads()
    params.port, params.api_keys = 0, [key]
    params.slot_save_path = f"{states}{os.sep}"
    params.ui = params.use_jinja = params.fit_params = params.warmup = False
    params.cache_ram_mib = 0
    params.verbosity = 1
    return params


def _threads() -> int:
    # More than eight do not read a model this small any faster.
    return max(1, min(8, len(os.sched_getaffinity(0)) if _AFFINITY else os.cpu_count() or 1))


def _piece(event: Json) -> Piece:
    if "content" not in event:
        raise EngineError(str(event.get("message") or event))
    if not event["stop"]:
        return Piece(event["content"])
    reason = "length" if event["stop_type"] == "limit" else "stop"
    return Piece(event["content"], reason, event["tokens_evaluated"], event["tokens_predicted"])


def _reason(body: bytes) -> str:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(json.loads(body)["error"]["message"])
    return body.decode(errors="replace")
