"""Pictures of OpenAI's protocol as content blocks, and conversations that have them."""

from typing import Any

import pytest

from agent.http.protocols.continuation import _rest
from agent.http.protocols.openai_pictures import picture
from agent.http.protocols.openai_requests import ChatRequest, NotTaken
from agent.settings import settings

DATA = "data:image/png;base64,AAAA"
BLOCK = {"type": "image", "base64": "AAAA", "mime_type": "image/png"}


@pytest.mark.parametrize(
    ("part", "block"),
    [
        ({"type": "image_url", "image_url": {"url": DATA, "detail": "auto"}}, BLOCK),
        ({"type": "input_image", "image_url": DATA, "detail": None}, BLOCK),
        (
            {"type": "input_image", "image_url": "https://example.com/a.png"},
            {"type": "image", "url": "https://example.com/a.png"},
        ),
    ],
)
def test_a_picture_is_a_content_block(part: Any, block: Any) -> None:
    """Of a chat and of a response, by its bytes or by its address."""
    assert picture(part) == block


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_image", "file_id": "file-1"},
        {"type": "input_image", "image_url": "file:///etc/passwd"},
        {"type": "input_image", "image_url": "data:image/svg+xml;base64,AAAA"},
        {"type": "input_image", "image_url": "data:image/png;base64,A A"},
        {"type": "image_url", "image_url": {"url": DATA, "detail": "high"}},
        {"type": "image_url", "image_url": {"url": ["x"]}},
    ],
)
def test_what_is_no_picture_is_not_taken(part: Any) -> None:
    """A file of the maker's, another address, other data, and a detail that cannot be chosen."""
    with pytest.raises(ValueError, match="picture"):
        picture(part)


def test_the_assistant_shows_no_pictures() -> None:
    """Only the user's messages have them."""
    shown = {"role": "assistant", "content": [{"type": "image_url", "image_url": {"url": DATA}}]}
    with pytest.raises(NotTaken):
        ChatRequest(model="agent", messages=[shown, {"role": "user", "content": "x"}])


def test_a_model_that_reads_texts_is_shown_no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the embedded model a picture is refused before a run begins."""
    monkeypatch.setattr(type(settings()), "embedded", True)
    asked = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": DATA}}]}
    with pytest.raises(NotTaken, match="embedded"):
        ChatRequest(model="agent", messages=[asked])


def test_another_picture_is_another_question() -> None:
    """A question whose picture was changed does not go on with the answer to the first one."""
    text, other = {"type": "text", "text": "What is it?"}, {**BLOCK, "base64": "BBBB"}
    held = [{"type": "human", "content": [text, BLOCK]}, {"type": "ai", "content": "A."}]
    new = {"role": "user", "content": "And?"}
    assert _rest(held, [{"role": "user", "content": [text, BLOCK]}, new]) == [new]
    assert _rest(held, [{"role": "user", "content": [text, other]}, new]) is None
