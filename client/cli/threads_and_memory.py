"""`steady threads` and `steady memory`: what a server keeps."""

from typing import Any

import click

from .options import at_url, served


@click.group()
def threads() -> None:
    """The conversations that a server keeps."""


@threads.command("list")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000))
@at_url
@served
async def list_threads(agent: Any, limit: int) -> int:
    """The threads changed last, newest first."""
    for thread in await agent.threads.list(limit):
        messages = (thread.get("values") or {}).get("messages") or []
        first = messages[0]["content"] if messages else ""
        click.echo(f"{thread['thread_id']}  {thread['status']:<11}  {str(first)[:60]}")
    return 0


@threads.command("show")
@click.argument("thread_id")
@click.option("--checkpoint-id", help="As it was at this checkpoint.")
@click.option("--ids", is_flag=True, help="With the messages' ids.")
@at_url
@served
async def show_thread(agent: Any, thread_id: str, checkpoint_id: str | None, ids: bool) -> int:
    """The messages of a thread."""
    from ..decoding.messages import text_of

    for message in await agent.threads.messages(thread_id, checkpoint_id):
        calls = "".join(f"\n  -> {c['name']} {c['args']}" for c in message.get("tool_calls") or ())
        place = f"{message.get('id')}  " if ids else ""
        click.echo(f"{place}{message['type']:>5}: {text_of(message)}{calls}")
    return 0


@threads.command("history")
@click.argument("thread_id")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000))
@at_url
@served
async def thread_history(agent: Any, thread_id: str, limit: int) -> int:
    """The checkpoints of a thread, newest first."""
    for state in await agent.threads.history(thread_id, limit):
        at = state["checkpoint"]["checkpoint_id"]
        count = len((state.get("values") or {}).get("messages") or ())
        after = ", ".join(state.get("next") or ()) or "end"
        click.echo(f"{at}  {state.get('created_at')}  {count} messages, next: {after}")
    return 0


@threads.command("delete")
@click.argument("thread_id")
@at_url
@served
async def delete_thread(agent: Any, thread_id: str) -> int:
    """Delete a thread and all its checkpoints."""
    await agent.threads.delete(thread_id)
    click.echo(f"Deleted {thread_id}.")
    return 0


@click.group()
def memory() -> None:
    """What the agent remembers of you."""


@memory.command("list")
@at_url
@served
async def list_memories(agent: Any) -> int:
    """All memories, newest first."""
    for found in await agent.memories.list():
        click.echo(f"{found.id}  {found.at[:10]}  {found.text}")
    return 0


@memory.command("forget")
@click.argument("memory_id", required=False)
@click.option("--all", "everything", is_flag=True, help="Every one of them.")
@at_url
@served
async def forget(agent: Any, memory_id: str | None, everything: bool) -> int:
    """Delete a memory, or all of them."""
    if everything == bool(memory_id):
        raise click.UsageError("Name one memory by its id, or give --all.")
    if everything:
        click.echo(f"Forgot {await agent.memories.forget_all()}.")
    elif memory_id:
        await agent.memories.forget(memory_id)
        click.echo(f"Forgot {memory_id}.")
    return 0
