"""The state of slots (prompts that the model has read), stored in files between its runs."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from agent.embedded.files import hash_of, replace_text

Json = dict[str, Any]

# One set of tools and one system prompt make two; each is some megabytes.
MOST_STATES = 16
_STALE_SECONDS = 3600.0


class States:
    """A folder of states. A damaged one counts as missing, the least recently used go first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, part: str, name: str, note: Json) -> None:
        """Give the file `part` its final name, and keep a note and its hash beside it."""
        written = self._folder / part
        text = json.dumps({"sha256": hash_of(written), "note": note})
        written.replace(self._folder / f"{name}.kv")
        replace_text(self._folder / f"{name}.json", text)
        self._drop_oldest()

    def note(self, name: str) -> Json | None:
        """The note stored with a state, if the state is whole."""
        path = self._folder / f"{name}.kv"
        try:
            stored = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            if stored["sha256"] != hash_of(path):
                return None
            os.utime(path)
            return dict(stored["note"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _drop_oldest(self) -> None:
        whole = sorted(self._folder.glob("*.kv"), key=_used, reverse=True)
        for path in whole[MOST_STATES:]:
            path.unlink(missing_ok=True)
            path.with_suffix(".json").unlink(missing_ok=True)
        now = max(map(_used, whole), default=0.0)
        for path in self._folder.iterdir():
            # What a process that was killed left behind.
            if path.suffix not in (".kv", ".json") and _used(path) < now - _STALE_SECONDS:
                path.unlink(missing_ok=True)


def _used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another process dropped it
        return 0.0


def key(kind: str, *parts: object) -> str:
    """A state's name: the same parts, the same name."""
    return f"{kind}-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]}"
