"""Aegra loads graphs from files: from here it gets those that the agent's modules already made."""

from agent.graph import chat, graph

__all__ = ["chat", "graph"]
