"""Log lines as JSON, one object a line, for a program to read: `STEADY_LOG_JSON`.

A line has its time, level, logger and message, the ids of the run, thread and trace it belongs to,
and the numbers that the code which wrote it added. What else other people's code adds is left out:
it may be a request's body or headers. Of an exception the kind and the frames are written, because
its words may be a person's. Secrets are masked, and control characters escaped.
"""

import logging
import re
from collections.abc import Iterator, MutableMapping
from typing import Any

import orjson
import structlog
from opentelemetry import trace
from pydantic import SecretStr
from structlog.stdlib import ProcessorFormatter

from agent.settings import settings

Event = MutableMapping[str, Any]

LONGEST_CHARACTERS = 4000
_MASK = "[secret]"
_SHORTEST_SECRET = 6
_TEXTS = (
    *("timestamp", "level", "logger", "run_id", "thread_id", "graph_id", "assistant_id"),
    *("request_id", "method", "path"),
)
_LOOKS_SECRET = re.compile(
    r"""(?ix) \b(?:sk|pk|rk|gsk|xai|hf|lsv2)[-_][\w-]{8,}  # providers' keys
    | \beyJ[\w-]+\.[\w-]+\.[\w-]*                          # JWTs
    | (?<=bearer\s)\S+ | (?<=basic\s)\S+
    | (?<=://)[^\s/@]+(?=@)                                # in a URL
    | (?<=[?&]token=)[^&\s]+ | (?<=[?&]api_key=)[^&\s]+ | (?<=[?&]key=)[^&\s]+
    """
)
_FRAME = re.compile(r'\s+File "(.+)", line (\d+), in (.+)')
_KIND = re.compile(r"([A-Za-z_][\w.]*)(?::|$)")


def start_json_logs() -> None:
    """Has each handler that writes log lines write them so."""
    secrets = [
        value.get_secret_value()
        for _, value in settings()
        if isinstance(value, SecretStr) and len(value.get_secret_value()) >= _SHORTEST_SECRET
    ]

    def render(_: Any, __: str, event: Event) -> str:
        return orjson.dumps(_line(event, secrets), default=str).decode()

    for handler in _handlers():
        known = handler.formatter
        if isinstance(known, ProcessorFormatter):
            chain, *before = known.foreign_pre_chain, *known.processors[:-1]
        else:
            chain = [
                structlog.contextvars.merge_contextvars,
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
            ]
            before = [ProcessorFormatter.remove_processors_meta]
        handler.setFormatter(
            ProcessorFormatter(
                processors=[*before, structlog.processors.format_exc_info, render],
                foreign_pre_chain=chain,
            )
        )


def _handlers() -> Iterator[logging.Handler]:
    loggers = [logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)]
    for logger in loggers:
        yield from logger.handlers


def _line(event: Event, secrets: list[str]) -> dict[str, Any]:
    """What of an event is written."""
    line: dict[str, Any] = {
        name: _clean(str(event[name]), secrets) for name in _TEXTS if event.get(name)
    }
    line["message"] = _message(event, secrets)
    line |= {
        name: value
        for name, value in event.items()
        if isinstance(value, int | float) and name.isidentifier() and name not in line
    }
    if exception := event.get("exception"):
        line["exception"] = list(_frames(str(exception)))
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        line |= {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}
    return line


def _message(event: Event, secrets: list[str]) -> str:
    """The line's text; where an exception comes with it, without what quotes the exception."""
    text = str(event.get("event", ""))
    if event.get("exception"):
        text = re.split(r": |\(", text, maxsplit=1)[0]
    return _clean(text, secrets)


def _frames(exception: str) -> Iterator[str]:
    """The frames of a written traceback and the kinds of its exceptions, without their words."""
    is_traceback = False
    for text in exception.splitlines():
        if text.startswith(("Traceback ", "  + Exception Group")):
            is_traceback = True
        elif frame := _FRAME.match(text):
            yield f"{frame[1]}:{frame[2]} {frame[3]}"
        elif is_traceback and (kind := _KIND.match(text)):
            is_traceback = False
            yield kind[1]


def _clean(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, _MASK)
    text = _LOOKS_SECRET.sub(_MASK, text[:LONGEST_CHARACTERS])
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
