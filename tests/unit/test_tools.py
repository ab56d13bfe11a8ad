"""The tools, called as the agent calls them."""

import ast
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from langchain_core.tools import ToolException

from agent.settings import settings
from agent.tools import calculate, current_time, get_weather, save_note


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("STEADY_NOTES_DIR", str(tmp_path / "notes"))
    settings.cache_clear()
    yield tmp_path / "notes"
    settings.cache_clear()


@given(st.integers(-(10**9), 10**9), st.sampled_from(["+", "-", "*", "//"]), st.integers(1, 10**9))
def test_integers_are_exact(left: int, sign: str, right: int) -> None:
    """Whatever the integers, the result is Python's own."""
    told = calculate.invoke({"expression": f"{left} {sign} {right}"})
    wanted = {"+": left + right, "-": left - right, "*": left * right, "//": left // right}
    assert told.rpartition(" = ")[2] == str(wanted[sign])


@pytest.mark.parametrize(
    ("expression", "result"),
    [("0.1 + 0.2", "0.3"), ("sqrt(16) * 2", "8"), ("2^10", "1024"), ("15/100*80", "12")],
)
def test_what_people_write_is_understood(expression: str, result: str) -> None:
    """Decimals, functions and the caret give what a person expects."""
    assert calculate.invoke({"expression": expression}).rpartition(" = ")[2] == result


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('true')", "(1).__class__", "'a' * 10**9", "[0] * 10**9",
        "9**9**9**9", "10**99999999", "1 / 0", "1 +", "", "x", "1+" * 400 + "1",
        "(lambda: 1)()", "sqrt(-1)", "open('/etc/passwd')",
    ],
)  # fmt: skip
def test_code_and_giants_are_refused_at_once(expression: str) -> None:
    """What is not small arithmetic gets a clear error, and no time."""
    began = time.monotonic()
    with pytest.raises(ToolException):
        calculate.invoke({"expression": expression})
    assert time.monotonic() - began < 2


def test_time_is_told_where_asked() -> None:
    """The zone is in the answer; a zone that is none is refused with an example of one."""
    assert "(Asia/Tokyo)" in current_time.invoke({"timezone": "Asia/Tokyo"})
    for wrong in ("Tokyo", "../../etc/passwd", "", "/etc/passwd"):
        with pytest.raises(ToolException, match="Europe/Paris"):
            current_time.invoke({"timezone": wrong})


@examples(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(title=st.text(min_size=1, max_size=300))
def test_a_note_lands_in_the_folder(notes: Path, title: str) -> None:
    """Whatever the title, the note is a file directly in the notes folder, or is refused."""
    before = set(notes.rglob("*")) if notes.exists() else set()
    try:
        save_note.invoke({"title": title, "text": "text"})
    except ToolException:
        return
    (new,) = set(notes.rglob("*")) - before
    assert new.parent == notes
    assert new.is_file()
    assert new.suffix == ".md"


@pytest.mark.parametrize("title", ["../../up", "/etc/cron", "a/b", "con", "..", "a\x00b", "C:\\x"])
def test_paths_in_titles_lead_nowhere(notes: Path, title: str) -> None:
    """Separators, dots and device names in a title are only letters of a name."""
    try:
        save_note.invoke({"title": title, "text": "text"})
    except ToolException:
        return
    assert {path.parent for path in notes.parent.rglob("*.md")} == {notes}
    assert not (notes / "con.md").exists()


def test_the_same_title_twice_keeps_both(notes: Path) -> None:
    """A note never replaces another."""
    for text in ("one", "two"):
        save_note.invoke({"title": "Plan", "text": text})
    assert [p.read_text().splitlines()[-1] for p in sorted(notes.iterdir())] == ["two", "one"]


def test_a_planted_link_is_not_followed(notes: Path, tmp_path: Path) -> None:
    """A link where the note would go is left alone, and so is what it points to."""
    notes.mkdir()
    (notes / "plan.md").symlink_to(tmp_path / "outside.md")
    save_note.invoke({"title": "Plan", "text": "text"})
    assert not (tmp_path / "outside.md").exists()
    assert (notes / "plan-2.md").is_file()


class _Weather(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(_answer(url.path, parse_qs(url.query)))

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _answer(path: str, query: dict[str, list[str]]) -> bytes:
    if path == "/broken":
        return b"<html>"
    if path == "/search":
        oslo = {"name": "Oslo", "country": "Norway", "latitude": 59.9, "longitude": 10.7}
        return orjson.dumps({"results": [oslo]} if query["name"] == ["Oslo"] else {})
    return orjson.dumps(
        {
            "current": {"temperature_2m": -3.5, "weather_code": 71, "wind_speed_10m": 9.0},
            "daily": {
                "temperature_2m_min": [-6.0],
                "temperature_2m_max": [-1.0],
                "precipitation_probability_max": [80],
            },
        }
    )


@pytest.fixture
def weather(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    service = ThreadingHTTPServer(("127.0.0.1", 0), _Weather)
    Thread(target=service.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{service.server_port}"
    monkeypatch.setenv("STEADY_GEOCODING_URL", f"{url}/search")
    monkeypatch.setenv("STEADY_WEATHER_URL", f"{url}/forecast")
    settings.cache_clear()
    yield url
    service.shutdown()
    service.server_close()
    settings.cache_clear()


async def test_the_weather_is_told(weather: str) -> None:
    """A city's sky, temperature, wind and chance of rain come from the service."""
    told = await get_weather.ainvoke({"city": "Oslo"})
    for part in ("Oslo, Norway", "light snow", "-3.5 °C", "wind 9.0", "-6.0 to -1.0", "80 %"):
        assert part in told


async def test_a_city_that_is_none_is_said(weather: str) -> None:
    """An unknown city is a tool error that names it."""
    with pytest.raises(ToolException, match="Atlantis"):
        await get_weather.ainvoke({"city": "Atlantis"})


async def test_a_broken_service_is_a_tool_error(
    weather: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that is no JSON, and no answer at all, are one clear tool error."""
    for url in (f"{weather}/broken", "http://127.0.0.1:9/search"):
        monkeypatch.setenv("STEADY_GEOCODING_URL", url)
        settings.cache_clear()
        with pytest.raises(ToolException, match="cannot be reached"):
            await get_weather.ainvoke({"city": "Oslo"})


def test_every_tool_explains_itself() -> None:
    """Each tool in the file is in TOOLS, with a docstring for the model."""
    from agent import tools

    source = ast.parse(Path(tools.__file__).read_text())
    decorated = {
        node.name
        for node in source.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and any(isinstance(d, ast.Name) and d.id == "tool" for d in node.decorator_list)
    }
    assert {tool.name for tool in tools.TOOLS} == decorated
    assert all(tool.description for tool in tools.TOOLS)
