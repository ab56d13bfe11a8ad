"""Whose request it is, for the routes: a client of this server that asks as that user."""

from typing import Annotated

import httpx
from fastapi import Depends
from starlette.requests import HTTPConnection

from agent.access.gate import own_header
from agent.access.ownership import token_of, user_of
from agent.http.runs import Chat
from agent.settings import settings
from agent.telemetry.trace_context import trace_headers


class _OwnTransport(httpx.AsyncHTTPTransport):
    """Marks each request as this process's own, in the trace of the one that it is for."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.headers.update({**own_header(), **trace_headers()})
        return await super().handle_async_request(request)


_transport = _OwnTransport(limits=httpx.Limits(max_connections=None))


def chat_of(connection: HTTPConnection) -> Chat:
    """The chat of whoever asks: this server over loopback, with the token that came along."""
    config = settings()
    host, port = connection.scope["server"]
    own_url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    user, token = user_of(connection.scope), token_of(connection.headers)
    return Chat(config.steady_server_url or own_url, user, token, config, _transport)


AsUser = Annotated[Chat, Depends(chat_of)]
