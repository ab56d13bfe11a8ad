"""One server for a folder, whose files can be read: checked before the in-memory server starts.

Two servers on one folder would run the same runs twice, and overwrite each other's lists. Of a list
that it cannot read, the server deletes the file, and of a damaged database it shows a traceback.
"""

import asyncio
import json
import os
import pickle
import sqlite3
import sys
import time
from pathlib import Path
from typing import IO

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from agent.settings import settings

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

log = structlog.stdlib.get_logger(__name__)

FOLDER = Path(".langgraph_api")
NOTE = FOLDER / "server.json"  # which server runs here; held locked for as long as it does
LISTS = FOLDER / ".langgraph_ops.pckl"
_WAIT_SECONDS = 2.0  # for a server that is just ending, or a program that looks at the note
_LARGEST_CHECKED_BYTES = 64_000_000  # a check reads all of the database

_held: list[IO[str]] = []


class StartRefused(Exception):
    """The server cannot start in this folder; the message says what to do."""


class BeforeStart:
    """An ASGI middleware that checks the folder first, and lets `/ok` tell of unwritten lists."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if "langgraph_runtime_inmem.database" in sys.modules:
            if scope["type"] == "lifespan":
                try:
                    await asyncio.to_thread(check_folder)
                except StartRefused as error:
                    await receive()
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
            elif scope["type"] == "http" and scope["path"] == "/ok":
                scope = {**scope, "query_string": b"check_db=1"}
        await self._app(scope, receive, send)


def check_folder() -> None:
    """Claims the folder for this process. Raises StartRefused."""
    if os.environ.get("LANGGRAPH_DISABLE_FILE_PERSISTENCE", "").lower() == "true":
        return
    FOLDER.mkdir(exist_ok=True)
    if not _held:
        _held.append(_locked_note())
    _check_lists()
    if settings().steady_postgres_uri is None:
        _check_database(settings().steady_threads_file)


def _locked_note() -> IO[str]:
    note = NOTE.open("a+", encoding="utf-8")
    if fcntl is None:
        log.warning("Nothing here keeps a second server off this folder: start only one.")
    else:
        end = time.monotonic() + _WAIT_SECONDS
        while not _is_locked(note):
            if time.monotonic() > end:
                note.seek(0)
                raise StartRefused(
                    f"Another server runs on {FOLDER.absolute()} ({note.read().strip()}): use that "
                    "one, stop it, or start this one in another folder."
                )
            time.sleep(0.1)
    note.truncate(0)
    json.dump({"url": os.environ.get("LANGGRAPH_API_URL", ""), "pid": os.getpid()}, note)
    note.flush()
    return note


def _is_locked(note: IO[str]) -> bool:
    try:
        fcntl.flock(note, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _check_lists() -> None:
    """Reads the lists as the server does. An empty file counts as none there."""
    try:
        with LISTS.open("rb") as file:
            lists = pickle.load(file)  # noqa: S301 - the server's own, which it loads next
    except (FileNotFoundError, EOFError):
        return
    except Exception as error:
        raise StartRefused(
            f"{LISTS.absolute()} cannot be read ({error}). Put a copy in its place, or move it "
            "away and start again: threads are then listed again from their own file, but "
            "assistants of your own and crons are lost."
        ) from error
    if not isinstance(lists, dict):
        raise StartRefused(f"{LISTS.absolute()} holds no lists: move it away and start again.")


def _check_database(file: Path) -> None:
    if not file.exists() or not file.stat().st_size:
        return
    is_small = file.stat().st_size <= _LARGEST_CHECKED_BYTES
    check = "PRAGMA quick_check(1)" if is_small else "SELECT name FROM sqlite_master"
    try:
        connection = sqlite3.connect(file)
        try:
            row = connection.execute(check).fetchone()
        finally:
            connection.close()
    except sqlite3.OperationalError:  # another program writes to it
        return
    except sqlite3.DatabaseError as error:
        reason = str(error)
    else:
        reason = str(row[0]) if is_small and row and row[0] != "ok" else ""
    if reason:
        raise StartRefused(
            f"{file.absolute()} is damaged ({reason}). Put a copy in its place, try "
            "`sqlite3 FILE .recover`, or move it away and start again, without its threads."
        )
