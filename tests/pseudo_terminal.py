"""A program in a pseudo terminal of some width: what a person sees, and types."""

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import termios
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_=>])")


class PseudoTerminal:
    """`steps` are pairs: when the first, a pattern, was written after the step before, the second
    is typed. `raw` is all that the program wrote, `shown` the same without styles."""

    def __init__(
        self, *command: str, columns: int, steps: tuple[tuple[str, str], ...] = (),
        env: dict[str, str] | None = None, timeout_seconds: float = 60.0,
    ) -> None:  # fmt: skip
        self.raw = b""
        pid, self._master = pty.fork()
        if pid == 0:
            self._become(command, columns, env or {})
        try:
            self._talk(list(steps), time.monotonic() + timeout_seconds)
        finally:
            os.close(self._master)
            self.code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    @property
    def shown(self) -> str:
        text = _ESCAPES.sub("", self.raw.decode(errors="replace"))
        return text.replace("\r\n", "\n")

    @property
    def lines(self) -> list[str]:
        return self.shown.split("\n")

    def _become(self, command: tuple[str, ...], columns: int, env: dict[str, str]) -> None:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        given = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT), **env}
        for name in ("COLUMNS", "LINES", "LANGGRAPH_URL"):
            given.pop(name, None)
        try:
            os.chdir(ROOT)
            os.execvpe(command[0], command, given)  # noqa: S606
        finally:
            os._exit(127)

    def _talk(self, steps: list[tuple[str, str]], end: float) -> None:
        seen = 0
        while time.monotonic() < end:
            if steps and re.search(steps[0][0].encode(), self.raw[seen:], re.DOTALL):
                seen = len(self.raw)
                os.write(self._master, steps.pop(0)[1].encode())
            if not select.select([self._master], [], [], 0.1)[0]:
                continue
            with contextlib.suppress(OSError):  # the program has ended
                if data := os.read(self._master, 65536):
                    self.raw += data
                    continue
            assert not steps, f"{steps[0][0]!r} never came: {self.shown}"
            return
        raise AssertionError(f"It did not end: {self.shown}")
