"""The network between the agents and their model: a proxy whose faults go by the question."""

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import h11
import orjson
from anyio.from_thread import start_blocking_portal

from tests.faults.plan import NetFault
from tests.faults.proxy import Proxy
from tests.model_script import Reply, place
from tests.model_server import ModelServer


class ModelWire:
    """Scripts `model`, and what befalls the requests for it on their way through a proxy."""

    def __init__(self, model: ModelServer, port: int = 0) -> None:
        self.model = model
        self.proxy = Proxy(model.url, self._choose, port=port)
        self.url = f"{self.proxy.url}/v1"
        self._faults: dict[str, list[NetFault]] = {}
        self._met: dict[str, list[NetFault]] = defaultdict(list)
        self._lock = threading.Lock()

    def on(self, question: str, replies: Sequence[Reply], faults: Sequence[NetFault]) -> None:
        """Scripts a question's turn; its model calls meet one fault each, while there are any."""
        self.model.on(question, *replies)
        with self._lock:
            self._faults[question] = list(faults)

    def met(self, question: str) -> tuple[NetFault, ...]:
        """The faults that were in store for the question's model calls so far."""
        with self._lock:
            return tuple(self._met[question])

    def _choose(self, request: h11.Request, body: bytes) -> NetFault | None:
        if not body:
            return None
        question, _ = place(orjson.loads(body)["messages"])
        with self._lock:
            if not (faults := self._faults.get(question)):
                return None
            self._met[question].append(faults[0])
            return faults.pop(0)


@contextmanager
def model_wire(model: ModelServer, port: int = 0) -> Iterator[ModelWire]:
    """The proxy serves from a thread of its own while the context is open."""
    wire = ModelWire(model, port)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(wire.proxy):
        yield wire
