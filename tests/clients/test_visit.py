"""A share of a person's visit to front ends of other makers: see `visit.py`."""

from contextlib import asynccontextmanager

import pytest
from playwright.async_api import BrowserContext

from client.cli.local_server import LocalServer
from tests.clients.environments import needs, served
from tests.clients.visit import BUILT, visit
from tests.model_server import ModelServer

pytestmark = pytest.mark.timeout(240)


@pytest.mark.parametrize(
    ("name", "acts"),
    [
        ("useStream v0", ("tool", "reload")),
        ("useStream v1", ("tool", "reload", "second_tab")),
        ("create-agent-chat-app", ("stop", "regenerate")),
    ],
)
async def test_visit(
    server: LocalServer, model: ModelServer, context: BrowserContext, name: str, acts: tuple[str]
) -> None:
    """Answers are exact while they are written, after the page was loaded again, and at rest."""
    needs(BUILT[name])
    with served(BUILT[name]) as app:
        async with asynccontextmanager(visit)(name, context, app, server, model, 9) as person:
            for act in acts:
                await person.act(act)
            assert person.done.total() == len(acts)
