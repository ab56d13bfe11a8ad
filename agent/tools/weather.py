"""Weather from Open-Meteo, which needs no key."""

import asyncio
import ssl
from functools import lru_cache
from typing import Any

import httpx
from langchain_core.tools import ToolException, tool

from agent.settings import settings

_SKY = {
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
    tls = await asyncio.to_thread(_tls)
    async with httpx.AsyncClient(verify=tls, timeout=config.steady_weather_seconds) as client:
        cities = await _get(client, config.steady_geocoding_url, {"name": city, "count": 1})
        if not cities.get("results"):
            raise ToolException(f"No city called {city!r} was found.")
        try:
            location = cities["results"][0]
            forecast = await _get(client, config.steady_weather_url, _forecast_query(location))
            return _describe(location, forecast)
        except (LookupError, TypeError) as error:
            raise ToolException("The weather service sent no forecast.") from error


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    """Made once, off the event loop: reading the certificates takes tens of milliseconds."""
    return httpx.create_ssl_context()


async def _get(client: httpx.AsyncClient, url: str, query: dict[str, Any]) -> dict[str, Any]:
    try:
        response = await client.get(url, params=query)
        response.raise_for_status()
        return dict(response.json())
    except (httpx.HTTPError, ValueError, TypeError) as error:
        raise ToolException("The weather service cannot be reached right now.") from error


def _forecast_query(location: dict[str, Any]) -> dict[str, Any]:
    return {
        "latitude": location["latitude"],
        "longitude": location["longitude"],
        "current": "temperature_2m,weather_code,wind_speed_10m",
        "daily": "temperature_2m_min,temperature_2m_max,precipitation_probability_max",
        "forecast_days": 1,
        "timezone": "auto",
    }


def _describe(location: dict[str, Any], forecast: dict[str, Any]) -> str:
    now, today = forecast["current"], forecast["daily"]
    return (
        f"{location['name']}, {location.get('country', '')}: "
        f"{_SKY.get(now['weather_code'], 'unknown sky')}, {now['temperature_2m']} °C, "
        f"wind {now['wind_speed_10m']} km/h. Today {today['temperature_2m_min'][0]} to "
        f"{today['temperature_2m_max'][0]} °C, chance of rain "
        f"{today['precipitation_probability_max'][0]} %."
    )
