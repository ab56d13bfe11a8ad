"""Clients of the LangGraph server that others made, on a server of this project."""
