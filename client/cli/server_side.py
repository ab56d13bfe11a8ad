"""Modules of the server that commands start by name: `client` never imports `agent`."""

import subprocess
import sys
from importlib.machinery import PathFinder
from importlib.util import find_spec

from ..errors import InvalidRequest
from .local_server import find_config


def run_server_side(module: str, *arguments: str) -> int:
    """Runs the module in a process of its own, in the project's folder; returns its exit code.

    Raises InvalidRequest where the module cannot be imported: the client is installed alone.
    """
    if not is_importable(module):
        raise InvalidRequest(
            "This command needs the steadystream repository, and here the client is installed "
            "alone: clone it, run `make install` there, and use its .venv/bin/steady."
        )
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, check=False, cwd=find_config().parent).returncode  # noqa: S603


def is_importable(module: str) -> bool:
    """Whether a module of this full name can be found, without importing what is above it."""
    top, *rest = module.split(".")
    spec, name = find_spec(top), top
    for part in rest:
        if spec is None:
            return False
        name = f"{name}.{part}"
        spec = PathFinder.find_spec(name, list(spec.submodule_search_locations or ()))
    return spec is not None
