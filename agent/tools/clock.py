"""The current time."""

from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from langchain_core.tools import ToolException, tool


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
