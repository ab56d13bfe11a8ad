"""`langgraph dev`, as a module to be started by name, that ends with the process that started it.

Its standard input is a pipe held by the starter: when that ends, however it ends, the pipe closes.
"""

import gc
import os
import signal
import sys
import threading


def _end_with_starter() -> None:
    while os.read(0, 1024):  # not sys.stdin: its lock would be held when the interpreter ends
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    threading.Thread(target=_end_with_starter, name="end-with-starter", daemon=True).start()
    gc.set_threshold(10_000)  # of a start's CPU a tenth is the collector's, among imports that stay
    from langgraph_cli.cli import cli

    cli(["dev", *sys.argv[1:]])


if __name__ == "__main__":
    main()
