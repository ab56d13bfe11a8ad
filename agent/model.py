"""Which chat model answers: an OpenAI-compatible endpoint, or the embedded default."""

import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, cast
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx
import openai
from langchain_core.messages import AIMessage, BaseMessage, ToolCallChunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from agent import embedded
from agent.frames import FrameTransport
from agent.settings import Settings, settings

DEFAULT_MODEL = "gpt-5-mini"
OPENAI_URL = "https://api.openai.com/v1"


class ModelError(RuntimeError):
    """The model cannot answer; the message is one line that says which setting to change.

    A RuntimeError because the LangGraph server passes only built-in kinds' messages on to clients.
    `is_transient`: the same call may succeed in a moment. `is_broken_off`: and it failed once the
    answer had begun, so that nobody below has tried again.
    """

    def __init__(
        self, message: str, *, is_transient: bool = False, is_broken_off: bool = False
    ) -> None:
        super().__init__(message)
        self.is_transient = is_transient or is_broken_off
        self.is_broken_off = is_broken_off


class ChatModel(ChatOpenAI):
    """ChatOpenAI that also keeps the reasoning text of OpenAI-compatible endpoints.

    DeepSeek, vLLM, Ollama and others stream it as `reasoning_content` or `reasoning`, which
    ChatOpenAI drops; langchain-core reads it from `additional_kwargs["reasoning_content"]`.
    """

    def _convert_chunk_to_generation_chunk(
        self, chunk: dict[str, Any], default_chunk_class: type, base_generation_info: Any
    ) -> ChatGenerationChunk | None:
        made = super()._convert_chunk_to_generation_chunk(
            chunk, default_chunk_class, base_generation_info
        )
        if made is not None and (choices := chunk.get("choices")):
            delta = choices[0].get("delta") or {}
            if reasoning := delta.get("reasoning_content") or delta.get("reasoning"):
                made.message.additional_kwargs["reasoning_content"] = reasoning
        return made

    def _get_request_payload(self, input_: Any, **kwargs: Any) -> dict[str, Any]:
        """Messages and tools go as they are: the OpenAI SDK would walk through each of them to
        rename fields, which chat messages have none of, for 0.15 ms a message before the first
        token. And LangChain would look at each character of an answer, as if it were a block that
        may hold sound: so it gets the answers without their texts."""
        texts: dict[int, str] = {}
        if not self._use_responses_api({**self._default_params, **kwargs}):
            input_ = self._convert_input(input_).to_messages()
            texts = {
                at: message.content
                for at, message in enumerate(input_)
                if isinstance(message, AIMessage) and isinstance(message.content, str)
            }
            input_ = [
                message.model_copy(update={"content": ""}) if at in texts else message
                for at, message in enumerate(input_)
            ]
        payload = super()._get_request_payload(input_, **kwargs)
        for at, text in texts.items():
            said = payload["messages"][at]
            said["content"] = text or said["content"]
        if payload.get("stream") and "messages" in payload and "response_format" not in payload:
            as_they_are = {key: payload.pop(key) for key in ("tools", "messages") if key in payload}
            payload["extra_body"] = {**(payload.get("extra_body") or {}), **as_they_are}
            payload["messages"] = []
        return payload

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        """Raises ModelError. LangChain's `stream_chunk_timeout` holds for async streams only."""
        whole = Whole()
        kwargs.setdefault("timeout", _silent_after(self.stream_chunk_timeout))
        with self._explained(kwargs):
            for made in super()._stream(*args, **kwargs):
                yield whole.add(made)
            whole.check()

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncGenerator[ChatGenerationChunk]:
        """Raises ModelError."""
        whole = Whole()
        if (said := _partial.get()) is not None:
            said.append(whole)
        made_here = cast(AsyncGenerator[ChatGenerationChunk], super()._astream(*args, **kwargs))
        with self._explained(kwargs):
            async with aclosing(made_here) as pieces:
                async for made in pieces:
                    yield whole.add(made)
            whole.check()

    @contextmanager
    def _explained(self, options: dict[str, Any]) -> Iterator[None]:
        """Words the endpoint's failures for people."""
        try:
            yield
        except Exception as error:
            told = explain(error, settings(), options.get("model") or self.model_name)
            if told is None:
                raise
            raise told from error


_partial: ContextVar[list["Whole"] | None] = ContextVar("partial", default=None)


@contextmanager
def partial_answer() -> Iterator[list["Whole"]]:
    """What model calls inside have said so far, the last one last.

    A call that is cancelled may be cut while it is not reading but telling of what it read: its
    own code hears of that too late to say anything. Whoever asks inside of another who asks gets
    the same list.
    """
    said = _partial.get()
    said = [] if said is None else said
    token = _partial.set(said)
    try:
        yield said
    finally:
        _partial.reset(token)


class Whole:
    """A streamed answer: what came of it, and whether it came to its end and can be read."""

    def __init__(self) -> None:
        self._is_finished = False
        self._first: BaseMessage | None = None
        self._texts: list[str] = []
        self._calls: dict[Any, ToolCallChunk] = {}

    def add(self, made: ChatGenerationChunk) -> ChatGenerationChunk:
        """Takes note of a piece, and passes it on."""
        self._is_finished = self._is_finished or _is_finish(made)
        if self._first is None:
            self._first = made.message
        content = made.message.content  # `text` would make a copy of what is a text already
        self._texts.append(content if isinstance(content, str) else made.message.text)
        for piece in getattr(made.message, "tool_call_chunks", ()):
            self._add_piece(piece)
        made.message.id = None  # the Responses API's is on some pieces only; LangChain's is on all
        return made

    @property
    def partial(self) -> AIMessage:
        """The text so far, under the id that LangChain gave the pieces when they were passed on."""
        return AIMessage("".join(self._texts), id=self._first.id if self._first else None)

    def _add_piece(self, piece: ToolCallChunk) -> None:
        call = self._calls.setdefault(piece.get("index"), {**piece, "args": ""})
        call["args"] = f"{call['args']}{piece.get('args') or ''}"

    def check(self) -> None:
        """Raises ModelError; LangChain would mend arguments that were cut short, or drop them."""
        if not self._is_finished:
            raise ModelError(
                "The model broke off in the middle of its answer: try again.", is_broken_off=True
            )
        for call in self._calls.values():
            try:
                arguments = json.loads(call["args"] or "{}", strict=False)
            except ValueError:
                arguments = None
            if not isinstance(arguments, dict):
                raise ModelError(
                    f"The model called {call['name']} with arguments that are not valid JSON: "
                    "try again, or choose another model.",
                    is_broken_off=True,
                )


def _is_finish(made: ChatGenerationChunk) -> bool:
    """Chat Completions end with a finish reason, Responses with a status."""
    told = {**made.message.response_metadata, **(made.generation_info or {})}
    return bool(told.get("finish_reason") or told.get("status"))


@lru_cache(maxsize=1)
def chat_model() -> ChatModel:
    """The process's chat model, as the settings say; a run's context may override its name."""
    return make_chat_model(settings())


def make_chat_model(config: Settings) -> ChatModel:
    """A chat model with token frames, keep-alive and proxies as the OpenAI SDK has them."""
    url = embedded.BASE_URL if config.embedded else config.openai_base_url or OPENAI_URL
    inner: httpx.AsyncBaseTransport
    if config.embedded:
        inner = embedded.AsyncTransport(config.steady_gguf)
        sync_client = httpx.Client(
            transport=embedded.Transport(config.steady_gguf), timeout=_TIMEOUT
        )
    else:
        inner = httpx.AsyncHTTPTransport(proxy=_proxy_for(url), limits=_LIMITS)
        sync_client = None
    client = httpx.AsyncClient(
        transport=FrameTransport(inner, config.steady_frame_seconds),
        timeout=_TIMEOUT,
        follow_redirects=True,
    )
    return ChatModel(
        model=_model_name(config),
        base_url=url,
        api_key=config.openai_api_key or SecretStr("none"),
        http_async_client=client,
        http_client=sync_client,
        use_responses_api=config.steady_responses_api,
        streaming=True,
        stream_usage=True,
        stream_chunk_timeout=config.steady_model_silence_seconds,
        max_retries=config.steady_model_retries,
    )


def _silent_after(seconds: float | None) -> httpx.Timeout:
    return httpx.Timeout(600, connect=5, read=seconds)


_TIMEOUT = _silent_after(600)
# Few: with each request httpcore looks at every idle connection once for each connection it has.
_LIMITS = httpx.Limits(max_connections=1000, max_keepalive_connections=10)


def _model_name(config: Settings) -> str:
    return config.steady_model or (embedded.MODEL if config.embedded else DEFAULT_MODEL)


def _proxy_for(url: str) -> str | None:
    """The proxy that the environment names for `url`; a client with a transport reads none."""
    parts = urlsplit(url)
    if proxy_bypass(parts.netloc):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")


def explain(error: BaseException, config: Settings, model: str | None = None) -> ModelError | None:
    """Turns what a model call raised into one line for the person; None: not the model's doing.

    `model` is the one that the run chose, where it did.
    """
    where = "The embedded model" if config.embedded else f"The model endpoint {_endpoint(config)}"
    match error:
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            return ModelError(f"{where} refused the key: check OPENAI_API_KEY.")
        case openai.NotFoundError():
            name = model or _model_name(config)
            return ModelError(
                f"{where} does not know the model {name!r}, or its URL is wrong: "
                f"check STEADY_MODEL and OPENAI_BASE_URL."
            )
        case openai.APIStatusError(status_code=503) if config.embedded:
            return ModelError(_told(error))
        case openai.RateLimitError():
            told = f"{where} is over its rate limit or quota: try again later."
            return ModelError(told, is_transient=error.code != "insufficient_quota")
        case openai.BadRequestError() | openai.UnprocessableEntityError():
            return ModelError(f"{where} rejected the request: {_told(error)}")
        case openai.APIStatusError():
            told = f"{where} failed with status {error.status_code}: try again later."
            return ModelError(told, is_transient=error.status_code >= 500)
        case openai.APIConnectionError() if _never_connected(error):
            told = f"{where} cannot be reached: check OPENAI_BASE_URL."
            return ModelError(told, is_transient=True)
        case openai.APITimeoutError() | httpx.TimeoutException() | TimeoutError():
            told = f"{where} went silent: try again, or raise STEADY_MODEL_SILENCE_SECONDS."
            return ModelError(told, is_broken_off=True)
        case openai.APIConnectionError() | httpx.TransportError():
            told = f"{where} broke off in the middle of its answer: try again."
            return ModelError(told, is_broken_off=True)
        case openai.APIError():
            return ModelError(f"{where} reported an error: {_told(error)}", is_broken_off=True)
        case ValueError() if "json" in type(error).__name__.lower():
            told = f"{where} sent something that is not valid JSON: try again."
            return ModelError(told, is_broken_off=True)
    return None


def _never_connected(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        error = error.__cause__
    return error is not None


def _endpoint(config: Settings) -> str:
    parts = urlsplit(config.openai_base_url or OPENAI_URL)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"


def _told(error: openai.APIError) -> str:
    """What the endpoint itself said, one line, at most 300 characters."""
    body = error.body if isinstance(error.body, dict) else {}
    text = str(body.get("message") or error.message)
    return " ".join(text.split())[:300]
