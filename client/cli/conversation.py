"""A conversation in the terminal, and the decisions that its runs wait for."""

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from ..client import AgentClient
from ..errors import CannotConnect, NotFound, SteadyError
from ..events import JSON, Interrupt
from ..run import Run
from . import exit_codes
from .approve import ask_person, is_about_tools, what_waits
from .connection import ctrl_c_leaves
from .output import notes, write_line
from .prompt import Prompt
from .screen import Screen
from .show_run import show_run

_HELP = """\
/help        this
/new         a new thread
/regenerate  answer the last question anew
/exit        leave; so do an empty line and Ctrl-D
A message that begins with two slashes is sent with one.
Enter sends; Esc and then Enter, or a backslash at the line's end, begins another line.
Up and down go through what was said before. Ctrl-C stops an answer."""


async def show_and_decide(run: Run, as_json: bool) -> int:
    """Shows a run; a person at a terminal is asked for what it waits for, until it has ended.

    Without a person the exit code and a line on
    stderr say that a decision is due, and how to give it.
    """
    screen = Screen()
    code = await show_run(run, as_json, screen)
    while code == exit_codes.WAITS_FOR_DECISION:
        if as_json or not _person_is_here() or not run.interrupts:
            _say_how_to_go_on(str(run.thread_id), run.interrupts)
            break
        answers = _asked(run.interrupts, screen.calls)
        screen = Screen()
        run = run.resume(answers)
        code = await show_run(run, as_json, screen)
    return code


def _person_is_here() -> bool:
    return sys.stdin.isatty() and notes.is_terminal


def _asked(interrupts: Sequence[Interrupt], shown: Sequence[JSON] = ()) -> JSON:
    """What the person answers each of them, by its id."""
    with ctrl_c_leaves():
        return {each.id: ask_person(notes, each, shown) for each in interrupts}


def _say_how_to_go_on(thread_id: str, interrupts: Sequence[Interrupt]) -> None:
    if not interrupts:
        write_line(f"steady: paused; to go on: steady continue-run {thread_id}", notes)
        return
    for interrupt in interrupts:
        write_line(f"steady: waits for a decision: {what_waits(interrupt)}", notes)
    write_line(f"to decide: steady decide {thread_id}", notes)
    if all(is_about_tools(each) for each in interrupts):
        example = f"""decide {thread_id} --decisions '[{{"type": "approve"}}]'"""
    else:
        example = f"""resume {thread_id} --answers '{{"{interrupts[0].id}": "..."}}'"""
    write_line(f"or: steady {example}", notes)


async def decide_waiting(
    agent: AgentClient, thread_id: str, decisions: list[JSON] | None, as_json: bool, **options: Any
) -> int:
    """Decides what waits on the thread, or has the person do it, and shows the rest of the run."""
    waiting = await agent.threads.interrupts(thread_id)
    if not waiting:
        raise NotFound("Nothing on the thread waits for a decision.")
    if decisions is None:
        run = agent.resume(thread_id, _asked(waiting), **options)
    else:
        run = agent.decide(thread_id, waiting[0].id, decisions, **options)
    return await show_and_decide(run, as_json)


class Chat:
    """Many turns on one thread, until there is no more to say; a failed turn does not end it.

    `options` are those of `AgentClient.stream`.
    """

    def __init__(self, agent: AgentClient, **options: Any) -> None:
        self._agent = agent
        self._options = options
        self._options_of_rest = {
            name: options[name] for name in ("modes", "assistant_id", "context")
        }
        self._thread_id = ""
        self._is_unused = False
        self._calls: list[JSON] = []  # the tool calls that the last run has shown

    async def talk(self, thread_id: str | None) -> int:
        """Asks for one message after another; what waits for a decision is asked for first."""
        await self._begin(thread_id)
        write_line("/help says what there is; an empty line ends the conversation", notes, "dim")
        prompt = Prompt()
        try:
            with suppress(EOFError):
                while True:
                    await self._decide_all()
                    message = (await prompt.read()).strip()
                    if message in ("", "/exit"):
                        break
                    await self._turn(message)
        finally:
            await self._leave()
        return exit_codes.OK

    async def _begin(self, thread_id: str | None) -> None:
        await self._leave()
        self._is_unused = thread_id is None
        self._thread_id = thread_id or await self._agent.threads.create()
        write_line(f"thread {self._thread_id}", notes, "dim")

    async def _leave(self) -> None:
        """Leaves no empty thread behind."""
        if self._is_unused:
            with suppress(SteadyError):
                await self._agent.threads.delete(self._thread_id)

    async def _turn(self, message: str) -> None:
        match message.split():
            case ["/new"]:
                await self._begin(None)
            case ["/regenerate"]:
                await self._show(self._agent.regenerate, **self._options_of_rest)
            case [first, *_] if first.startswith("/") and not first.startswith("//"):
                notes.print(_HELP, markup=False)
            case _:
                text = message.removeprefix("/") if message.startswith("//") else message
                ask = partial(self._agent.stream, text)
                await self._show(ask, **self._options)

    async def _decide_all(self) -> None:
        interrupts = self._agent.threads.interrupts
        while waiting := await interrupts(self._thread_id):
            resume = partial(self._agent.resume, answers=_asked(waiting, self._calls))
            await self._show(resume, **self._options_of_rest)

    async def _show(self, start: Callable[..., Run], **options: Any) -> None:
        screen, self._is_unused = Screen(as_markdown=True), False
        try:
            await show_run(start(thread_id=self._thread_id, **options), False, screen)
        except CannotConnect:
            raise
        except SteadyError as error:
            write_line(f"steady: {error.message}", notes)
        self._calls = screen.calls
