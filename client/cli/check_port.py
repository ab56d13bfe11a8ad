"""`python -m client.cli.check_port PORT`: what `make dev` asks before it serves there."""

import errno
import socket
import sys
from pathlib import Path

import httpx

from .local_server import running_server


def main() -> int:
    """Prints the address of the page.

    Returns 1, with one line on stderr, where the port is taken, or a server runs on this folder.
    """
    port = int(sys.argv[1])
    url = f"http://127.0.0.1:{port}"
    if (running := running_server(Path.cwd())) is not None and running != url:
        sys.stderr.write(
            f"A server runs on this folder already, with its page at {running}: use that one, or "
            "stop it. A folder has one server.\n"
        )
        return 1
    if not _is_taken(port):
        sys.stdout.write(f"The page: {url}\n")
        return 0
    whose = (
        f"a server runs there, with its page at {url}" if _is_server(url) else "by another program"
    )
    sys.stderr.write(f"Port {port} is taken, {whose}. Another port: make dev PORT={port + 1}\n")
    return 1


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
            raise
    return False


def _is_server(url: str) -> bool:
    try:
        answer = httpx.get(f"{url}/ok", timeout=2.0, trust_env=False)
        return answer.is_success and answer.json().get("ok") is True
    except (httpx.HTTPError, ValueError, AttributeError):
        return False


if __name__ == "__main__":
    sys.exit(main())
