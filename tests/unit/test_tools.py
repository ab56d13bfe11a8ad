"""The tools, called as the agent calls them; weather against a real local HTTP server."""

import json
import os
import re
import threading
from collections.abc import Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from langchain_core.tools import ToolException

from agent import settings as settings_module
from agent.tools import TOOLS, calculate, current_time, get_weather, save_note
from agent.tools import weather as weather_module
from client.cli.local_server import free_port

integers = st.integers(min_value=-(10**9), max_value=10**9)


def reckon(expression: str) -> str:
    """What `calculate` says after the equals sign."""
    return str(calculate.invoke({"expression": expression})).rpartition(" = ")[2]


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Environment variables set on it are what the tools read, for this test only."""
    settings_module.settings.cache_clear()
    yield monkeypatch
    settings_module.settings.cache_clear()


def test_every_tool_describes_itself_and_its_arguments() -> None:
    """The model is told what each tool does and what it takes, under a name of its own."""
    assert len({tool.name for tool in TOOLS}) == len(TOOLS)
    for tool in TOOLS:
        assert tool.description
        assert tool.args


# calculate


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("17 * 23", "391"),
        ("2 ** 10", "1024"),
        ("2 ^ 10", "1024"),
        ("7 / 2", "3.5"),
        ("7 // 2", "3"),
        ("-7 % 3", "2"),
        ("6 × 7 ÷ 2 − 1", "20"),
        ("0.1 + 0.2", "0.3"),
        ("sqrt(2) * 10", "14.142135623731"),
        ("round(pi, 4)", "3.1416"),
        ("max(3, 9, 4) - min(3, 9, 4)", "6"),
        ("(1 + 2) * (3 + 4)", "21"),
        ("10 ** 20 + 1", "100000000000000000001"),
        ("2 ** -1", "0.5"),
        ("floor(-2.5)", "-3"),
        ("1e3", "1000"),
    ],
)
def test_calculate_is_right(expression: str, result: str) -> None:
    """Operators as people write them give what they mean, without binary rounding at the end."""
    assert reckon(expression) == result


@given(integers, integers, integers)
def test_calculate_agrees_with_python(a: int, b: int, c: int) -> None:
    """For any integers, sums, products, quotients and remainders are Python's, exactly."""
    assert reckon(f"({a}) + ({b}) * ({c})") == str(a + b * c)
    assert reckon(f"({a}) - ({b}) - ({c})") == str(a - b - c)
    if b:
        assert reckon(f"({a}) // ({b})") == str(a // b)
        assert reckon(f"({a}) % ({b})") == str(a % b)


@given(st.integers(-200, 200), st.integers(0, 200))
def test_calculate_powers_agree_with_python(base: int, exponent: int) -> None:
    """Powers of integers are exact to the last digit."""
    assert reckon(f"({base}) ** {exponent}") == str(base**exponent)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "expression",
    [
        "9 ** 9 ** 9",
        "9 ^ 9 ^ 9 ^ 9",
        "10 ** 100000000",
        "(10 ** 3000) ** 3000",
        "2 ** -100000000",
        "1e308 * 1e308 - 1e308 * 1e308",
        "(-8) ** 0.5",
        "9.0 ** 9999",
        "round(1, 999999999)",
        "round(1, -999999999)",
    ],
)
def test_calculate_refuses_what_has_no_size(expression: str) -> None:
    """Powers past all measure, and what is no real number, are refused at once."""
    with pytest.raises(ToolException):
        reckon(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('true')",
        "().__class__.__bases__",
        "(1).__class__",
        "(1).bit_length()",
        "(1).to_bytes(999999999)",
        "open(1)",
        "exec(1)",
        "lambda: 1",
        "[1, 2]",
        "{1: 2}",
        "'a' * 9",
        '"a"',
        "f'{1}'",
        "b'a'",
        "x := 1",
        "pi = 3",
        "sqrt",
        "True",
        "None",
        "2 == 2",
        "1, 2",
        "1; 2",
        "1\n2",
    ],
)
def test_calculate_runs_no_code(expression: str) -> None:
    """What is not arithmetic is refused: names, attributes, calls, texts, lists, assignments."""
    with pytest.raises(ToolException):
        reckon(expression)


@pytest.mark.parametrize("expression", ["", "1 / 0", "2 +", "two plus two", "1" * 301, "log(0)"])
def test_calculate_says_what_is_wrong(expression: str) -> None:
    """An expression that cannot be evaluated is answered in one line for the model."""
    with pytest.raises(ToolException) as caught:
        reckon(expression)
    assert str(caught.value)
    assert "\n" not in str(caught.value)
    assert "Traceback" not in str(caught.value)


@given(st.text(max_size=60))
def test_calculate_only_ever_answers_or_refuses(expression: str) -> None:
    """Whatever the model writes, the result is a line of text or a ToolException."""
    try:
        answer = calculate.invoke({"expression": expression})
    except ToolException:
        return
    assert " = " in answer


# current_time


def test_current_time_is_now_in_the_zone() -> None:
    """The time told is that of the zone, which is named."""
    before = datetime.now(ZoneInfo("Asia/Tokyo")).replace(microsecond=0)
    told = current_time.invoke({"timezone": "Asia/Tokyo"})
    after = datetime.now(ZoneInfo("Asia/Tokyo"))
    moment, zone = re.fullmatch(r"\w+, (.+) \((.+)\)", told).groups()  # type: ignore[union-attr]
    parsed = datetime.strptime(moment, "%d %B %Y, %H:%M:%S")
    assert zone == "Asia/Tokyo"
    assert before <= parsed.replace(tzinfo=ZoneInfo("Asia/Tokyo")) <= after


def test_current_time_is_utc_unless_asked() -> None:
    """Without a zone the time is UTC's."""
    assert current_time.invoke({}).endswith("(UTC)")


@pytest.mark.parametrize(
    "zone", ["Mars/Olympus", "", "../etc/passwd", "/etc/passwd", "\0", "America"]
)
def test_current_time_refuses_what_is_no_zone(zone: str) -> None:
    """What is no zone, a path included, is answered with how a zone looks."""
    with pytest.raises(ToolException, match="IANA"):
        current_time.invoke({"timezone": zone})


# save_note


@pytest.fixture
def notes(configured: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The notes folder, not yet made."""
    configured.setenv("STEADY_NOTES_DIR", str(tmp_path / "deep" / "notes"))
    return tmp_path / "deep" / "notes"


def save(title: str, text: str = "Text.") -> str:
    return str(save_note.invoke({"title": title, "text": text}))


def test_a_note_is_a_markdown_file(notes: Path) -> None:
    """The title and the text are saved in UTF-8, in a folder made when it is missing."""
    assert save("Buy Milk!", "Two \U0001f95b, s'il te pla\u00eet.") == "Saved as buy-milk.md."
    saved = (notes / "buy-milk.md").read_text(encoding="utf-8")
    assert saved == "# Buy Milk!\n\nTwo \U0001f95b, s'il te pla\u00eet.\n"


def test_the_same_title_twice_makes_two_notes(notes: Path) -> None:
    """A second note of a title does not replace the first."""
    save("Twice", "One.")
    assert save("Twice", "Two.") == "Saved as twice-2.md."
    assert "One." in (notes / "twice.md").read_text()
    assert "Two." in (notes / "twice-2.md").read_text()


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("../../etc/passwd", "etc-passwd.md"),
        ("/etc/cron.d/job", "etc-cron-d-job.md"),
        ("C:\\Windows\\win.ini", "c-windows-win-ini.md"),
        ("a\0b\nc", "a-b-c.md"),
        ("CON", "note-con.md"),
        ("nul", "note-nul.md"),
        ("COM\u00b9", "note-com1.md"),
        ("\uff0e\uff0e\uff0fx", "x.md"),
        ("Stra\u00dfe \u6771\u4eac", "stra\u00dfe-\u6771\u4eac.md"),
        ("x" * 500, "x" * 80 + ".md"),
        ("--flag", "flag.md"),
        ("\u6771" * 500, "\u6771" * 80 + ".md"),
        ("\U00020000" * 500, "\U00020000" * 60 + ".md"),
    ],
)
def test_odd_titles_make_plain_names(notes: Path, title: str, name: str) -> None:
    """Paths, device names, control and look-alike characters end as a plain name in the folder."""
    assert save(title) == f"Saved as {name}."
    assert [path.name for path in notes.iterdir()] == [name]


@pytest.mark.parametrize("title", ["", "   ", "..", "///", "\U0001f389", "___"])
def test_a_title_without_a_letter_is_refused(notes: Path, title: str) -> None:
    """A title that leaves no name is refused, and nothing is written."""
    with pytest.raises(ToolException, match="letter or digit"):
        save(title)
    assert not notes.exists() or not list(notes.iterdir())


def test_a_planted_link_is_not_followed(notes: Path, tmp_path: Path) -> None:
    """A link in the way, also one to nowhere, is neither written through nor replaced."""
    notes.mkdir(parents=True)
    target, nowhere = tmp_path / "secret.txt", tmp_path / "nowhere.txt"
    target.write_text("secret")
    (notes / "plan.md").symlink_to(target)
    (notes / "plan-2.md").symlink_to(nowhere)
    assert save("Plan") == "Saved as plan-3.md."
    assert target.read_text() == "secret"
    assert not nowhere.exists()
    assert (notes / "plan.md").is_symlink()


@pytest.fixture(scope="module")
def many_notes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("many") / "notes"
    before = os.environ.get("STEADY_NOTES_DIR")
    os.environ["STEADY_NOTES_DIR"] = str(folder)
    settings_module.settings.cache_clear()
    yield folder
    settings_module.settings.cache_clear()
    os.environ.pop("STEADY_NOTES_DIR")
    if before is not None:
        os.environ["STEADY_NOTES_DIR"] = before


@given(st.text(min_size=1, max_size=200))
def test_any_title_lands_directly_in_the_folder(many_notes: Path, title: str) -> None:
    """Whatever the title, the note is one new file directly in the folder, with a plain name."""
    before = set(many_notes.iterdir()) if many_notes.exists() else set()
    try:
        told = save(title)
    except ToolException:
        assume(False)
    (made,) = set(many_notes.iterdir()) - before
    assert told == f"Saved as {made.name}."
    assert made.parent.samefile(many_notes)
    assert re.fullmatch(r"[^\W_]+(-[^\W_]+)*\.md", made.name) or "-" in made.name
    assert {p.name for p in many_notes.parent.iterdir()} == {"notes"}
    made.unlink()


# get_weather


class WeatherService:
    """Both of Open-Meteo's services on a loopback port; `answers` has a body or a status a path."""

    def __init__(self) -> None:
        self.asked: dict[str, dict[str, list[str]]] = {}
        self.answers: dict[str, bytes | int] = {
            "/search": json.dumps({"results": [PLACE]}).encode(),
            "/forecast": json.dumps(SKY).encode(),
        }
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                service.asked[parts.path] = parse_qs(parts.query)
                answer = service.answers[parts.path]
                self.send_response(answer if isinstance(answer, int) else 200)
                self.end_headers()
                self.wfile.write(b"" if isinstance(answer, int) else answer)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


PLACE = {"name": "Turin", "country": "Italy", "latitude": 45.07, "longitude": 7.69}
SKY = {
    "current": {"temperature_2m": 21.5, "weather_code": 2, "wind_speed_10m": 7.0},
    "daily": {
        "temperature_2m_min": [14.0],
        "temperature_2m_max": [24.5],
        "precipitation_probability_max": [30],
    },
}


@pytest.fixture
def weather(configured: pytest.MonkeyPatch) -> Iterator[WeatherService]:
    service = WeatherService()
    configured.setenv("STEADY_GEOCODING_URL", f"{service.url}/search")
    configured.setenv("STEADY_WEATHER_URL", f"{service.url}/forecast")
    thread = threading.Thread(target=service.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield service
    service.server.shutdown()
    thread.join()
    service.server.server_close()


async def test_weather_is_that_of_the_place_found(weather: WeatherService) -> None:
    """The city is looked up by name, and its place's sky is told in one line."""
    told = await get_weather.ainvoke({"city": "Turin"})
    assert told == (
        "Turin, Italy: partly cloudy, 21.5 °C, wind 7.0 km/h. "
        "Today 14.0 to 24.5 °C, chance of rain 30 %."
    )
    assert weather.asked["/search"]["name"] == ["Turin"]
    assert weather.asked["/forecast"]["latitude"] == ["45.07"]
    assert weather.asked["/forecast"]["longitude"] == ["7.69"]


async def test_certificates_are_read_once(
    weather: WeatherService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three calls make one TLS context, in a thread: the event loop does not wait for it."""
    threads: list[int] = []
    make = weather_module.httpx.create_ssl_context

    def made_in_thread() -> Any:
        threads.append(threading.get_ident())
        return make()

    monkeypatch.setattr(weather_module.httpx, "create_ssl_context", made_in_thread)
    weather_module._tls.cache_clear()
    for _ in range(3):
        await get_weather.ainvoke({"city": "Turin"})
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()


async def test_a_city_name_is_sent_as_it_is(weather: WeatherService) -> None:
    """Names with spaces, accents and signs of URLs reach the service unharmed."""
    await get_weather.ainvoke({"city": "S\u00e3o Paulo & co?"})
    assert weather.asked["/search"]["name"] == ["S\u00e3o Paulo & co?"]


@pytest.mark.parametrize("found", [b"{}", b'{"results": []}', b'{"results": null}'])
async def test_an_unknown_city_is_named(weather: WeatherService, found: bytes) -> None:
    """A city that the service does not know is told to the model by name."""
    weather.answers["/search"] = found
    with pytest.raises(ToolException, match="No city called 'Nowhere' was found"):
        await get_weather.ainvoke({"city": "Nowhere"})
    assert "/forecast" not in weather.asked


@pytest.mark.parametrize("path", ["/search", "/forecast"])
@pytest.mark.parametrize("answer", [b"<html>", b"", b"[1]", b"\xff", 404, 500, 503])
async def test_a_broken_service_is_a_plain_error(
    weather: WeatherService, path: str, answer: bytes | int
) -> None:
    """What is not the service's JSON, from either URL, is told to the model in one line."""
    weather.answers[path] = answer
    with pytest.raises(ToolException, match="weather service") as caught:
        await get_weather.ainvoke({"city": "Turin"})
    assert weather.url not in str(caught.value)


@pytest.mark.parametrize("answer", [b"{}", b'{"current": {}, "daily": {}}', b'{"current": null}'])
async def test_a_forecast_without_its_fields_is_a_plain_error(
    weather: WeatherService, answer: bytes
) -> None:
    """A forecast that lacks what is needed is told to the model as the service's failure."""
    weather.answers["/forecast"] = answer
    with pytest.raises(ToolException, match="weather service"):
        await get_weather.ainvoke({"city": "Turin"})


async def test_a_service_that_is_down_is_a_plain_error(configured: pytest.MonkeyPatch) -> None:
    """Where nothing listens the model is told so."""
    configured.setenv("STEADY_GEOCODING_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ToolException, match="cannot be reached"):
        await get_weather.ainvoke({"city": "Turin"})
