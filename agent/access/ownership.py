"""Authentication and ownership rules, on every surface, whichever route a request came through.

A server that knows no tokens serves the person at this machine, and nobody else
(agent.access.gate). Each thread, run, assistant, cron and store item belongs to the user who made
it; what is another's is not found.
"""

import sys
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any

from langgraph_sdk import Auth, get_client
from langgraph_sdk.errors import NotFoundError
from starlette.datastructures import Headers

from agent.access.decisions import answers_by_interrupt, resumes
from agent.access.quota import allow_one_more_cron, allow_one_more_run, allow_run, check_delay
from agent.access.run_context import check_context, context_of
from agent.access.tokens import Unauthorized, tokens
from agent.storage.namespaces import store_name

LOCAL_USER = "local"
PUBLIC = ""  # no user: for the page's files and the health check
_TOKEN_PROTOCOL = "bearer."  # noqa: S105 - how a browser's WebSocket brings its token
_USER_KEY = "steady.user"

auth = Auth()


def authenticated_user(scope: Mapping[str, Any]) -> str:
    """The id of the user whose request this ASGI scope is. Raises Unauthorized."""
    return user_by_token(Headers(scope=dict(scope)))


def user_by_token(headers: Headers) -> str:
    """The id of the user whose token these headers bring. Raises Unauthorized."""
    accepted = tokens()
    return accepted.user_of(token_of(headers)) if accepted.are_configured else LOCAL_USER


def token_of(headers: Headers) -> str:
    """The token: `Authorization: Bearer`, or `x-api-key` where that header is absent, as the SDKs
    send their `api_key`, or, as browsers can set neither on a WebSocket, a subprotocol."""
    if "authorization" not in headers and (api_key := headers.get("x-api-key", "").strip()):
        return api_key
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    offered = map(str.strip, headers.get("sec-websocket-protocol", "").split(","))
    protocols = (name for name in offered if name.startswith(_TOKEN_PROTOCOL))
    return next(protocols, "").removeprefix(_TOKEN_PROTOCOL)


def set_user(scope: MutableMapping[str, Any], user: str) -> None:
    """Notes whose request it is."""
    scope[_USER_KEY] = user


def user_of(scope: Mapping[str, Any]) -> str:
    """Whose request it is: as noted, else as the token says. Raises Unauthorized."""
    return str(scope[_USER_KEY]) if _USER_KEY in scope else authenticated_user(scope)


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
    """What has no rule below is refused."""
    return False


@auth.on.threads
async def own_thread(ctx: Auth.types.AuthContext, value: Any) -> Any:
    """A thread is marked with the id of the user who made it; another's is not found."""
    return _own(ctx, value)


@auth.on.crons
async def own_cron(ctx: Auth.types.AuthContext, value: Any) -> Any:
    """Like threads, with a limit for each user."""
    if ctx.action == "create":
        crons = await server_rows("crons") or ()
        allow_one_more_cron(sum(it["metadata"].get("owner") == _user(ctx) for it in crons))
    return _own(ctx, value)


@auth.on.threads.create_run
async def own_run(ctx: Auth.types.AuthContext, value: Any) -> Any:
    """A run is made for its user, within the user's limits, and with decisions that fit."""
    user, kwargs = _user(ctx), value.setdefault("kwargs", {})
    check_delay(value.get("after_seconds") or 0)
    assistant = await _assistant(value["assistant_id"])
    await check_context(context_of(kwargs), assistant.get("graph_id"))
    await allow_run(user, kwargs, (assistant.get("config") or {}).get("recursion_limit"))
    if tokens().are_configured:
        allow_one_more_run(await _active_runs(user))
    if resumes(command := kwargs.get("command")):
        state = await _state(user, value["thread_id"], kwargs["config"].get("configurable") or {})
        if state is not None:  # else the server says itself that it has no such thread
            command["resume"] = answers_by_interrupt(command["resume"], state)
    return _own(ctx, value)


@auth.on.assistants
async def own_assistant(ctx: Auth.types.AuthContext, value: Any) -> Any:
    """The assistants that come with the server are everybody's to use."""
    own = _own(ctx, value)
    if ctx.action in ("create", "update") and value.get("context"):
        graph_id = value.get("graph_id") or (await _assistant(value["assistant_id"])).get(
            "graph_id"
        )
        await check_context(value["context"], graph_id)
    if ctx.action in ("read", "search"):
        return {"$or": [own, {"created_by": "system"}]}
    if metadata := value.get("metadata"):
        metadata.pop("created_by", None)
    return own


@auth.on.store
async def own_items(ctx: Auth.types.AuthContext, value: Any) -> None:
    """Every namespace lies under the user's own."""
    value["namespace"] = (store_name(_user(ctx)), *(value.get("namespace") or ()))
    if value.get("max_depth") is not None:
        value["max_depth"] += 1


async def _active_runs(user: str) -> int:
    """How many runs of the user go on or wait; on another server, how many threads are busy."""
    runs = await server_rows("runs")
    if runs is None:
        return await get_client(url=None).threads.count(metadata={"owner": user}, status="busy")
    own = (run for run in runs if run["metadata"].get("owner") == user)
    return sum(run["status"] in ("pending", "running") for run in own)


async def unfinished_runs() -> int:
    """How many runs this process still has to carry out; 0 where other processes go on with them.

    Those that were asked to start later can do so at the next start of the server.
    """
    now = datetime.now(UTC)
    return sum(
        run["status"] in ("pending", "running") and run["created_at"] <= now
        for run in await server_rows("runs") or ()
    )


async def _assistant(assistant_id: Any) -> Mapping[str, Any]:
    """The assistant; empty where there is none, which the server tells in its own words."""
    rows = await server_rows("assistants")
    if rows is not None:
        return next((row for row in rows if row["assistant_id"] == assistant_id), {})
    try:
        return dict(await get_client(url=None).assistants.get(str(assistant_id)))
    except NotFoundError:
        return {}


async def _state(user: str, thread_id: Any, configurable: Mapping[str, Any]) -> Any:
    """The state that a run on the user's thread would begin from; None where there is none."""
    server, thread, owner = get_client(url=None), str(thread_id), {"owner": user}
    if not await server.threads.search(ids=[thread], metadata=owner, limit=1, select=["thread_id"]):
        return None
    checkpoint_id = configurable.get("checkpoint_id")
    return await server.threads.get_state(thread, checkpoint_id=checkpoint_id)


async def server_rows(kind: str) -> list[Any] | None:
    """The in-memory server's own list, to be read at once; None on another server."""
    database = sys.modules.get("langgraph_runtime_inmem.database")
    if database is None:
        return None
    async with database.connect() as connection:
        rows: list[Any] = connection.store[kind]
        return rows


def _own(ctx: Auth.types.AuthContext, value: Any) -> dict[str, str]:
    owner = {"owner": _user(ctx)}
    if ctx.action in ("create", "update", "create_run"):
        metadata = value.get("metadata")
        if not isinstance(metadata, dict):
            metadata = value["metadata"] = {}
        metadata.update(owner)  # in place: the server goes on with the object that it passed
    return owner


def _user(ctx: Auth.types.AuthContext) -> str:
    user = str(ctx.user.identity)
    if user == PUBLIC:
        raise Auth.exceptions.HTTPException(status_code=401, detail="Give a token.")
    return user
