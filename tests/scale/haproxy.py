"""HAProxy, with the configuration of compose.yaml, in front of a cluster's processes."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from client.cli.local_server import free_port
from tests.scale.cluster import ROOT

# Debian has it where only root's path leads.
PROGRAM = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin") or ""


class HAProxy:
    """Asks each process for `/ready`; the addresses alone are other ones than in the file."""

    def __init__(self, folder: Path, ports: Sequence[int]) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        text = (ROOT / "agent/scale/haproxy.cfg").read_text(encoding="utf-8")
        text = text.replace("bind :2026", f"bind 127.0.0.1:{port}")
        places = iter(ports)
        text = re.sub(r"agent-\d+:2026", lambda _: f"127.0.0.1:{next(places)}", text)
        self._config, self._log = folder / "haproxy.cfg", folder / "haproxy.log"
        self._config.write_text(text, encoding="utf-8")

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [PROGRAM, "-db", "-f", self._config], stdout=log, stderr=log
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait(30)
