"""Which fields a run's context may have."""

from dataclasses import dataclass
from typing import Any

import pytest
from langgraph.graph import START, StateGraph
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from typing_extensions import TypedDict

from agent.access.run_context import refuse_unknown_fields


class State(TypedDict):
    text: str


class Model(BaseModel):
    temperature: float = 0.0


class Typed(TypedDict, total=False):
    temperature: float


@dataclass
class Data:
    temperature: float = 0.0


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    temperature: float = 0.0


class Empty(BaseModel):
    pass


def schema_of(context: Any) -> Any:
    """As the server has it of a graph."""
    graph = StateGraph(State, context_schema=context).add_node("node", lambda state: state)
    return graph.add_edge(START, "node").compile().get_context_jsonschema()


@pytest.mark.parametrize("kind", [Model, Typed, Data])
def test_an_unknown_field_is_refused_by_name(kind: Any) -> None:
    """However a graph describes its context, a field it does not have is named, and a near one."""
    refuse_unknown_fields({"temperature": 1}, schema_of(kind))
    with pytest.raises(HTTPException, match=r"'temprature'.*Did you mean 'temperature'") as caught:
        refuse_unknown_fields({"temperature": 1, "temprature": 1}, schema_of(kind))
    assert caught.value.status_code == 422


@pytest.mark.parametrize("kind", [None, Open, Empty])
def test_a_graph_without_fields_takes_anything(kind: Any) -> None:
    """No context schema, one that allows more, and one without fields refuse nothing."""
    refuse_unknown_fields({"temprature": 1}, schema_of(kind))
