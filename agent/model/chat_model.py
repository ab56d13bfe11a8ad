"""Which chat model answers: an OpenAI-compatible endpoint, or the embedded default."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from functools import lru_cache
from typing import Any, cast
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from agent import embedded
from agent.model.errors import explain
from agent.model.frames import FrameTransport
from agent.model.http_chunks import MergingTransport
from agent.model.partial import Whole, note
from agent.model.requests import as_endpoints_take_it
from agent.settings import OPENAI_URL, Settings, settings

DEFAULT_MODEL = "gpt-5-mini"


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
        input_ = as_endpoints_take_it(self._convert_input(input_).to_messages())
        if not self._use_responses_api({**self._default_params, **kwargs}):
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
        whole = note(Whole())
        made_here = cast(AsyncGenerator[ChatGenerationChunk], super()._astream(*args, **kwargs))
        with self._explained(kwargs):
            async with aclosing(made_here) as pieces:
                async for made in pieces:
                    yield whole.add(made)
            whole.check()

    async def aclose(self) -> None:
        """Closes the connections of its asynchronous calls, and the answers still being read."""
        if self.http_async_client is not None:
            await self.http_async_client.aclose()

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


@lru_cache(maxsize=1)
def chat_model() -> ChatModel:
    """The process's chat model, as the settings say; a run's context may override its name."""
    return make_chat_model(settings())


def make_chat_model(config: Settings) -> ChatModel:
    """A chat model with token frames, keep-alive and proxies as the OpenAI SDK has them."""
    url = embedded.BASE_URL if config.embedded else config.openai_base_url or OPENAI_URL
    inner: httpx2.AsyncBaseTransport
    if config.embedded:
        inner = embedded.AsyncTransport(config.steady_gguf)
        sync_client = httpx2.Client(
            transport=embedded.Transport(config.steady_gguf), timeout=_TIMEOUT
        )
    else:
        inner = MergingTransport(proxy=_proxy_for(url))
        sync_client = None
    client = httpx2.AsyncClient(
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
        stream_chunk_timeout=config.steady_model_idle_seconds,
        max_retries=config.steady_model_retries,
    )


def _silent_after(seconds: float | None) -> httpx2.Timeout:
    return httpx2.Timeout(600, connect=5, read=seconds)


_TIMEOUT = _silent_after(600)


def _model_name(config: Settings) -> str:
    return config.steady_model or (embedded.MODEL if config.embedded else DEFAULT_MODEL)


def _proxy_for(url: str) -> str | None:
    """The proxy that the environment names for `url`; a client with a transport reads none."""
    parts = urlsplit(url)
    if proxy_bypass(parts.netloc):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")
