"""Every package that the sources import is declared, and both projects agree on what they share."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
OURS = {"agent", "client", "tests"}
# of the environment of `make scale`, which need not be installed where this runs
OF_SCALE = {"aegra_api": "aegra-api", "redis": "redis", "sqlalchemy": "sqlalchemy"}


def project(folder: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def declared(folder: str, *extras: str) -> set[str]:
    """The distributions that a project names, in its dependencies and these of its extras."""
    found = project(folder)
    optional = found["optional-dependencies"]
    wanted = [*found["dependencies"], *(line for extra in extras for line in optional[extra])]
    names: set[str] = set()
    for line in wanted:
        name, brings = re.fullmatch(r"([\w.-]+)(?:\[([\w,]+)\])?.*", line).groups()  # type: ignore[union-attr]
        names |= {normalized(name), *(f"{name}-{extra}" for extra in (brings or "").split(","))}
    return names


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported(files: Iterable[Path]) -> dict[str, list[str]]:
    """The top-level packages of other people that the files import, and where."""
    found: dict[str, list[str]] = {}
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names.append(node.module)
            for name in names:
                top = name.split(".")[0]
                if top not in OURS and top not in sys.stdlib_module_names:
                    found.setdefault(top, []).append(str(file.relative_to(ROOT)))
    return found


def undeclared(files: Iterable[Path], names: set[str]) -> dict[str, list[str]]:
    distributions = packages_distributions()
    return {
        package: sorted(set(where))
        for package, where in imported(files).items()
        if not names
        & {normalized(d) for d in distributions.get(package, [OF_SCALE.get(package, package)])}
    }


def modules(*folders: str) -> list[Path]:
    """Those of the project: without what is installed beside other makers' clients, or built."""
    others = {".venv", "node_modules", "scripts", "build"}
    return [
        file
        for folder in folders
        for file in sorted((ROOT / folder).rglob("*.py"))
        if not others & set(file.relative_to(ROOT).parts)
    ]


def test_the_client_declares_what_it_imports() -> None:
    """The library needs its dependencies alone; `steady` those of the extra `cli` as well."""
    # edits of a tool's arguments are checked by the server; a client that has this checks before
    optional = {"jsonschema-rs"}
    library = [file for file in modules("client") if "cli" not in file.relative_to(ROOT).parts]
    assert undeclared(library, declared("client") | optional) == {}
    # a local server is the repository's, which is said where it is missing
    program = declared("client", "cli") | optional | {"langgraph-cli"}
    assert undeclared(modules("client"), program) == {}


@pytest.mark.parametrize(
    ("folders", "extras"),
    [
        (("agent", "client"), ("postgres", "scale", "embedded", "telemetry")),
        (("tests",), ("dev", "postgres", "embedded")),
    ],
)
def test_the_project_declares_what_it_imports(
    folders: tuple[str, ...], extras: tuple[str, ...]
) -> None:
    """What the server, the client and the tests import is named, not had by luck through others."""
    assert undeclared(modules(*folders), declared(".", *extras)) == {}


def test_both_projects_agree() -> None:
    """The client has one version and one Python, and its dependencies are the project's too."""
    whole, client = project("."), project("client")
    for field in ("name", "dynamic", "requires-python", "license"):
        assert whole[field] == client[field]
    optional = client["optional-dependencies"]["cli"]
    assert {*client["dependencies"], *optional} <= set(whole["dependencies"])


def test_the_client_s_packages_are_all_of_its_folders() -> None:
    """A folder that is not listed would be missing from the wheel."""
    text = (ROOT / "client/pyproject.toml").read_text(encoding="utf-8")
    listed = tomllib.loads(text)["tool"]["setuptools"]["packages"]
    folders = {file.parent.relative_to(ROOT / "client") for file in modules("client")}
    assert sorted(listed) == sorted(".".join(("steadystream", *at.parts)) for at in folders)
