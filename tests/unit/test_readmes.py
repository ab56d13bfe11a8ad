"""What the README files say is there, and their snippets work."""

import json
import re
from pathlib import Path

import pytest
from langchain_core.tools import BaseTool
from langgraph.graph.state import CompiledStateGraph

import agent.graph
import agent.prompt

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FOLDERS = ("agent", "client", "tests")
INSTALLED = {"node_modules", ".venv", "build"}  # other people's pages
PAGES = sorted(
    page
    for page in (
        *ROOT.glob("*.md"),
        *(page for at in FOLDERS for page in (ROOT / at).rglob("*.md")),
    )
    if not INSTALLED & set(page.relative_to(ROOT).parts)
)
LONGEST_README_LINES = 180


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Each link to a file of this repository leads to one that is there."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)\s#]+)[^)]*\)", text)
    here = [target for target in targets if not re.match(r"[a-z]+:", target)]
    assert [target for target in here if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_are_named_are_there(page: Path) -> None:
    """Each path of ours that a page names exists, but for files that it has people make."""
    text = page.read_text(encoding="utf-8")
    paths = set(re.findall(r"`((?:agent|client|tests)/[\w./-]+)`", text))
    examples = {"agent/tools/dice.py"}
    found = [path for path in paths - examples if not (ROOT / path).exists()]
    assert found == []


def test_the_readme_is_short() -> None:
    """A person who sees the project for the first time reads it to its end."""
    assert len(README.splitlines()) <= LONGEST_README_LINES


def test_the_tool_of_the_readme_can_be_called() -> None:
    """The file of 'Add a tool', pasted as it is, is a tool that answers."""
    chapter = README.split("## Add a tool")[1]
    source = re.findall(r"```python\n(.*?)```", chapter, re.DOTALL)[0]
    names: dict[str, object] = {}
    exec(compile(source, "dice.py", "exec"), names)  # noqa: S102 - it is the README's own
    roll_dice = names["roll_dice"]
    assert isinstance(roll_dice, BaseTool)
    assert roll_dice.invoke({"sides": 1}) == "1"


def test_the_second_graph_of_the_agents_page_is_one() -> None:
    """Its line, pasted at the end of `agent/graph.py`, is a graph that the server can load."""
    chapter = (ROOT / "agent/README.md").read_text(encoding="utf-8").split("## How to make it")[1]
    line = re.findall(r"```python\n(.*?)```", chapter, re.DOTALL)[0]
    entry = json.loads(f"{{{re.findall(r'```json(.*?)```', chapter, re.DOTALL)[0]}}}")
    names = dict(vars(agent.graph))
    exec(compile(line, "graph.py", "exec"), names)  # noqa: S102 - it is the page's own
    ((name, described),) = entry.items()
    assert described["path"] == f"agent.graph:{name}"
    assert isinstance(names[name], CompiledStateGraph)


def test_the_places_to_make_it_yours_are_the_only_ones() -> None:
    """The introduction, the examples and the prompt stand in one file, and nowhere else."""
    texts = [agent.prompt.INTRODUCTION, agent.prompt.SYSTEM_PROMPT, str(agent.prompt.EXAMPLES)]
    files = [path for at in ("agent", "client") for path in (ROOT / at).rglob("*.*")]
    code = [path for path in files if path.suffix in (".py", ".js", ".html", ".json")]
    found = [
        str(path.relative_to(ROOT))
        for path in code
        if path != ROOT / "agent/prompt.py"
        and any(text in path.read_text(encoding="utf-8") for text in texts)
    ]
    assert found == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_make_targets_that_are_named_are_there(page: Path) -> None:
    """Each `make` target that a page names is one of the Makefile's."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    rules = re.findall(r"^([a-z0-9. -]+):", makefile, re.MULTILINE)
    targets = {target for rule in rules for target in rule.split()}
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^    |`)make ([a-z0-9.-]+)", text, re.MULTILINE))
    assert named - targets == set()
