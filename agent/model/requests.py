"""A conversation as endpoints take it. Pure: the thread's own messages are never changed.

Some endpoints answer 400 to an assistant message without content, a tool result without its call, a
call without its result, a result that is a list, or two messages of one role in a row. Threads have
these after a turn that failed or was stopped. The same thread always becomes the same request, so
that an endpoint's prompt cache fits it.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from agent.model.tool_results import Pictures, with_results

NO_RESULT = "There is no result: the call was not carried out to its end."
NO_ANSWER = "(There was no answer.)"
_BETWEEN = "\n\n"


def as_endpoints_take_it(
    messages: Sequence[BaseMessage],
    *,
    answer_after_results: bool = False,
    pictures: Pictures = "left out",
) -> list[BaseMessage]:
    """The messages of a request for a conversation.

    `answer_after_results`: a question never comes right after a tool's result, as some want it.
    `pictures`: where those of tools' results go.
    """
    before_a_question = ("human", "tool") if answer_after_results else ("human",)
    results = with_results(list(_paired(messages)), pictures)
    return list(_alternating(results, before_a_question))


def _paired(messages: Iterable[BaseMessage]) -> Iterator[BaseMessage]:
    """Each call has one result, right after it; no assistant message is empty."""
    open_calls: list[tuple[str | None, str | None]] = []
    for message in messages:
        if isinstance(message, ToolMessage):
            if any(call_id == message.tool_call_id for call_id, _ in open_calls):
                open_calls = [call for call in open_calls if call[0] != message.tool_call_id]
                yield message
            continue
        if open_calls:
            yield from _no_results(open_calls)
            open_calls = []
        if isinstance(message, AIMessage):
            if message.tool_calls or message.invalid_tool_calls:
                calls = [*message.tool_calls, *message.invalid_tool_calls]
                open_calls = [(call["id"], call["name"]) for call in calls]
            elif not message.content and _has_nothing_else(message):
                continue
        yield message
    yield from _no_results(open_calls)


def _no_results(calls: Iterable[tuple[str | None, str | None]]) -> Iterator[ToolMessage]:
    for call_id, name in calls:
        yield ToolMessage(NO_RESULT, name=name, tool_call_id=call_id or "", status="error")


def _has_nothing_else(message: AIMessage) -> bool:
    return not {"function_call", "audio"} & message.additional_kwargs.keys()


def _alternating(
    messages: Iterable[BaseMessage], before_a_question: tuple[str, ...]
) -> Iterator[BaseMessage]:
    """Questions have an answer between them, and two messages of the model become one.

    LangChain's summary of earlier turns is a question in form only: it becomes part of the next.
    """
    last: BaseMessage | None = None
    last_type = ""
    for message in messages:
        this_type = message.type
        if this_type == last_type and _may_merge(last, message):
            last = _merge(cast(BaseMessage, last), message)
            continue
        if last is not None:
            yield last
            if this_type == "human" and last_type in before_a_question:
                yield AIMessage(NO_ANSWER)
        last, last_type = message, this_type
    if last is not None:
        yield last


def _may_merge(first: BaseMessage | None, second: BaseMessage) -> bool:
    """Of two messages of one role."""
    if isinstance(first, HumanMessage):
        return first.additional_kwargs.get("lc_source") == "summarization"
    return (
        isinstance(first, AIMessage)
        and not (first.tool_calls or first.invalid_tool_calls)
        and first.name == second.name
    )


def _is_text(*messages: BaseMessage) -> bool:
    return all(isinstance(message.content, str) for message in messages)


def _merge(first: BaseMessage, second: BaseMessage) -> BaseMessage:
    """The second, whose calls are kept, with the first one's content before its own."""
    content: Any
    if _is_text(first, second):
        texts = cast(list[str], [first.content, second.content])
        content = _BETWEEN.join(filter(None, texts))
    else:
        content = [*_blocks(first), *_blocks(second)]
    return second.model_copy(update={"content": content})


def _blocks(message: BaseMessage) -> list[Any]:
    content = message.content
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return list(content)
