"""A line in the log is written where it is logged; a traceback, by another thread."""

import importlib
import logging
import threading
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from agent.dev_server.log_lines import NO_THREAD_PER_LOG_LINE

LINES = "tests.lines"


@pytest.fixture(params=["the server's", "ours"])
def log(request: pytest.FixtureRequest) -> tuple[str, Any]:
    """A logger as the server has them."""
    stdlib = importlib.import_module("structlog.stdlib")
    kind = type("BoundLogger", (stdlib.BoundLogger,), {})
    if request.param == "ours":
        module = SimpleNamespace(**{**vars(stdlib), "BoundLogger": kind})
        NO_THREAD_PER_LOG_LINE.apply(module)
    processors = [structlog.stdlib.render_to_log_kwargs]
    logger = structlog.wrap_logger(logging.getLogger(LINES), processors, kind)
    return request.param, logger


class Records(logging.Handler):
    """The lines, and the threads that wrote them."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, int, bool]] = []

    def emit(self, record: logging.LogRecord) -> None:
        is_here = threading.get_ident() == threading.main_thread().ident
        self.lines.append((record.getMessage(), record.levelno, is_here))


async def test_a_line_still_is_another_threads(log: tuple[str, Any]) -> None:
    """Unpatched, each line has a thread; patched, only one with a traceback. All are written."""
    (whose, logger), records = log, Records()
    logging.getLogger(LINES).addHandler(records)
    logging.getLogger(LINES).setLevel(logging.INFO)
    try:
        await logger.ainfo("A run has begun.", run_id="r")
        await logger.adebug("Nobody asked for this.")
        try:
            raise KeyError("a")
        except KeyError as error:
            await logger.aerror("A run failed.", exc_info=error)
    finally:
        logging.getLogger(LINES).removeHandler(records)
    assert records.lines == [
        ("A run has begun.", logging.INFO, whose == "ours"),
        ("A run failed.", logging.ERROR, False),
    ]
