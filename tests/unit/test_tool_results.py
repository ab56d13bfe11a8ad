"""Tools' results that are not text alone: as the model is sent them, and as threads keep them."""

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from agent import settings as settings_module
from agent.model.requests import as_endpoints_take_it
from agent.model.tool_results import AFTER_RESULTS
from agent.tools.mcp import as_result
from tests import model_script


def png(data: str = "AAAA") -> dict[str, Any]:
    return {"type": "image", "base64": data, "mime_type": "image/png"}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def drawing(*contents: Any) -> list[Any]:
    """A turn in which a tool answered each call with one of these contents."""
    ids = [f"c{number}" for number in range(len(contents))]
    calls: list[Any] = [{"name": "draw", "args": {}, "id": at, "type": "tool_call"} for at in ids]
    results = [ToolMessage(c, tool_call_id=at) for c, at in zip(contents, ids, strict=True)]
    return [HumanMessage("Draw."), AIMessage("", tool_calls=calls), *results]


def test_pictures_come_after_the_results_of_their_turn() -> None:
    """Chat completions take none in a result: they are the user's, before the model's answer."""
    messages = [*drawing([text("Here:"), png()], "none", [png("BBBB")]), AIMessage("Nice.")]
    sent = as_endpoints_take_it(messages, pictures="after")
    assert [each.type for each in sent] == ["human", "ai", "tool", "tool", "tool", "human", "ai"]
    assert sent[2].content == "Here:\n[image: it comes after the results]"
    assert sent[3].content == "none"
    assert sent[5].content == [text(AFTER_RESULTS), png(), png("BBBB")]
    assert as_endpoints_take_it(messages[:-1], pictures="after")[-1] == sent[5]
    assert model_script.AFTER_RESULTS == AFTER_RESULTS


def test_pictures_stay_in_their_results() -> None:
    """The Responses API takes them there."""
    sent = as_endpoints_take_it(drawing([text("Here:"), png()], [png()]), pictures="within")
    assert sent[2].content == [text("Here:"), png()]
    assert sent[3].content == [text(""), png()]
    assert len(sent) == 4


@pytest.mark.parametrize("pictures", ["within", "after", "left out"])
def test_what_no_model_takes_is_text(pictures: Any) -> None:
    """A picture of another kind, a file or a sound is a line that says so."""
    svg = {"type": "image", "base64": "AAAA", "mime_type": "image/svg+xml"}
    sound = {"type": "file", "base64": "AAAA", "mime_type": "audio/wav"}
    sent = as_endpoints_take_it(drawing([text("Here:"), svg, sound]), pictures=pictures)
    first, *lines = str(sent[2].content).splitlines()
    assert first == "Here:"
    assert [line.split(" ")[0] for line in lines] == ["[image", "[file"]
    assert all("left out" in line for line in lines)
    assert len(sent) == 3


@pytest.mark.parametrize("pictures", ["within", "after"])
def test_the_latest_pictures_are_sent(pictures: Any) -> None:
    """Of many screenshots the oldest are left out, and their results say so."""
    turns = [message for number in range(12) for message in drawing([png(str(number))])]
    sent = as_endpoints_take_it(turns, pictures=pictures)
    shown = [
        b["base64"] for m in sent if isinstance(m.content, list) for b in m.content if "base64" in b
    ]
    assert shown == [str(number) for number in range(2, 12)]
    assert ["left out" in str(m.content) for m in sent if m.type == "tool"][:3] == [
        True,
        True,
        False,
    ]


def test_a_result_is_kept_as_a_text_and_its_media() -> None:
    """Each part has its line in the text; the bytes stand after it, without LangChain's ids."""
    link = {"type": "file", "url": "demo://a", "mime_type": "text/plain", "id": "lc_1"}
    sound = {"type": "file", "base64": "BBBB", "mime_type": "audio/wav"}
    parts: list[Any] = [text("Here:"), {**png(), "id": "lc_2"}, link, sound, text("Done.")]
    kept = as_result(ToolMessage(parts, tool_call_id="c"))
    words = "Here:\n[image]\n[file: demo://a]\n[file: audio/wav]\nDone."
    assert kept.content == [text(words), png(), sound]
    assert as_result(ToolMessage([text("a"), text("b")], tool_call_id="c")).content == "a\nb"


def test_media_that_are_too_large_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of one result count; the text names the setting."""
    monkeypatch.setenv("STEADY_LARGEST_TOOL_MEDIA_BYTES", "10")
    settings_module.settings.cache_clear()
    try:
        kept = as_result(ToolMessage([png("A" * 8), png("B" * 8), png("CC")], tool_call_id="c"))
    finally:
        settings_module.settings.cache_clear()
    words = "[image]\n[image left out: larger than STEADY_LARGEST_TOOL_MEDIA_BYTES]\n[image]"
    assert kept.content == [text(words), png("A" * 8), png("CC")]
