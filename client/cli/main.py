"""`steady`, the command line: its commands, and errors as one line."""

import shutil
import sys
from collections.abc import Iterable
from io import TextIOWrapper

import click

from ..events import Done, Error, to_json
from ..version import __version__
from . import exit_codes
from .options import WholeHelp
from .run_commands import chat, continue_run, decide, join, regenerate, resume, run, stop
from .server_commands import bench, chain, demo, doctor, graph, model, token
from .threads_and_memory import memory, threads

_WIDEST_HELP = 100


class _HelpFormatter(click.HelpFormatter):
    """Leaves most of a narrow terminal to the explanations."""

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        super().write_dl(list(rows), min(col_max, self.width // 3), col_spacing)


@click.group(cls=WholeHelp, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="steady")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def cli(debug: bool) -> None:
    """Ask a LangGraph agent, and watch it stream: every token once, or a clear error.

    Exit codes: 0 done, 1 the run failed, 2 wrong use, 3 no server, 4 a decision is due (see
    `steady decide`), 130 stopped by Ctrl-C.
    """


_COMMANDS = (
    *(run, chat, join, decide, resume, stop, regenerate, continue_run, threads, memory),
    *(chain, demo, graph, doctor, bench, token, model),
)
for _command in _COMMANDS:
    cli.add_command(_command)


def main() -> None:
    """The console script. Errors are one line on stderr, unless `--debug`."""
    for stream, errors in (
        (sys.stdin, "surrogateescape"),
        (sys.stdout, "replace"),
        (sys.stderr, "replace"),
    ):
        if isinstance(stream, TextIOWrapper):  # a program may be started without one
            stream.reconfigure(errors=errors)
    try:
        _refuse_broken_text(sys.argv[1:])
        click.Context.formatter_class = _HelpFormatter
        width = min(shutil.get_terminal_size().columns, _WIDEST_HELP)
        sys.exit(cli(prog_name="steady", standalone_mode=False, terminal_width=width))
    except (KeyboardInterrupt, EOFError, click.Abort):  # Ctrl-C, or no more to read
        sys.exit(exit_codes.INTERRUPTED)
    except click.ClickException as error:
        where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else ""
        message = error.format_message()
        if where and not message.endswith((".", "?")):
            is_split = "extra arg" in message
            message += ": a text with spaces has to be in quotes." if is_split else "."
        _tell(message + (f" See `{where} --help`." if where else ""))
        sys.exit(error.exit_code)
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        sys.exit(_tell_failure(error))


def _refuse_broken_text(arguments: list[str]) -> None:
    for argument in arguments:
        if not argument.isascii() and any("\ud800" <= c <= "\udfff" for c in argument):
            shown = argument.encode("utf-8", "replace").decode()
            raise click.UsageError(f"This argument is not UTF-8 text: {shown!r}.")


def _tell_failure(error: Exception) -> int:
    """Says it in one line, or as events with `--json`; returns the exit code."""
    from ..errors import CannotConnect, InvalidRequest, SteadyError  # the SDK: not for --help
    from .show_run import write_ids

    if isinstance(error, BrokenPipeError):  # who read the output has gone
        sys.stdout = None  # not flushed once more when Python ends
        return exit_codes.FAILED
    if not isinstance(error, SteadyError):
        _tell(f"{type(error).__name__}: {error}. `steady --debug` shows where it comes from.")
        return exit_codes.FAILED
    if "--json" in sys.argv:
        from .output import write_json

        write_json(to_json(Error(error.code, error.message, error.retryable)))
        write_json(to_json(Done("error", error.run_id, None, 0)))
    else:
        _tell(error.message)
    write_ids(error.thread_id, error.run_id)
    if isinstance(error, CannotConnect):
        return exit_codes.NO_SERVER
    return exit_codes.USAGE if isinstance(error, InvalidRequest) else exit_codes.FAILED


def _tell(message: str) -> None:
    from .output import notes, write_line

    write_line(f"steady: {' '.join(message.split())}", notes)


if __name__ == "__main__":
    main()
