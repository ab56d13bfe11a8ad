"""A graph drawn as a tree from its start; a node met again is named, not followed."""

from typing import Any

from rich.markup import escape
from rich.tree import Tree

from ..events import JSON


def draw(graph: JSON) -> Tree:
    """Draws a server's `{"nodes": [...], "edges": [...]}`; dotted arrows are conditional."""
    edges: list[JSON] = graph["edges"]
    targets = {edge["target"] for edge in edges}
    starts = [node["id"] for node in graph["nodes"] if node["id"] not in targets]
    tree = Tree(f"[bold]{escape(graph.get('name') or 'graph')}[/]", guide_style="dim")
    seen: set[Any] = set()
    for start in starts:
        _grow(tree, "", start, edges, seen)
    return tree


def _grow(tree: Tree, arrow: str, node: Any, edges: list[JSON], seen: set[Any]) -> None:
    again = node in seen
    seen.add(node)
    branch = tree.add(f"{arrow}[cyan]{escape(str(node))}[/]{' ↺' if again else ''}")
    for edge in [] if again else [edge for edge in edges if edge["source"] == node]:
        _grow(branch, "┄▷ " if edge.get("conditional") else "─▶ ", edge["target"], edges, seen)
