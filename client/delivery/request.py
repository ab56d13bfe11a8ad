"""The request that starts a run: however often it is sent, it starts one run."""

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from ..events import JSON
from .expectation import Expectation
from .wire import REQUEST_KEY


@dataclass
class RunRequest:
    """The request that starts a run.

    Args:
        body: its JSON.
        expectation: what the run's stream has to bring.
        creates_thread: whether there is no thread before it.
        idempotency_key: the name of this request at the server. Default: a new one.
        may_be_repeated: whether another process may have sent it before.
        prepare: is awaited with the thread's id before each time it is sent. It may change `body`;
            it returns the id of the last message before the run's own, or None if that is not
            known or is known already.
        restart_body: from the thread's state, which is None where there is no thread, to the body
            of the run that replaces one that the server has lost; None if nothing is left to run.
            Default: a lost run is not replaced.
        note_accepted: is called when the server has taken the run. Default: nothing is.
    """

    body: JSON
    expectation: Expectation
    creates_thread: bool = False
    idempotency_key: str = field(default_factory=lambda: str(uuid.uuid4()))
    may_be_repeated: bool = False
    prepare: Callable[[str], Awaitable[str | None]] | None = None
    restart_body: Callable[[JSON | None], JSON | None] | None = None
    note_accepted: Callable[[], None] | None = None
    attempts: int = 0

    @property
    def may_have_arrived(self) -> bool:
        """Whether the server may have the run already."""
        return self.attempts > 0 or self.may_be_repeated

    def json(self, expectation: Expectation) -> JSON:
        """What is sent: the body, with metadata by which the run is found and read again."""
        config, given = self.body.get("config") or {}, self.body.get("metadata") or {}
        own = {REQUEST_KEY: self.idempotency_key, **expectation.metadata(self.body)}
        metadata = {**(config.get("metadata") or {}), **given, **own}
        return {**self.body, "metadata": metadata, "config": {**config, "metadata": metadata}}

    def restarted(self, state: JSON | None) -> "RunRequest | None":
        """The request for the run that replaces this one's, which the server has lost.

        Args:
            state: the thread's; None where there is no thread.

        Returns:
            None where nothing is left to run.
        """
        body = self.restart_body(state) if self.restart_body else None
        if body is None:
            return None
        return RunRequest(
            body,
            self.expectation,
            self.creates_thread,
            restart_body=self.restart_body,
            note_accepted=self.note_accepted,
        )
