"""This project's app without its telemetry: what `make bench` compares with to see what that costs.

OpenTelemetry's own switch, `OTEL_SDK_DISABLED`, turns off the instruments; this takes the code out
that uses them.
"""

from contextlib import nullcontext
from typing import Any

from agent.http import lifespan, waiting
from agent.telemetry.runs import MeasuredCall, MeasuredRun
from agent.telemetry.streams import StreamTelemetry


async def _call(self: StreamTelemetry, *asgi: Any) -> None:
    await self._app(*asgi)


def _nothing(*_: Any, **__: Any) -> None: ...


StreamTelemetry.__call__ = _call  # type: ignore[method-assign]
for _measured in (MeasuredCall, MeasuredRun):
    _measured.__enter__ = lambda self: self  # type: ignore[method-assign]
    _measured.__exit__ = _nothing  # type: ignore[method-assign]
MeasuredCall.add = MeasuredRun.begin = MeasuredRun.leave = _nothing  # type: ignore[method-assign]
lifespan.watched_loop = waiting.watched = nullcontext  # type: ignore[assignment]

from agent.http.app import app  # noqa: E402, F401 - the app of what is left
