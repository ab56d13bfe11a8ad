"""Who somebody is, and what is theirs: on every surface, whichever route it came through.

A server that knows no tokens serves the person at this machine, and nobody else (agent.door). Each
thread, run, assistant, cron and store item belongs to the user who made it; what is another's is
not found.
"""

from collections.abc import Mapping, MutableMapping
from typing import Any

from langgraph_sdk import Auth, get_client
from starlette.datastructures import Headers

from agent.memory import store_name
from agent.quota import allow_run
from agent.tokens import Unauthorized, tokens

LOCAL_USER = "local"
PUBLIC = ""  # whoever asks for the page's files, or whether the server lives
_TOKEN_PROTOCOL = "bearer."  # noqa: S105 - how a browser's WebSocket brings its token
_SEEN = "steady.user"

auth = Auth()


def identify(scope: Mapping[str, Any]) -> str:
    """The id of the user whose request this ASGI scope is. Raises Unauthorized."""
    return user_by(Headers(scope=dict(scope)))


def user_by(headers: Headers) -> str:
    """The id of the user whose token these headers bring. Raises Unauthorized."""
    known = tokens()
    return known.user_of(token_of(headers)) if known.are_configured else LOCAL_USER


def token_of(headers: Headers) -> str:
    """The bearer token: of the header, or, as browsers cannot set it there, of a subprotocol."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    offered = map(str.strip, headers.get("sec-websocket-protocol", "").split(","))
    brought = (name for name in offered if name.startswith(_TOKEN_PROTOCOL))
    return next(brought, "").removeprefix(_TOKEN_PROTOCOL)


def let_in(scope: MutableMapping[str, Any], user: str) -> None:
    """Notes whose request it is."""
    scope[_SEEN] = user


def user_of(scope: Mapping[str, Any]) -> str:
    """Whose request it is: as the door found, else as the token says. Raises Unauthorized."""
    return str(scope[_SEEN]) if _SEEN in scope else identify(scope)


@auth.authenticate
async def authenticate(scope: dict[str, Any]) -> Auth.types.MinimalUserDict:
    """The user, for the LangGraph server."""
    try:
        user = user_of(scope)
    except Unauthorized as error:
        raise Auth.exceptions.HTTPException(status_code=401, detail=str(error)) from None
    return {"identity": user, "is_authenticated": user != PUBLIC}


@auth.on
async def refuse(ctx: Auth.types.AuthContext, value: Any) -> bool:
    """What is not named below is nobody's."""
    return False


@auth.on.threads
async def own_thread(ctx: Auth.types.AuthContext, value: Any) -> Any:
    """What a user makes is marked with the user's id, and nothing else is found."""
    return _own(ctx, value)


@auth.on.crons
async def own_cron(ctx: Auth.types.AuthContext, value: Any) -> Any:
    """As threads."""
    return _own(ctx, value)


@auth.on.threads.create_run
async def own_run(ctx: Auth.types.AuthContext, value: Any) -> Any:
    """A run is made for its user, within what a user may have."""
    await allow_run(_user(ctx), value.setdefault("kwargs", {}), _busy)
    return _own(ctx, value)


@auth.on.assistants
async def own_assistant(ctx: Auth.types.AuthContext, value: Any) -> Any:
    """The assistants that come with the server are everybody's to use."""
    mine = _own(ctx, value)
    if ctx.action in ("read", "search"):
        return {"$or": [mine, {"created_by": "system"}]}
    if metadata := value.get("metadata"):
        metadata.pop("created_by", None)
    return mine


@auth.on.store
async def own_items(ctx: Auth.types.AuthContext, value: Any) -> None:
    """Every name lies under the user's own."""
    value["namespace"] = (store_name(_user(ctx)), *(value.get("namespace") or ()))


async def _busy(user: str) -> int:
    server = get_client(url=None)
    return await server.threads.count(metadata={"owner": user}, status="busy")


def _own(ctx: Auth.types.AuthContext, value: Any) -> dict[str, str]:
    mine = {"owner": _user(ctx)}
    if ctx.action in ("create", "update", "create_run"):
        marked = value.get("metadata")
        if not isinstance(marked, dict):
            marked = value["metadata"] = {}
        marked.update(mine)  # in place: the server goes on with the object that it passed
    return mine


def _user(ctx: Auth.types.AuthContext) -> str:
    user = str(ctx.user.identity)
    if user == PUBLIC:
        raise Auth.exceptions.HTTPException(status_code=401, detail="Give a token.")
    return user
