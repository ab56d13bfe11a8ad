"""Showing events to a person in a terminal, with rich."""

import json
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.syntax import Syntax
from rich.text import Text

from ..decoding.audience import SEPARATOR
from ..decoding.messages import messages_in, text_of
from ..events import (
    FINISH_WORDS,
    JSON,
    AgentEvent,
    Checkpoint,
    Debug,
    Done,
    Error,
    Event,
    Interrupt,
    Progress,
    Reasoning,
    Retry,
    RunStarted,
    StructuredResponse,
    Task,
    Token,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Update,
    Usage,
    Values,
)
from .markdown_stream import MarkdownStream
from .output import notes, out, write_text
from .waiting import Waiting

_LONGEST_VALUE = 100


class Screen:
    """Shows a run as it happens: the answer, and the lines of other modes, on `answer`;
    tool calls, results and figures on `notes`.

    `as_markdown` renders the answer, where it goes to a terminal that can move its cursor.
    """

    def __init__(
        self, answer: Console = out, notes: Console = notes, *, as_markdown: bool = False
    ) -> None:
        self._answer = answer
        self._notes = notes
        can_redraw = answer.is_terminal and not answer.is_dumb_terminal
        self._markdown = MarkdownStream(answer) if as_markdown and can_redraw else None
        self._waiting = Waiting(notes)
        self._unfinished: Console | None = None  # the one whose last line has not ended
        self._message_id = ""
        self._seen_messages = 0
        self._input_tokens = 0
        self._output_tokens = 0
        self.calls: list[JSON] = []

    def __enter__(self) -> Self:
        self._waiting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting.stop()
        self._end_line()

    def show(self, event: AgentEvent) -> None:
        """Prints one event."""
        match event:
            case RunStarted() | ToolCallDelta() | Interrupt():
                return  # what waits for a decision is told at the run's end, by who asks
            case Usage(input_tokens=read, output_tokens=written):
                self._input_tokens += read
                self._output_tokens += written
                return
        self._waiting.stop()
        match event:
            case Token(content=text, message_id=message_id, node=node):
                if message_id != self._message_id:
                    self._end_line()
                    self._message_id = message_id
                    if SEPARATOR in node:
                        self._say(self._notes, f"[dim]{escape(node)}[/]")
                self._write_answer(text)
            case Reasoning(content=text):
                self._write(self._notes, text, "dim italic")
            case ToolCall(tool=tool, args=args):
                self.calls.append({"name": tool, "args": args})
                self._panel(tool, json.dumps(args, ensure_ascii=False, indent=2), "cyan")
            case ToolResult(tool=tool, status=status, content=content):
                colour = "green" if status == "ok" else "red"
                self._panel(f"{tool} {'answered' if status == 'ok' else 'failed'}", content, colour)
            case Done():
                self._done(event)
            case _:
                self._line(event)
        if self._unfinished is None and not isinstance(event, Done | Error):
            self._waiting.start()

    def _line(self, event: AgentEvent) -> None:
        answer = self._answer
        match event:
            case Update(node=node, delta=delta):
                self._say(
                    answer, f"[bold magenta]update[/] [bold]{escape(node)}[/] {_changes(delta)}"
                )
            case Values(state=state):
                self._values(state)
            case Event(name=name, run_name=run_name, data=data):
                self._say(
                    answer,
                    f"[dim]{escape(name):<22}[/] [bold]{escape(run_name)}[/] {_event_data(data)}",
                    True,
                )
            case Debug(data=data) | Checkpoint(data=data) | Task(data=data):
                kind = type(event).__name__.lower()
                self._say(answer, f"[dim]{kind:<22}[/] {_brief(data)}", True)
            case StructuredResponse(value=value):
                self._say(answer, escape(json.dumps(value, ensure_ascii=False, indent=2)))
            case Progress(data={"type": "history", "dropped_messages": int(count)}):
                told = f"{count} older messages do not fit the context and were left out"
                self._say(self._notes, f"[yellow]{told}[/]")
            case Progress(data={"type": "history", "summarized_messages": int(count)}):
                self._say(self._notes, f"[yellow]{count} older messages were summarized[/]")
            case Progress(data=data):
                self._say(self._notes, f"[blue]progress[/] {_brief(data)}")
            case Retry(reason=reason):
                self._say(self._notes, f"[yellow]the model is tried again:[/] {escape(reason)}")
            case Error(message=message):
                self._say(self._notes, f"[bold red]error[/] {escape(message)}")

    def _values(self, state: Any) -> None:
        if not isinstance(state, dict) or "messages" not in state:
            self._say(self._answer, f"[bold blue]values[/] {_brief(state)}")
            return
        messages = messages_in(state)
        new = messages[self._seen_messages :]
        self._seen_messages = len(messages)
        told = "; ".join(_message(message) for message in new) or "no new message"
        self._say(self._answer, f"[bold blue]values[/] {len(messages)} messages, new: {told}")

    def _done(self, done: Done) -> None:
        parts: list[str] = [done.status]
        if done.finish_reason in FINISH_WORDS:
            parts.append(FINISH_WORDS[done.finish_reason])
        if done.ttft_ms is not None:
            parts.append(f"first token {done.ttft_ms / 1000:.2f} s")
        parts.append(f"total {done.duration_ms / 1000:.2f} s")
        if self._output_tokens:
            parts.append(f"{self._input_tokens} tokens in, {self._output_tokens} out")
        self._say(self._notes, f"[dim]{' · '.join(parts)}[/]")

    def _write_answer(self, text: str) -> None:
        if self._markdown is None:
            self._write(self._answer, text, "")
            return
        if self._unfinished is self._notes:
            self._end_line()
        self._markdown.add(text)
        self._unfinished = self._answer

    def _write(self, console: Console, text: str, style: str) -> None:
        if self._unfinished not in (None, console):
            self._end_line()
        write_text(console, text, style)
        self._unfinished = None if text.endswith("\n") else console

    def _panel(self, title: str, body: str, colour: str) -> None:
        self._end_line()
        inside = Syntax(body, "json", background_color="default", word_wrap=True)
        shown = inside if body.startswith("{") else Text(body)
        self._notes.print(
            Panel(shown, title=escape(title), title_align="left", border_style=colour)
        )

    def _say(self, console: Console, markup: str, one_line: bool = False) -> None:
        self._end_line()
        console.print(markup, no_wrap=one_line, overflow="ellipsis")

    def _end_line(self) -> None:
        if self._unfinished is self._answer and self._markdown is not None:
            self._markdown.finish()
        elif self._unfinished is not None:
            self._unfinished.print()
        self._unfinished = None


def _event_data(data: dict[str, Any]) -> str:
    """What an event carries, shortly: a model's piece as its text or arguments."""
    chunk = data.get("chunk")
    if not isinstance(chunk, dict):
        return _brief(data)
    pieces = [piece.get("args") or "" for piece in chunk.get("tool_call_chunks") or ()]
    return escape(repr(text_of(chunk) or "".join(pieces)))


def _changes(delta: Any) -> str:
    if messages := messages_in(delta):
        return "; ".join(map(_message, messages))
    return _brief(delta)


def _message(message: dict[str, Any]) -> str:
    calls = ", ".join(
        f"{escape(str(call['name']))}({_brief(call['args'])})"
        for call in message.get("tool_calls") or ()
    )
    said = text_of(message)
    return f"[bold]{escape(str(message.get('type')))}[/] {_brief(said) if said else ''}{calls}"


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text.split())
    return escape(text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…")
