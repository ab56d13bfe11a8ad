"""What a patch of somebody else's code declares, and the check before it is applied."""

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_APPLIED = "__steady_patches__"  # on a patched module: the names of the patches

# The release series of each package that its patches are written for: "0.36" is every 0.36.x.
_SERIES = {
    "langgraph-api": "0.16",
    "langgraph-runtime-inmem": "0.36",
    "structlog": "25.5",
    "uvicorn": "0.54",
}


@dataclass(frozen=True)
class Shape:
    """A function as it was when a patch of it was written.

    `parameters` are the names of its parameters, in order. `source` are lines that the patch
    relies on, or whose fault it mends: compared without their indentation.
    """

    parameters: str
    source: str = ""

    def mismatch(self, function: Any) -> str | None:
        """How a function differs; None if it does not."""
        try:
            parameters = " ".join(inspect.signature(function).parameters)
            source = _lines(inspect.getsource(function))
        except (OSError, TypeError, ValueError):
            return "has no readable source"
        if parameters != self.parameters:
            return f"takes ({parameters})"
        return None if _lines(self.source) in source else "has another body"


@dataclass(frozen=True)
class Patch:
    """A change of somebody else's module, for one release series of its package."""

    name: str
    module: str
    replaces: Mapping[str, Shape]  # by their path in the module, such as "Runs.next"
    apply: Callable[[Any], None]
    loss: str  # what the server does not have without the patch
    needs: tuple[str, ...] = field(default=())  # further names that the replacement uses

    def mismatch(self, module: Any) -> str | None:
        """Why the patch does not fit the module; None if it fits."""
        if module is None:
            return f"{self.module} is not loaded"
        package = self.module.partition(".")[0].replace("_", "-")
        if (installed := _version(package)) != _SERIES[package]:
            return f"{package} is {installed}, not {_SERIES[package]}"
        for path in (*self.replaces, *self.needs):
            if _find(module, path) is None:
                return f"{self.module} has no {path}"
        for path, shape in self.replaces.items():
            if reason := shape.mismatch(_find(module, path)):
                return f"{path} {reason}"
        return None

    @property
    def is_applied(self) -> bool:
        """Whether this process's server has it."""
        return self.name in getattr(sys.modules.get(self.module), _APPLIED, ())

    def apply_once(self, module: Any) -> str | None:
        """Applies the patch where it fits and is not applied yet; returns `mismatch`'s answer."""
        applied: set[str] = getattr(module, _APPLIED, set())
        if self.name in applied:
            return None
        if reason := self.mismatch(module):
            return reason
        self.apply(module)
        setattr(module, _APPLIED, {*applied, self.name})
        return None


def _version(package: str) -> str:
    """The installed release series: the first two numbers of the version."""
    try:
        return ".".join(version(package).split(".")[:2])
    except PackageNotFoundError:
        return "not installed"


def _find(module: Any, path: str) -> Any:
    found = module
    for name in path.split("."):
        found = getattr(found, name, None)
    return found


def _lines(source: str) -> str:
    return "\n".join(line.strip() for line in source.strip().splitlines())
