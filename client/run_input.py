"""What a graph is given: a person's message, content blocks, messages, or any state. Pure."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import InvalidRequest
from .events import JSON

Input = str | Sequence[JSON] | Mapping[str, Any] | None


def run_input(given: Input, history: Sequence[JSON] = ()) -> tuple[Any, str | None]:
    """The input of a run's request, and the id of its last message, where there is one.

    Args:
        given: a text or a list of content blocks, which are a message of the user; a list of
            messages; a state's values; or None.
        history: messages before the user's.

    Raises:
        InvalidRequest: the message is empty, or it is none of these.
    """
    if given is None or isinstance(given, Mapping):
        if history:
            raise InvalidRequest("`history` goes before a message: put it into the state's own.")
        return (None, None) if given is None else _with_id(dict(given))
    if not isinstance(given, str | Sequence):
        raise InvalidRequest(f"A {type(given).__name__} is no input: give a text or an object.")
    if not isinstance(given, str):
        if given and all(isinstance(each, Mapping) and "role" in each for each in given):
            return _with_id({"messages": [*history, *given]})
        if not all(
            isinstance(each, Mapping) and isinstance(each.get("type"), str) for each in given
        ):
            raise InvalidRequest(
                "Give a text, content blocks that each have a `type`, messages that each have a "
                "`role`, an object with the graph's state, or None."
            )
    if not _says_anything(given):
        raise InvalidRequest("The message is empty: say something.")
    content = given if isinstance(given, str) else list(given)
    return _with_id({"messages": [*history, {"role": "user", "content": content}]})


def unknown_keys(given: Any, schema: Any) -> set[str]:
    """The keys of an input that the graph's input schema does not have; none where it is open."""
    properties: Any = schema.get("properties") if isinstance(schema, Mapping) else None
    if not isinstance(properties, Mapping) or schema.get("additionalProperties"):
        return set()
    return {*given} - {*properties} if isinstance(given, Mapping) else set()


def described(schema: Mapping[str, Any]) -> str:
    """The fields of an object's JSON schema, as `city (string), booked (array)`."""
    fields = schema.get("properties") or {}
    return ", ".join(
        f"{name} ({field['type']})" if isinstance(field.get("type"), str) else name
        for name, field in fields.items()
    )


def _says_anything(content: str | Sequence[JSON]) -> bool:
    if isinstance(content, str):
        return bool(content.strip())
    return any(each["type"] != "text" or str(each.get("text") or "").strip() for each in content)


def _with_id(values: JSON) -> tuple[JSON, str | None]:
    """The values, with an id for their last message: it tells the run's messages from others."""
    messages: Any = values.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    if not isinstance(last, Mapping):
        return values, None
    message_id = str(last.get("id") or uuid.uuid4())
    return {**values, "messages": [*messages[:-1], {**last, "id": message_id}]}, message_id
