"""A small language model on this computer, behind the same HTTP as any other.

It runs in a process of its own, listens on loopback, starts with the first request and ends with
the process that started it. Hand `AsyncTransport()` and `BASE_URL` to an OpenAI-compatible client.
"""

from agent.embedded import weights
from agent.embedded.errors import (
    EmbeddedError,
    NotInstalled,
    StartFailed,
    WeightsMissing,
    WeightsWrong,
)
from agent.embedded.process import check
from agent.embedded.transport import BASE_URL, AsyncTransport, Transport, warm
from agent.embedded.weights import MODEL

__all__ = [
    "BASE_URL",
    "MODEL",
    "AsyncTransport",
    "EmbeddedError",
    "NotInstalled",
    "StartFailed",
    "Transport",
    "WeightsMissing",
    "WeightsWrong",
    "check",
    "warm",
    "weights",
]
