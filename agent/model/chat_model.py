"""Which chat model answers: an OpenAI-compatible endpoint, or the embedded default."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from functools import lru_cache
from typing import Any, cast

import openai
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_openai import ChatOpenAI
from pydantic import PrivateAttr, SecretStr

from agent import embedded
from agent.model import endpoint
from agent.model.dialects.tool_calls import CALL_ID
from agent.model.errors import ModelError, explain
from agent.model.parsed_answers import ParsedCompletions
from agent.model.partial import PartialAnswer, record
from agent.model.refused_settings import (
    EXTRAS,
    NAMES,
    PICTURES,
    REASONING,
    REASONING_EVERYWHERE,
    RESULT_BEFORE_QUESTION,
    RefusedSettings,
)
from agent.model.requests import as_endpoints_take_it
from agent.model.token_callbacks import direct_callbacks, joined, message_id
from agent.model.tool_results import Pictures, pictures_of
from agent.settings import OPENAI_URL, Settings, settings
from agent.telemetry.runs import MeasuredCall

DEFAULT_MODEL = "gpt-5-mini"
CALL_EXTRAS = "tool_call_extras"
_WITHOUT_PICTURES = "without_pictures_of_tools"  # an option of one call
_REFUSALS = (openai.BadRequestError, openai.UnprocessableEntityError)


class ChatModel(ChatOpenAI):
    """ChatOpenAI for what OpenAI-compatible endpoints send and want beyond OpenAI's own.

    Others than OpenAI stream reasoning, which comes here as `reasoning_content`, and
    Gemini signs its calls in `extra_content`. ChatOpenAI drops both; here they are kept in a
    message's `additional_kwargs`, and sent back with it, as these endpoints demand. What an
    endpoint refuses of a request is left out from then on.
    """

    def _convert_chunk_to_generation_chunk(
        self, chunk: dict[str, Any], default_chunk_class: type, base_generation_info: Any
    ) -> ChatGenerationChunk | None:
        text = None if base_generation_info else _plain_text(chunk)
        if text is not None and (piece := self._text_piece) is not None:
            return _with_text(piece, text)
        made = super()._convert_chunk_to_generation_chunk(
            chunk, default_chunk_class, base_generation_info
        )
        if text is not None and made is not None and type(made.message) is AIMessageChunk:
            self._text_piece = _with_text(made, text)
        if made is not None and (choices := chunk.get("choices")):
            delta = choices[0].get("delta") or {}
            if reasoning := delta.get("reasoning_content"):
                made.message.additional_kwargs["reasoning_content"] = reasoning
            if extras := dict(_extras_of_calls(delta)):
                made.message.additional_kwargs[CALL_EXTRAS] = extras
        return made

    async def _agenerate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with direct_callbacks(run_manager):
            return await super()._agenerate_with_cache(messages, stop, run_manager, **kwargs)

    _text_piece: ChatGenerationChunk | None = PrivateAttr(default=None)  # all pieces of text alike
    _refused: RefusedSettings = PrivateAttr(default_factory=RefusedSettings)
    _trouble: str | None = PrivateAttr(default=None)
    _config: Settings = PrivateAttr(default_factory=settings)

    def _get_request_payload(self, input_: Any, **kwargs: Any) -> dict[str, Any]:
        """Messages and tools go as they are: the OpenAI SDK would walk through each of them to
        rename fields, which chat messages have none of, for 0.15 ms a message before the first
        token."""
        model = kwargs.get("model") or self.model_name
        refused = self._refused.of(model)
        is_without_pictures = kwargs.pop(_WITHOUT_PICTURES, False) or PICTURES in refused
        is_response = self._use_responses_api({**self._default_params, **kwargs})
        pictures: Pictures = "within" if is_response else "after"
        messages = as_endpoints_take_it(
            self._convert_input(input_).to_messages(),
            answer_after_results=RESULT_BEFORE_QUESTION in refused,
            pictures="left out" if is_without_pictures else pictures,
        )
        if is_response:
            payload = super()._get_request_payload(messages, **kwargs)
        else:
            bare = [_without_text(message) for message in messages]
            payload = super()._get_request_payload(bare, **kwargs)
            for message, sent in zip(messages, payload["messages"], strict=True):
                if isinstance(message, AIMessage):
                    _complete(sent, message, refused)
        self._refused.remove_from(payload, model)
        if payload.get("stream") and "messages" in payload and "response_format" not in payload:
            as_they_are = {key: payload.pop(key) for key in ("tools", "messages") if key in payload}
            payload["extra_body"] = {**(payload.get("extra_body") or {}), **as_they_are}
            payload["messages"] = []
        return payload

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        """Raises ModelError."""
        answer = PartialAnswer()
        with self._explained(kwargs):
            while True:
                try:
                    for made in super()._stream(*args, **kwargs):
                        yield answer.add(made)
                    break
                except openai.APIStatusError as error:
                    if not self._learn(error, args, kwargs):
                        raise

    def _astream(self, *args: Any, **kwargs: Any) -> AsyncGenerator[ChatGenerationChunk]:
        """Raises ModelError."""
        pieces = self._pieces(*args, **kwargs)
        return pieces if "run_manager" in kwargs or self.output_version == "v1" else joined(pieces)

    async def _pieces(self, *args: Any, **kwargs: Any) -> AsyncGenerator[ChatGenerationChunk]:
        manager = kwargs.get("run_manager")
        answer = record(PartialAnswer(manager and message_id(manager)))
        call = MeasuredCall(kwargs.get("model") or self.model_name)
        with call, self._explained(kwargs):
            while True:
                made_here = cast(
                    AsyncGenerator[ChatGenerationChunk], super()._astream(*args, **kwargs)
                )
                try:
                    async with aclosing(made_here) as pieces:
                        async for made in pieces:
                            call.add(made.message)
                            yield answer.add(made)
                    break
                except openai.APIStatusError as error:
                    if not self._learn(error, args, kwargs):
                        raise

    def _learn(
        self, error: openai.APIStatusError, args: tuple[Any, ...], options: dict[str, Any]
    ) -> bool:
        """Whether the endpoint has refused something that the same request can do without.

        Some refuse pictures with 404 or 500. Where it may be one of them, and not all, that is
        refused, this call alone goes without.
        """
        model, is_refusal = options.get("model") or self.model_name, isinstance(error, _REFUSALS)
        pictures = set[str]()
        if not options.get(_WITHOUT_PICTURES) and any(map(pictures_of, args[0])):
            pictures = {PICTURES} - self._refused.of(model)
        if not is_refusal and not pictures:
            return False
        payload = self._get_request_payload(*args[:1], **{"stream": True, **options})
        sent = {*payload, *(payload.get("extra_body") or {})}
        sent |= {"stream_options"} if self.stream_usage else set()
        messages = (payload.get("extra_body") or payload).get("messages") or ()
        sent |= {name for name in (REASONING, EXTRAS) if any(_has(name, m) for m in messages)}
        sent |= {NAMES for m in messages if m["role"] == "assistant" and "name" in m}
        if self._refused.learn(model, sent | pictures if is_refusal else pictures, error):
            return True
        options[_WITHOUT_PICTURES] = is_refusal and bool(pictures)
        return bool(options[_WITHOUT_PICTURES])

    async def aclose(self) -> None:
        """Closes the connections of its asynchronous calls, and the answers still being read."""
        if self.http_async_client is not None:
            await self.http_async_client.aclose()

    @contextmanager
    def _explained(self, options: dict[str, Any]) -> Iterator[None]:
        """Words the endpoint's failures for people."""
        if self._trouble:
            raise ModelError(self._trouble)
        try:
            yield
        except Exception as error:
            told = explain(error, self._config, options.get("model") or self.model_name)
            if told is None:
                raise
            raise told from error


@lru_cache(maxsize=1)
def chat_model() -> ChatModel:
    """The process's chat model, as the settings say; a run's context may override its name."""
    return make_chat_model(settings())


def make_chat_model(config: Settings) -> ChatModel:
    """A chat model as the settings say; where they cannot be used, its calls raise ModelError."""
    trouble = endpoint.trouble(config)
    model = ChatModel(
        model=config.steady_model or (embedded.MODEL if config.embedded else DEFAULT_MODEL),
        base_url=OPENAI_URL if trouble else endpoint.base_url(config),
        api_key=SecretStr("none") if trouble else config.openai_api_key or SecretStr("none"),
        openai_proxy=None,
        http_async_client=endpoint.async_client(config),
        http_client=endpoint.sync_client(config),
        use_responses_api=config.steady_responses_api,
        streaming=True,
        stream_usage=True,
        stream_chunk_timeout=None,  # the client's transport sees the endpoint's comments too
        max_retries=config.steady_model_retries,
    )
    model.async_client = ParsedCompletions(model.async_client)
    model._config, model._trouble = config, trouble
    if config.embedded:
        model._refused = RefusedSettings({PICTURES})
    elif not trouble and endpoint.is_openai(config):
        model._refused = RefusedSettings({REASONING, EXTRAS})
    return model


def _plain_text(chunk: dict[str, Any]) -> str | None:
    """The text of a chunk that has nothing else."""
    choices = chunk.get("choices")
    if not choices or len(choices) > 1 or chunk.get("usage") or "type" in chunk:
        return None
    choice = choices[0]
    delta = choice["delta"]
    if not delta or choice.get("finish_reason") or choice.get("logprobs"):
        return None
    text = delta.get("content")
    return text if isinstance(text, str) and len(delta) == 1 else None


def _with_text(piece: ChatGenerationChunk, text: str) -> ChatGenerationChunk:
    """A piece like another one, with another text: pydantic validates each that is made anew."""
    message = cast(AIMessageChunk, piece.message)
    fresh = {
        "additional_kwargs": {},
        "response_metadata": dict(message.response_metadata),
        "tool_calls": [],
        "invalid_tool_calls": [],
        "tool_call_chunks": [],
    }
    copied = message.model_copy(update={**fresh, "content": text})
    return piece.model_copy(update={"text": text, "message": copied})


def _extras_of_calls(delta: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for call in delta.get("tool_calls") or ():
        call_id = call.get("id") or call.get(CALL_ID)
        if call_id and call.get(EXTRAS):
            yield call_id, {EXTRAS: call[EXTRAS]}


def _without_text(message: BaseMessage) -> BaseMessage:
    """LangChain looks at each character of an answer, as if it were a block that may hold sound."""
    if isinstance(message, AIMessage) and isinstance(message.content, str):
        return message.model_copy(update={"content": ""})
    return message


def _complete(sent: dict[str, Any], message: AIMessage, refused: frozenset[str]) -> None:
    """Adds what LangChain leaves out of an answer: its text here, its reasoning, calls' extras."""
    if isinstance(message.content, str):
        sent["content"] = message.content or sent["content"]
    if NAMES in refused:
        sent.pop("name", None)
    reasoning = message.additional_kwargs.get("reasoning_content")
    if REASONING not in refused and (reasoning or REASONING_EVERYWHERE in refused):
        sent[REASONING] = reasoning or " "  # Kimi refuses an empty one
    extras = message.additional_kwargs.get(CALL_EXTRAS) or {}
    for call in sent.get("tool_calls", ()) if EXTRAS not in refused else ():
        call.update(extras.get(call.get("id")) or {})


def _has(name: str, message: dict[str, Any]) -> bool:
    return name in message or any(name in call for call in message.get("tool_calls") or ())
