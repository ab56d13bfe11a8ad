"""A sign of life on stderr while a run has nothing to show: a spinner, or one line in a pipe."""

import asyncio

from rich.console import Console
from rich.status import Status

_SPINNER_SECONDS = 0.4
_LINE_SECONDS = 5.0


class Waiting:
    """Starts when nothing was shown for a moment; `stop` it before anything is shown."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._has_terminal = console.is_terminal and not console.is_dumb_terminal
        self._timer: asyncio.TimerHandle | None = None
        self._spinner: Status | None = None

    def start(self) -> None:
        """From now on nothing is shown."""
        self.stop()
        if self._console.record:  # a picture shows what there is, not the waiting
            return
        delay = _SPINNER_SECONDS if self._has_terminal else _LINE_SECONDS
        self._timer = asyncio.get_running_loop().call_later(delay, self._show)

    def stop(self) -> None:
        """Clears the spinner, if there is one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._spinner is not None:
            self._spinner.stop()
            self._spinner = None

    def _show(self) -> None:
        if self._has_terminal:
            self._spinner = self._console.status("Waiting for the agent…")
            self._spinner.start()
        else:
            self._console.print(
                "steady: waiting for the agent; a model that is not warm may take a minute.",
                soft_wrap=True,
            )
