"""Who somebody is, and what is theirs: on every surface, whichever route it came through.

A server that knows no tokens serves the person at this machine, and nobody else
(agent.access.gate). Each thread, run, assistant, cron and store item belongs to the user who made
it; what is another's is not found.
"""

import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

from langgraph_sdk import Auth, get_client
from starlette.datastructures import Headers

from agent.access.quota import allow_one_more, allow_run
from agent.access.run_context import check_run_context
from agent.access.tokens import Unauthorized, tokens
from agent.storage.namespaces import store_name

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
    await check_run_context(value["assistant_id"], value.get("kwargs") or {})
    own_steps = await _steps_of(value["assistant_id"])
    await allow_run(_user(ctx), value.setdefault("kwargs", {}), own_steps)
    if tokens().are_configured:
        allow_one_more(await _going_on(_user(ctx)))
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


async def _going_on(user: str) -> int:
    """How many runs of the user go on or wait; on another server, how many threads are busy."""
    runs = await _in_memory("runs")
    if runs is None:
        return await get_client(url=None).threads.count(metadata={"owner": user}, status="busy")
    mine = (run for run in runs if run["metadata"].get("owner") == user)
    return sum(run["status"] in ("pending", "running") for run in mine)


async def _steps_of(assistant_id: Any) -> Any:
    """The limit of steps that an assistant brings; None if it brings none."""
    for assistant in await _in_memory("assistants") or ():
        if assistant["assistant_id"] == assistant_id:
            return (assistant["config"] or {}).get("recursion_limit")
    return None


async def _in_memory(kind: str) -> list[Any] | None:
    """The in-memory server's own list, to be read at once; None on another server."""
    database = sys.modules.get("langgraph_runtime_inmem.database")
    if database is None:
        return None
    async with database.connect() as connection:
        found: list[Any] = connection.store[kind]
        return found


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
