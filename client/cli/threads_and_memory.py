"""`steady threads` and `steady memory`: what a server keeps."""

from typing import Any

import click

from .options import WholeHelp, at_url, in_json, served

_with_limit = click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000))
_LONGEST_TITLE = 60


@click.group(cls=WholeHelp)
def threads() -> None:
    """The conversations that a server keeps."""


@threads.command("list")
@_with_limit
@at_url
@in_json
@served
async def list_threads(agent: Any, limit: int, as_json: bool) -> int:
    """The threads changed last, newest first."""
    from ..decoding.messages import text_of
    from .output import notes, write_json, write_line, write_row

    found = await agent.threads.list(limit)
    for thread in found:
        values = thread.get("values")
        messages = (values.get("messages") if isinstance(values, dict) else None) or []
        title = " ".join(text_of(messages[0]).split()) if messages else ""
        if as_json:
            fields = ("thread_id", "status", "created_at", "updated_at", "metadata")
            row = {name: thread.get(name) for name in fields}
            write_json({**row, "title": title, "messages": len(messages)})
        else:
            changed = str(thread.get("updated_at") or "")[:16].replace("T", " ")
            status = str(thread["status"])
            write_row(
                thread["thread_id"], f"{changed:<16}", f"{status:<11}", title[:_LONGEST_TITLE]
            )
    if not found:
        write_line("There are no threads.", notes)
    return 0


@threads.command("show")
@click.argument("thread_id")
@click.option("--checkpoint-id", help="As it was at this checkpoint.")
@click.option("--ids", is_flag=True, help="With the messages' ids.")
@at_url
@in_json
@served
async def show_thread(
    agent: Any, thread_id: str, checkpoint_id: str | None, ids: bool, as_json: bool
) -> int:
    """The messages of a thread."""
    from ..decoding.messages import text_of
    from .output import notes, write_json, write_line

    messages = await agent.threads.messages(thread_id, checkpoint_id)
    for message in messages:
        if as_json:
            write_json(message)
            continue
        calls = "".join(f"\n  -> {c['name']} {c['args']}" for c in message.get("tool_calls") or ())
        message_id = f"{message.get('id')}  " if ids else ""
        write_line(f"{message_id}{message['type']:>5}: {text_of(message)}{calls}")
    if not messages:
        write_line("The thread has no messages.", notes)
    return 0


@threads.command("history")
@click.argument("thread_id")
@_with_limit
@at_url
@in_json
@served
async def thread_history(agent: Any, thread_id: str, limit: int, as_json: bool) -> int:
    """The checkpoints of a thread, newest first."""
    from .output import notes, write_json, write_line

    found = await agent.threads.history(thread_id, limit)
    for state in found:
        checkpoint_id = state["checkpoint"]["checkpoint_id"]
        count = len((state.get("values") or {}).get("messages") or ())
        following = list(state.get("next") or ())
        created = state.get("created_at")
        if as_json:
            row = {"checkpoint_id": checkpoint_id, "created_at": created}
            write_json({**row, "messages": count, "next": following})
        else:
            after = ", ".join(following) or "end"
            write_line(f"{checkpoint_id}  {created}  {count} messages, next: {after}")
    if not found:
        write_line("The thread has no checkpoints.", notes)
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


@click.group(cls=WholeHelp)
def memory() -> None:
    """What the agent remembers of you."""


@memory.command("list")
@at_url
@in_json
@served
async def list_memories(agent: Any, as_json: bool) -> int:
    """All memories, newest first."""
    from dataclasses import asdict

    from .output import notes, write_json, write_line

    found = await agent.memories.list()
    for each in found:
        if as_json:
            write_json(asdict(each))
        else:
            write_line(f"{each.id}  {each.at[:10]}  {each.text}")
    if not found:
        write_line("There are no memories.", notes)
    return 0


@memory.command("forget")
@click.argument("memory_id", required=False)
@click.option("--all", "everything", is_flag=True, help="Every one of them.")
@at_url
@served
async def forget(agent: Any, memory_id: str | None, everything: bool) -> int:
    """Delete a memory, or all of them."""
    from .output import write_line

    if everything == bool(memory_id):
        raise click.UsageError("Name one memory by its id, or give --all.")
    if everything:
        write_line(f"Forgot {await agent.memories.forget_all()}.")
    elif memory_id:
        await agent.memories.forget(memory_id)
        write_line(f"Forgot {memory_id}.")
    return 0
