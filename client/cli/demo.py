"""`steady demo`: one question in each stream mode."""

import re
from pathlib import Path

from ..client import AgentClient
from ..events import Mode
from .output import PlainConsole, notes, out
from .screen import Screen
from .show_run import show_run

DEMO: dict[Mode, str] = {
    "messages": "What is 17 * 23?",
    "updates": "Name a fruit.",
    "values": "Say hello in five words.",
    "events": "Name one colour.",
}


async def show_modes(agent: AgentClient, picture: str | None = None) -> int:
    """One short question in each stream mode, until a run fails, whose exit code is returned.

    `picture` names an SVG file that what was shown is saved to.
    """
    console = PlainConsole(record=True, width=100) if picture else out
    notes.print(
        "[dim]Without a key the embedded model answers, which takes a minute to warm up in a new "
        "install.[/]"
    )
    code = 0
    for mode, question in DEMO.items():
        console.rule(f"[bold]{mode}[/]: {question}", align="left")
        run = agent.stream(question, modes=(mode,))
        screen = Screen(console, console) if picture else Screen()
        if code := await show_run(run, False, screen):
            break  # a wrong key would be told in each mode
    if picture:
        _save_picture(console, Path(picture))
    return code


def _save_picture(console: PlainConsole, path: Path) -> None:
    drawn = console.export_svg(title="make demo")
    own = re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL)  # loads no font from afar
    path.write_text(own, encoding="utf-8")
