"""Showing events to a person in a terminal, with rich."""

import json
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.syntax import Syntax
from rich.text import Text

from ..decoding.messages import text_of
from ..events import (
    AgentEvent,
    Done,
    Error,
    Event,
    Interrupt,
    Progress,
    Reasoning,
    Retry,
    Token,
    ToolCall,
    ToolResult,
    Update,
    Usage,
    Values,
)

_LONGEST_VALUE = 100

out = Console()
notes = Console(stderr=True)


class Screen:
    """Prints a run as it happens: text as it comes, tool calls in panels, the rest in lines."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._in_text = False
        self._seen_messages = 0
        self._input_tokens = 0
        self._output_tokens = 0

    def show(self, event: AgentEvent) -> None:
        """Prints one event."""
        match event:
            case Token(content=text):
                self._write(text, "")
            case Reasoning(content=text):
                self._write(text, "dim italic")
            case ToolCall(tool=tool, args=args):
                self._panel(f"{tool}", json.dumps(args, ensure_ascii=False, indent=2), "cyan")
            case ToolResult(tool=tool, status=status, content=content):
                colour = "green" if status == "ok" else "red"
                self._panel(f"{tool} {'answered' if status == 'ok' else 'failed'}", content, colour)
            case Usage(input_tokens=read, output_tokens=written):
                self._input_tokens += read
                self._output_tokens += written
            case Done():
                self._done(event)
            case _:
                self._line(event)

    def _line(self, event: AgentEvent) -> None:
        match event:
            case Update(node=node, delta=delta):
                self._say(f"[bold magenta]update[/] [bold]{escape(node)}[/] {_changes(delta)}")
            case Values(state=state):
                self._values(state)
            case Event(name=name, run_name=run_name, data=data):
                self._say(f"[dim]{name:<22}[/] [bold]{escape(run_name)}[/] {_told(data)}", True)
            case Progress(data=data):
                self._say(f"[blue]progress[/] {_brief(data)}")
            case Interrupt(id=at, requests=requests):
                self._say(f"[yellow]waits for a decision[/] {at} {_brief(requests)}")
            case Retry(reason=reason):
                self._say(f"[yellow]the model is tried again:[/] {escape(reason)}")
            case Error(message=message):
                self._say(f"[bold red]error[/] {escape(message)}")

    def _values(self, state: dict[str, Any]) -> None:
        messages = state.get("messages") or []
        new = messages[self._seen_messages :]
        self._seen_messages = len(messages)
        told = "; ".join(_message(message) for message in new) or "no new message"
        self._say(f"[bold blue]values[/] {len(messages)} messages, new: {told}")

    def _done(self, done: Done) -> None:
        parts: list[str] = [done.status]
        if done.ttft_ms is not None:
            parts.append(f"first token {done.ttft_ms / 1000:.2f} s")
        parts.append(f"total {done.duration_ms / 1000:.2f} s")
        if self._output_tokens:
            parts.append(f"{self._input_tokens} tokens in, {self._output_tokens} out")
        self._say(f"[dim]{' · '.join(parts)}[/]")

    def _write(self, text: str, style: str) -> None:
        self._console.print(Text(text, style=style), end="", soft_wrap=True)
        self._in_text = not text.endswith("\n")

    def _panel(self, title: str, body: str, colour: str) -> None:
        self._break()
        inside = Syntax(body, "json", background_color="default", word_wrap=True)
        shown = inside if body.startswith("{") else Text(body)
        self._console.print(
            Panel(shown, title=escape(title), title_align="left", border_style=colour)
        )

    def _say(self, markup: str, one_line: bool = False) -> None:
        self._break()
        self._console.print(markup, highlight=False, no_wrap=one_line, overflow="ellipsis")

    def _break(self) -> None:
        if self._in_text:
            self._console.print()
            self._in_text = False


def _told(data: dict[str, Any]) -> str:
    """What an event carries, shortly: a model's piece as its text or arguments."""
    chunk = data.get("chunk")
    if not isinstance(chunk, dict):
        return _brief(data)
    pieces = [piece.get("args") or "" for piece in chunk.get("tool_call_chunks") or ()]
    return escape(repr(text_of(chunk) or "".join(pieces)))


def _changes(delta: Any) -> str:
    if isinstance(delta, dict) and isinstance(delta.get("messages"), list):
        return "; ".join(_message(message) for message in delta["messages"])
    return _brief(delta)


def _message(message: dict[str, Any]) -> str:
    calls = ", ".join(
        f"{call['name']}({_brief(call['args'])})" for call in message.get("tool_calls") or ()
    )
    said = text_of(message)
    return f"[bold]{message.get('type')}[/] {_brief(said) if said else ''}{calls}"


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text.split())
    return escape(text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…")
