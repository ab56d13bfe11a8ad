"""`steady`, the command line: its commands, its exit codes, and errors as one line.

Exit codes: 0 done, 1 the run failed, 2 wrong use, 3 no server, 130 interrupted.
"""

import json
import sys
from typing import TYPE_CHECKING

import click

from ..events import Done, Error, to_json
from .run_commands import chat, continue_run, decide, regenerate, run, stop
from .server_commands import bench, chain, demo, doctor, graph, model, token
from .threads_and_memory import memory, threads

if TYPE_CHECKING:
    from ..errors import SteadyError

EXIT_FAILED, EXIT_USAGE, EXIT_NO_SERVER, EXIT_INTERRUPTED = 1, 2, 3, 130


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="steadystream")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.pass_context
def cli(context: click.Context, debug: bool) -> None:
    """Ask a LangGraph agent, and watch it stream: every token once, or a clear error."""
    context.obj = {"debug": debug}


_COMMANDS = (
    *(run, chat, decide, stop, regenerate, continue_run, threads, memory),
    *(chain, demo, graph, doctor, bench, token, model),
)
for _command in _COMMANDS:
    cli.add_command(_command)


def main() -> None:
    """The console script. Errors are one line on stderr, unless `--debug`."""
    try:
        sys.exit(cli(standalone_mode=False))
    except (KeyboardInterrupt, EOFError, click.Abort):  # Ctrl-C, or no more to read
        sys.exit(EXIT_INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Exception as error:
        from ..errors import SteadyError  # the SDK: not needed for --help

        if not isinstance(error, SteadyError) or "--debug" in sys.argv:
            raise
        _tell(error)
        sys.exit(_exit_code(error))


def _tell(error: "SteadyError") -> None:
    if "--json" not in sys.argv:
        click.echo(f"steady: {error.message}", err=True)
        return
    for event in (
        Error(error.code, error.message, error.retryable),
        Done("error", error.run_id, None, 0),
    ):
        click.echo(json.dumps(to_json(event)))


def _exit_code(error: "SteadyError") -> int:
    from ..errors import CannotConnect, InvalidRequest

    if isinstance(error, CannotConnect):
        return EXIT_NO_SERVER
    return EXIT_USAGE if isinstance(error, InvalidRequest) else EXIT_FAILED


if __name__ == "__main__":
    main()
