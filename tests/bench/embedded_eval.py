"""`python -m tests.bench.embedded_eval`: how often the model calls the right tool, or none.

One model call for each prompt, with the agent's own tools and system prompt. The prompts are held
out: tune on others, name them with --prompts, and look here at nothing but the totals.
"""

import argparse
import asyncio
import json
import math
import sys
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from langchain_core.messages import AIMessageChunk
from langchain_core.runnables import Runnable
from langchain_core.tools import ToolException
from langchain_core.utils.function_calling import convert_to_openai_tool

from agent import embedded
from agent.model.chat_model import chat_model
from agent.prompt import SYSTEM_PROMPT
from agent.settings import settings
from agent.tools import TOOLS, calculate

RIGHT_CALLS_GOAL = 0.80
PLAIN_GOAL = 0.90
_HELD_OUT = Path(__file__).with_name("embedded_prompts.json")
_BY_NAME = {tool.name: tool for tool in TOOLS}

Json = dict[str, Any]


@dataclass(frozen=True)
class Prompt:
    """A message, the tool it needs (None: an answer in text), and what its arguments must say."""

    prompt: str
    tool: str | None
    args: Json


@dataclass(frozen=True)
class Outcome:
    """What the model did with a prompt."""

    asked: Prompt
    right: bool
    first_token_seconds: float


def right(asked: Prompt, calls: Sequence[Json]) -> bool:
    """Whether the calls are what the prompt needs: none, or exactly one with fitting arguments."""
    if asked.tool is None:
        return not calls
    if len(calls) != 1 or calls[0]["name"] != asked.tool:
        return False
    args = calls[0]["args"]
    needed = _BY_NAME[asked.tool].tool_call_schema.model_json_schema().get("required", [])
    if not all(str(args.get(name, "")).strip() for name in needed):
        return False
    return all(_FITS[name](args, wanted) for name, wanted in asked.args.items())


def _city(args: Json, wanted: str) -> bool:
    return wanted.casefold() in str(args["city"]).casefold()


def _value(args: Json, wanted: str | float) -> bool:
    try:
        found = calculate.invoke({"expression": str(args["expression"])}).rpartition(" = ")[2]
        return math.isclose(float(found), float(wanted), rel_tol=1e-6)
    except (ToolException, ValueError):
        return False


def _timezone(args: Json, wanted: Sequence[str]) -> bool:
    return args.get("timezone", "UTC") in wanted


_FITS: dict[str, Callable[[Json, Any], bool]] = {
    "city": _city,
    "value": _value,
    "timezone": _timezone,
}


async def ask(model: Runnable[Any, Any], asked: Prompt) -> Outcome:
    """One model call, read to its end: text before a call does not hide the call."""
    began, first, whole = perf_counter(), 0.0, AIMessageChunk("")
    messages = [("system", SYSTEM_PROMPT), ("user", asked.prompt)]
    async with aclosing(model.astream(messages)) as chunks:  # type: ignore[type-var]
        async for chunk in chunks:
            if not first and (chunk.content or chunk.tool_call_chunks):
                first = perf_counter() - began
            whole += chunk
    return Outcome(asked, right(asked, whole.tool_calls), first)


async def measure(prompts: Sequence[Prompt]) -> list[Outcome]:
    """The outcomes of all prompts, one after another, from a model that is warm."""
    if settings().embedded:
        tools = [convert_to_openai_tool(tool) for tool in TOOLS]
        await embedded.warm([{"role": "system", "content": SYSTEM_PROMPT}], tools)
    # Short answers: what is measured is the choice, and the time until it shows.
    model = chat_model().bind_tools(TOOLS).bind(max_tokens=16)
    await ask(model, Prompt("Good morning", None, {}))
    return [await ask(model, prompt) for prompt in prompts]


def report(outcomes: Sequence[Outcome]) -> tuple[str, bool]:
    """A Markdown table of the totals, and whether they meet the goals."""
    calls = [o for o in outcomes if o.asked.tool is not None]
    plain = [o for o in outcomes if o.asked.tool is None]
    rows = [_row(f"`{n}`", [o for o in calls if o.asked.tool == n]) for n in _BY_NAME]
    rows += [_row("**all tools**", calls), _row("**plain, left alone**", plain)]
    waits = [o.first_token_seconds for o in outcomes]
    lines = [
        "| tool | prompts | right calls | % |",
        "|---|---:|---:|---:|",
        *rows,
        "",
        f"First token, warm: median {median(waits):.2f} s, max {max(waits):.2f} s. "
        f"Goals: {RIGHT_CALLS_GOAL:.0%} right calls, {PLAIN_GOAL:.0%} plain left alone.",
    ]
    return "\n".join(lines), _share(calls) >= RIGHT_CALLS_GOAL and _share(plain) >= PLAIN_GOAL


def _share(outcomes: Sequence[Outcome]) -> float:
    return sum(o.right for o in outcomes) / len(outcomes) if outcomes else 1.0


def _row(name: str, outcomes: Sequence[Outcome]) -> str:
    fine = sum(o.right for o in outcomes)
    return f"| {name} | {len(outcomes)} | {fine} | {_share(outcomes):.0%} |"


def main() -> int:
    """Measures, prints, and returns 1 when the totals are under the goals."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.embedded_eval")
    parser.add_argument("--prompts", type=Path, default=_HELD_OUT)
    path = parser.parse_args().prompts
    prompts = [Prompt(**item) for item in json.loads(path.read_text(encoding="utf-8"))]
    text, met = report(asyncio.run(measure(prompts)))
    print(text)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
