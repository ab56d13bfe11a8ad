"""Which room may import which: the table that keeps the layers apart."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]

# room: the rooms it may import. A dotted name is one module of another room.
AGENT = {
    "settings": [],
    "prompt": [],
    "storage": ["settings"],
    "knowledge": ["settings"],
    "dev_server": ["settings"],
    "embedded": ["settings"],
    "telemetry": ["settings"],
    "model": ["settings", "embedded", "telemetry", "client.proxies"],
    "tools": ["settings", "knowledge", "storage.namespaces"],
    "middleware": ["settings", "model", "tools", "telemetry", "client.state", "client.errors"],
    "graph": ["settings", "prompt", "model", "tools", "middleware"],
    "chain": ["settings", "prompt", "model"],
    "access": ["settings", "storage.namespaces", "telemetry", "client.state", "client.errors"],
    "http": [
        *("settings", "storage", "knowledge", "dev_server", "embedded", "telemetry", "model"),
        *("prompt", "tools", "middleware", "graph", "chain", "access", "client"),
    ],
    "scale": ["*"],
}
_FOUNDATION = ["events", "errors", "limits", "reconnect"]
_LIBRARY = [*_FOUNDATION, "answer", "decoding", "state", "delivery", "run"]
_REQUESTS = ["run_input", "run_options", "assistants", "connection"]
CLIENT = {
    "events": [],
    "errors": ["events"],
    "limits": ["events", "errors"],
    "proxies": [],
    "version": [],
    "reconnect": ["events", "errors", "limits"],
    "decoding": _FOUNDATION,
    "state": _FOUNDATION,
    "delivery": [*_FOUNDATION, "decoding", "state"],
    "answer": ["events"],
    "run": [*_FOUNDATION, "answer", "decoding", "state", "delivery"],
    "run_input": _FOUNDATION,
    "run_options": _LIBRARY,
    "assistants": [*_FOUNDATION, "run_input", "run_options"],
    "connection": [*_FOUNDATION, "proxies", "version"],
    "thread_stream": _LIBRARY,
    "threads": [*_LIBRARY, "thread_stream"],
    "runs": [*_LIBRARY, "threads"],
    "memories": _LIBRARY,
    "client": [*_LIBRARY, *_REQUESTS, "thread_stream", "threads", "runs", "memories"],
    "sync": [*_LIBRARY, *_REQUESTS, "threads", "runs", "memories", "client"],
    "cli": ["*"],
}


def test_agent_rooms_import_only_what_the_table_allows() -> None:
    """Each import in `agent/` is one that the table names; of the client only its public API."""
    assert _not_allowed("agent", AGENT) == []


def test_client_rooms_import_only_what_the_table_allows() -> None:
    """Each import in `client/` is one that the table names: never of `agent`, nor of `cli`."""
    assert _not_allowed("client", CLIENT) == []


def test_client_modules_import_each_other_relatively() -> None:
    """The same files serve as `client` here and as `steadystream` where people install them."""
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in _modules("client")
        for name, is_relative in _imports(path)
        if name.split(".")[0] == "client" and not is_relative
    ]
    assert found == []


def test_the_product_never_imports_the_tests() -> None:
    """Nothing that the server runs or people install needs the tests."""
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in [*_modules("agent"), *_modules("client")]
        for name, _ in _imports(path)
        if name.split(".")[0] == "tests"
    ]
    assert found == []


def test_imports_run_one_way() -> None:
    """No two modules need each other, directly or around a corner."""
    modules = {_name(path): path for package in ("agent", "client") for path in _modules(package)}
    needs = {
        name: {found for found, _ in _imports(path) if found in modules and found != name}
        for name, path in modules.items()
    }
    while free := [name for name, needed in needs.items() if not needed & needs.keys()]:
        for name in free:
            del needs[name]
    assert needs == {}


def test_every_module_says_what_it_is() -> None:
    """Each module that holds anything begins with a docstring."""
    trees = {
        path: ast.parse(path.read_text(encoding="utf-8"))
        for path in [*_modules("agent"), *_modules("client")]
    }
    silent = [path for path, tree in trees.items() if tree.body and not ast.get_docstring(tree)]
    assert silent == []


def _not_allowed(package: str, table: dict[str, list[str]]) -> list[str]:
    found = []
    for path in _modules(package):
        room = _room(_name(path), package)
        if room is None:
            continue
        for name, _ in _imports(path):
            is_ours = name.split(".")[0] in ("agent", "client")
            if is_ours and not _allows(table, package, room, name):
                found.append(f"{path.relative_to(ROOT)} imports {name}")
    return found


def _allows(table: dict[str, list[str]], package: str, room: str, name: str) -> bool:
    """Whether modules of this room may import the module of this full name."""
    of, _, rest = name.partition(".")
    if of != package:
        allowed = table[room]
        if of == "agent":
            return False
        if "client" in allowed or "*" in allowed:  # the public API, at the top of `client/`
            return rest.split(".")[0] not in ("delivery", "decoding", "cli")
        return any(_is_within(name, each) for each in allowed if each.startswith("client."))
    target = rest.split(".")[0]
    if target in ("", room):
        return True
    allowed = table[room]
    if "*" in allowed:
        return True
    if target in ("scale", "cli") or target not in table:
        return False
    return any(_is_within(rest, each) for each in allowed)


def _is_within(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room}.")


def _modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _room(name: str, package: str) -> str | None:
    """The folder or top module that a module belongs to; None for the package itself."""
    _, _, rest = name.partition(".")
    return rest.split(".")[0] or None


def _imports(path: Path) -> Iterator[tuple[str, bool]]:
    """The full names of our modules that a file imports, wherever in it; and if relatively."""
    within = list(path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, False
        elif isinstance(node, ast.ImportFrom):
            start = within[: len(within) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                is_module = _is_module(full)
                yield (full if is_module else base), node.level > 0


def _is_module(name: str) -> bool:
    at = ROOT.joinpath(*name.split("."))
    return at.with_suffix(".py").is_file() or (at / "__init__.py").is_file()
