"""Which messages of a run are for the person, and which graph of it they come from. Pure.

A graph within a graph is named by its path: the names of the nodes that lead to it, with `|`
between them, as LangGraph writes a namespace without its task ids.
"""

from collections.abc import Iterable

from ..events import JSON

SEPARATOR = "|"
_TOOLS = "tools"  # LangGraph's and LangChain's own name for the node that runs tools
_HOOKS = ("before_agent", "before_model", "after_model", "after_agent")  # of LangChain's middleware
_MARKS = ("lc_source", "lc_internal_call")  # where LangChain says that a call is middleware's own
_NO_STREAM = ("nostream", "langsmith:nostream")


def path_of(metadata: JSON) -> str:
    """The path of the node that a message comes from: `model`, or `researcher|model`."""
    node = str(metadata.get("langgraph_node") or "")
    namespace = str(metadata.get("langgraph_checkpoint_ns") or "")
    names = [step.partition(":")[0] for step in namespace.split(SEPARATOR)]
    return SEPARATOR.join(names) if len(names) > 1 else node


class Audience:
    """Chooses what the person is shown.

    Args:
        nodes: the only nodes that are shown, each by its path, with all that is within it. None:
            all but what is for the program: calls within tools and in middleware.
    """

    def __init__(self, nodes: Iterable[str] | None = None) -> None:
        self.is_narrowed = nodes is not None
        self._nodes = [path.split(SEPARATOR) for path in nodes or ()]

    def is_shown(self, metadata: JSON, tags: Iterable[str] = ()) -> bool:
        """Whether a model call with this metadata speaks to the person."""
        path = path_of(metadata).split(SEPARATOR)
        is_marked = any(mark in metadata for mark in _MARKS)
        if any(tag in _NO_STREAM for tag in tags) or (is_marked and not _is_hook(path[-1])):
            return False
        if not self.is_narrowed:
            return not any(map(_is_for_program, path))
        return any(
            path[: len(node)] == node and not any(map(_is_for_program, path[len(node) :]))
            for node in self._nodes
        )

    def is_result_shown(self, metadata: JSON) -> bool:
        """Whether the result of a tool that ran at this node is for the person."""
        graph = path_of(metadata).split(SEPARATOR)[:-1]
        if any(map(_is_for_program, graph)):
            return False
        is_within = any(node[: len(graph)] == graph[: len(node)] for node in self._nodes)
        return not graph or not self.is_narrowed or is_within

    def is_speaker(self, path: str) -> bool:
        """Whether the node with this path may speak to the person."""
        return self.is_shown({"langgraph_node": path})


def _is_hook(node: str) -> bool:
    return node.rpartition(".")[2] in _HOOKS and "." in node


def _is_for_program(node: str) -> bool:
    return node == _TOOLS or _is_hook(node)
