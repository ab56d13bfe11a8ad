"""The model's own process: serves until its standard input ends, as it does with its parent."""

import asyncio
import json
import os
import socket
import sys
import threading
from pathlib import Path

import uvicorn

from agent.embedded.engine import Engine
from agent.embedded.process import ENV_GGUF, ENV_KEY, ENV_STATES
from agent.embedded.server import application
from agent.embedded.turn import Model


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    # Nothing here needs saving, and a computation under way must not delay the end.
    os._exit(0)


async def _serve() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    async with Engine(Path(os.environ[ENV_GGUF]), Path(os.environ[ENV_STATES])) as engine:
        app = application(Model(engine), os.environ.pop(ENV_KEY))
        config = uvicorn.Config(app, log_level="warning", lifespan="off")
        sys.stdout.write(json.dumps({"port": listener.getsockname()[1]}) + "\n")
        sys.stdout.flush()
        await uvicorn.Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    asyncio.run(_serve())
