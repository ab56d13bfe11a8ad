"""The graphs, for Aegra, which loads them from a file: the agent's own, not second copies."""

from agent.graph import chat, graph

__all__ = ["chat", "graph"]
