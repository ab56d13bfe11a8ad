"""The tools, and which of them a person approves first.

To add one, write a function with a docstring and name it in TOOLS.
"""

import ast
import math
import operator
import re
import unicodedata
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import httpx
from langchain_core.tools import BaseTool, ToolException, tool

from agent.knowledge import retriever
from agent.settings import settings

_WEATHER = {
    0: "clear sky",
    1: "mainly clear",
    2: "partly cloudy",
    3: "overcast",
    45: "fog",
    48: "rime fog",
    51: "light drizzle",
    53: "drizzle",
    55: "heavy drizzle",
    56: "freezing drizzle",
    57: "heavy freezing drizzle",
    61: "light rain",
    63: "rain",
    65: "heavy rain",
    66: "freezing rain",
    67: "heavy freezing rain",
    71: "light snow",
    73: "snow",
    75: "heavy snow",
    77: "snow grains",
    80: "light showers",
    81: "showers",
    82: "violent showers",
    85: "snow showers",
    86: "heavy snow showers",
    95: "thunderstorm",
    96: "thunderstorm with hail",
    99: "thunderstorm with heavy hail",
}  # fmt: skip  (WMO codes, as Open-Meteo documents them)


@tool
async def get_weather(city: str) -> str:
    """Current weather and today's forecast for a city, from Open-Meteo."""
    config = settings()
    async with httpx.AsyncClient(timeout=config.steady_weather_seconds) as client:
        found = await _ask(client, config.steady_geocoding_url, {"name": city, "count": 1})
        if not found.get("results"):
            raise ToolException(f"No city called {city!r} was found.")
        try:
            place = found["results"][0]
            sky = await _ask(client, config.steady_weather_url, _forecast_of(place))
            return _describe(place, sky)
        except (LookupError, TypeError) as error:
            raise ToolException("The weather service sent no forecast.") from error


async def _ask(client: httpx.AsyncClient, url: str, query: dict[str, Any]) -> dict[str, Any]:
    try:
        answer = await client.get(url, params=query)
        answer.raise_for_status()
        return dict(answer.json())
    except (httpx.HTTPError, ValueError, TypeError) as error:
        raise ToolException("The weather service cannot be reached right now.") from error


def _forecast_of(place: dict[str, Any]) -> dict[str, Any]:
    return {
        "latitude": place["latitude"],
        "longitude": place["longitude"],
        "current": "temperature_2m,weather_code,wind_speed_10m",
        "daily": "temperature_2m_min,temperature_2m_max,precipitation_probability_max",
        "forecast_days": 1,
        "timezone": "auto",
    }


def _describe(place: dict[str, Any], sky: dict[str, Any]) -> str:
    now, today = sky["current"], sky["daily"]
    return (
        f"{place['name']}, {place.get('country', '')}: "
        f"{_WEATHER.get(now['weather_code'], 'unknown sky')}, {now['temperature_2m']} °C, "
        f"wind {now['wind_speed_10m']} km/h. Today {today['temperature_2m_min'][0]} to "
        f"{today['temperature_2m_max'][0]} °C, chance of rain "
        f"{today['precipitation_probability_max'][0]} %."
    )


_LONGEST_EXPRESSION = 300
_LARGEST_BITS = 10_000
_MOST_DIGITS = 400


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(base, int) and isinstance(exponent, int):
        if base.bit_length() * abs(exponent) > _LARGEST_BITS:
            raise ToolException("That number is too large.")
        return base**exponent
    return float(base) ** float(exponent)


def _round(number: Any, digits: int = 0) -> Any:
    """Python's own reckons 10 ** -digits, however large that is, and stops the whole server."""
    if abs(digits) > _MOST_DIGITS:
        raise ToolException(f"round() takes at most {_MOST_DIGITS} digits.")
    return round(number, digits) if digits else round(number)


_OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: getattr(math, name)
    for name in ("sqrt", "exp", "log", "log2", "log10", "sin", "cos", "tan", "floor", "ceil")
} | {"abs": abs, "round": _round, "min": min, "max": max}
_NAMES = {"pi": math.pi, "e": math.e}


@tool
def calculate(expression: str) -> str:
    """Evaluate an arithmetic expression exactly, such as '17 * 23' or 'sqrt(2) * 10'."""
    from simpleeval import SimpleEval  # not needed until someone calculates

    if len(expression) > _LONGEST_EXPRESSION:
        raise ToolException(f"The expression is longer than {_LONGEST_EXPRESSION} characters.")
    if re.search(r"['\"\[{=;\n\r]", expression):
        raise ToolException("Only numbers, + - * / // % **, brackets and functions are understood.")
    text = expression.replace("^", "**").replace("×", "*").replace("÷", "/").replace("−", "-")
    try:
        arithmetic = SimpleEval(operators=_OPERATORS, functions=_FUNCTIONS, names=_NAMES)
        del arithmetic.nodes[ast.Attribute]  # methods make texts and bytes of any size
        result = arithmetic.eval(text)
        return f"{expression.strip()} = {_exactly(result)}"
    except ToolException:
        raise
    except Exception as error:
        raise ToolException(f"Cannot evaluate {expression!r}: {error}") from error


def _exactly(number: Any) -> str:
    """Fifteen significant digits hide what binary fractions add at the end."""
    if isinstance(number, int) and not isinstance(number, bool):
        return str(number)
    if isinstance(number, float) and math.isfinite(number):
        return f"{number:.15g}"
    raise ToolException("The result is not a real number.")


@tool
async def search_docs(query: str) -> str:
    """Search the documentation about streaming, LangGraph, RAG and steadystream itself."""
    pages = await retriever().ainvoke(query)
    if not pages:
        return "Nothing about that was found in the documentation."
    return "\n\n".join(f"[{page.metadata['source']}] {page.page_content}" for page in pages)


@tool
def current_time(timezone: str = "UTC") -> str:
    """The current date and time in an IANA time zone, such as 'Europe/Paris'."""
    try:
        now = datetime.now(ZoneInfo(timezone))
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ToolException(
            f"{timezone!r} is not an IANA time zone; one looks like 'Europe/Paris'."
        ) from error
    return f"{now:%A, %d %B %Y, %H:%M:%S} ({timezone})"


_LONGEST_NAME = 80
_LONGEST_NAME_BYTES = 240  # a file system takes 255, and `-999.md` comes after it


@tool
def save_note(title: str, text: str) -> str:
    """Save a note as a Markdown file in the notes folder."""
    folder = settings().steady_notes_dir.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    content = f"# {title}\n\n{text}\n".encode(errors="replace")  # half a surrogate is no text
    path = _write_new(folder, _file_stem(title), content)
    return f"Saved as {path.name}."


def _file_stem(title: str) -> str:
    """Letters, digits and single hyphens only: no separator, dot or control character survives."""
    plain = unicodedata.normalize("NFKC", title).lower()
    stem = re.sub(r"[\W_]+", "-", plain).strip("-")[:_LONGEST_NAME]
    stem = stem.encode()[:_LONGEST_NAME_BYTES].decode(errors="ignore").strip("-")
    if not stem:
        raise ToolException("The title needs at least one letter or digit.")
    return f"note-{stem}" if _RESERVED.fullmatch(stem) else stem


_RESERVED = re.compile(r"con|prn|aux|nul|com\d|lpt\d")  # device names on Windows


def _write_new(folder: Path, stem: str, content: bytes) -> Path:
    """Never replaces a file or follows a link: `x` creates, or fails and the next name is tried."""
    for number in range(1, 1000):
        path = folder / (f"{stem}.md" if number == 1 else f"{stem}-{number}.md")
        try:
            with path.open("xb") as file:
                file.write(content)
            return path
        except FileExistsError:
            continue
    raise ToolException(f"There are too many notes called {stem!r}.")


# What acts on the world waits for a person's approval: name it here too.
NEEDS_APPROVAL: list[BaseTool] = [save_note]
TOOLS: list[BaseTool] = [get_weather, calculate, search_docs, current_time, save_note]
