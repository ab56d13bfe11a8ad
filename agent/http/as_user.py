"""Whose request it is, for the routes: a client of this server that asks as that user.

What a route depends on is a coroutine: FastAPI has another thread call what is none.
"""

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from agent.access.ownership import token_of, user_of
from agent.http.own_server import OWN_URL, OwnServerTransport
from agent.http.runs import Chat
from agent.settings import settings


async def chat_of(connection: HTTPConnection) -> Chat:
    """The chat of whoever asks: this server without a socket, with the token that came along."""
    scope = connection.scope
    transport = OwnServerTransport(scope["app"], scope.get("state"))
    user, token = user_of(scope), token_of(connection.headers)
    return Chat(OWN_URL, user, token, settings(), transport)


AsUser = Annotated[Chat, Depends(chat_of)]
