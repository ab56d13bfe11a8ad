"""Patches of the server that `langgraph dev` runs, and what is checked before it starts.

Each patch names the function it replaces, and is applied only where that has the shape it was
written for; what is skipped, and lost thereby, is in the log. On other servers none of this
applies: the folder can be deleted.
"""

from agent.dev_server.registry import PATCHES, apply_patches

__all__ = ["PATCHES", "apply_patches"]
