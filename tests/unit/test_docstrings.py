"""What the public API says of itself: each parameter, what None means, the default, each error."""

import ast
import dataclasses
import importlib
import inspect
import re
import textwrap
import typing
from collections.abc import Iterator
from typing import Any

import pytest

import client
from client import SteadyError

# What people import from the agent for a graph of their own.
OF_THE_AGENT = """
    agent.model.chat_model.chat_model
    agent.middleware.approval.Approval
    agent.middleware.at_most_once.AtMostOnceTools
    agent.middleware.keep_partial_answer.KeepPartialAnswer
    agent.middleware.retry_model_call.RetryModelCall
    agent.middleware.run_context.Context
    agent.middleware.run_context.RunContext
    agent.middleware.stoppable_graph.StoppableGraph
    agent.middleware.thread_state.ThreadState
    agent.middleware.tool_errors.tool_errors
    agent.middleware.tool_time_limit.ToolTimeLimit
    agent.middleware.trim_history.TrimHistory
"""
OF_THE_CLIENT = [f"client.{name}" for name in client.__all__]


def public() -> Iterator[tuple[str, Any]]:
    """Each public class and function, and each public method and property of a class."""
    for path in (*OF_THE_CLIENT, *OF_THE_AGENT.split()):
        module, _, name = path.rpartition(".")
        found = getattr(importlib.import_module(module), name)
        if not inspect.isclass(found) and not inspect.isfunction(found):
            continue  # a union or an alias
        yield name, found
        for attribute, member in vars(found).items() if inspect.isclass(found) else ():
            if attribute.startswith("_") or any(attribute in vars(b) for b in found.__mro__[1:]):
                continue
            function = member.fget if isinstance(member, property) else member
            function = getattr(function, "__func__", function)
            if inspect.isfunction(function):
                yield f"{name}.{attribute}", function


def sections(found: Any) -> dict[str, dict[str, str]]:
    """A docstring's entries by section: `{"Args": {"url": "the server. None..."}}`."""
    entries: dict[str, dict[str, str]] = {}
    section, name = "", ""
    for line in inspect.cleandoc(found.__doc__ or "").splitlines():
        if header := re.fullmatch(r"(\w+)(?: \(.*\))?:", line):
            section = header[1]
            entries[section] = {}
        elif line and not line.startswith(" "):
            section = ""
        elif section and (entry := re.fullmatch(r"    (\w+): (.*)", line)):
            name = entry[1]
            entries[section][name] = entry[2]
        elif section and name in entries[section]:
            entries[section][name] += f" {line.strip()}"
    return entries


def parameters(found: Any) -> Iterator[tuple[str, Any, bool]]:
    """Each parameter, its annotation, and whether it has a default."""
    if typing.is_typeddict(found):
        yield from ((name, kind, True) for name, kind in found.__annotations__.items())
    elif hasattr(found, "model_fields"):  # pydantic's, whose fields have a description
        yield from (
            (n, f.annotation, True) for n, f in found.model_fields.items() if not f.description
        )
    elif not inspect.isclass(found) or "__init__" in vars(found) or dataclasses.is_dataclass(found):
        for name, each in inspect.signature(found).parameters.items():
            has_default = each.default is not each.empty
            if name not in ("self", "cls") and each.kind is not each.VAR_POSITIONAL:
                yield name, each.annotation, has_default


PUBLIC = dict(public())


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_definition_says_what_it_is(name: str) -> None:
    """A docstring of its own, which begins with a sentence."""
    text = inspect.cleandoc(PUBLIC[name].__doc__ or "")
    assert text.split("\n\n")[0].endswith((".", ":")), text
    assert not text.startswith(f"{name}("), "what dataclass writes where nobody wrote any"


@pytest.mark.parametrize("name", PUBLIC)
def test_each_parameter_is_documented(name: str) -> None:
    """By its name; with its default where it has one, and what None means where it may be None."""
    found = sections(PUBLIC[name])
    entries = {**found.get("Attributes", {}), **found.get("Args", {})}
    missing = []
    for parameter, annotation, has_default in parameters(PUBLIC[name]):
        entry = entries.get(parameter)
        if entry is None:
            missing.append(parameter)
            continue
        if has_default and "efault" not in entry:
            missing.append(f"{parameter}: its default")
        if re.search(r"\bNone\b", str(annotation)) and "None" not in entry:
            missing.append(f"{parameter}: what None means")
    assert missing == []


@pytest.mark.parametrize("name", PUBLIC)
def test_nothing_is_documented_that_is_not_there(name: str) -> None:
    """Each entry of `Args` is a parameter."""
    names = {parameter for parameter, _, _ in parameters(PUBLIC[name])}
    assert sections(PUBLIC[name]).get("Args", {}).keys() - names == set()


@pytest.mark.parametrize("name", PUBLIC)
def test_each_error_is_documented(name: str) -> None:
    """What the definition itself raises is named in its docstring, or in its class's."""
    found = PUBLIC[name]
    owner = PUBLIC.get(name.partition(".")[0])
    text = f"{found.__doc__} {owner.__doc__ if owner else ''}"
    body = vars(found).get("__init__") if inspect.isclass(found) else found
    if not inspect.isfunction(body) or not body.__code__.co_filename.endswith(".py"):
        return  # made by `dataclass`
    tree = ast.parse(textwrap.dedent(inspect.getsource(body)))
    raised = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise)]
    names = {
        each.func.id
        for each in raised
        if isinstance(each, ast.Call)
        if isinstance(each.func, ast.Name)
    }
    assert {each for each in names if not re.search(rf"\b{each}\b", text)} == set()


@pytest.mark.parametrize("name", PUBLIC)
def test_errors_that_are_named_are_there(name: str) -> None:
    """`Raises` names the client's errors, by the names that they are imported with."""
    errors = sections(PUBLIC[name]).get("Raises", {})
    known = {each for each in client.__all__ if is_error(getattr(client, each))}
    assert errors.keys() <= {*known, "ValueError"}


def is_error(found: Any) -> bool:
    return inspect.isclass(found) and issubclass(found, SteadyError)


def test_the_tree_of_errors_is_drawn_whole() -> None:
    """The picture at the top of `client/errors.py` has each error, below what it is a kind of."""
    drawn = (importlib.import_module("client.errors").__doc__ or "").splitlines()
    lines = [match for line in drawn if (match := re.match(r"([\s│├└─]*)([A-Z]\w+)", line))]
    parents: list[tuple[int, str]] = []
    tree = {}
    for match in lines:
        depth, name = len(match[1]), match[2]
        if not hasattr(client, name):
            continue
        parents = [each for each in parents if each[0] < depth]
        tree[name] = parents[-1][1] if parents else "Exception"
        parents.append((depth, name))
    errors = [found for each in client.__all__ if is_error(found := getattr(client, each))]
    assert tree == {found.__name__: found.__base__.__name__ for found in errors}
