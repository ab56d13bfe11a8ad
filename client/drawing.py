"""A graph drawn with characters."""

from typing import Any

from langchain_core.runnables.graph import Edge
from langchain_core.runnables.graph_ascii import draw_ascii

from client.events import JSON


def draw(graph: JSON) -> str:
    """Draws a server's `{"nodes": [...], "edges": [...]}`; dotted edges are conditional."""
    names = {str(node["id"]): str(node["id"]) for node in graph["nodes"]}
    edges = [_edge(edge) for edge in graph["edges"]]
    return draw_ascii(names, edges)


def _edge(edge: dict[str, Any]) -> Edge:
    return Edge(str(edge["source"]), str(edge["target"]), conditional=bool(edge.get("conditional")))
