"""Exact arithmetic, with limits on what one expression may cost."""

import ast
import math
import operator
import re
from collections.abc import Callable
from typing import Any

from langchain_core.tools import ToolException, tool

_LONGEST_EXPRESSION = 300
_LARGEST_BITS = 10_000
_MOST_DIGITS = 400


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(base, int) and isinstance(exponent, int):
        if base.bit_length() * abs(exponent) > _LARGEST_BITS:
            raise ToolException("That number is too large.")
        return base**exponent
    return float(base) ** float(exponent)


def _round(number: Any, digits: int = 0) -> Any:
    """Python's own computes 10 ** -digits, of any size, and would block the whole server."""
    if abs(digits) > _MOST_DIGITS:
        raise ToolException(f"round() takes at most {_MOST_DIGITS} digits.")
    return round(number, digits) if digits else round(number)


_OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: getattr(math, name)
    for name in ("sqrt", "exp", "log", "log2", "log10", "sin", "cos", "tan", "floor", "ceil")
} | {"abs": abs, "round": _round, "min": min, "max": max}
_NAMES = {"pi": math.pi, "e": math.e}


@tool
def calculate(expression: str) -> str:
    """Evaluate an arithmetic expression exactly, such as '17 * 23' or 'sqrt(2) * 10'."""
    from simpleeval import SimpleEval  # not needed until someone calculates

    if len(expression) > _LONGEST_EXPRESSION:
        raise ToolException(f"The expression is longer than {_LONGEST_EXPRESSION} characters.")
    if re.search(r"['\"\[{=;\n\r]", expression):
        raise ToolException("Only numbers, + - * / // % **, brackets and functions are understood.")
    text = expression.replace("^", "**").replace("×", "*").replace("÷", "/").replace("−", "-")
    try:
        arithmetic = SimpleEval(operators=_OPERATORS, functions=_FUNCTIONS, names=_NAMES)
        del arithmetic.nodes[ast.Attribute]  # methods make texts and bytes of any size
        result = arithmetic.eval(text)
        return f"{expression.strip()} = {_exactly(result)}"
    except ToolException:
        raise
    except Exception as error:
        raise ToolException(f"Cannot evaluate {expression!r}: {error}") from error


def _exactly(number: Any) -> str:
    """The number as text; fifteen significant digits hide the error of binary fractions."""
    if isinstance(number, int) and not isinstance(number, bool):
        return str(number)
    if isinstance(number, float) and math.isfinite(number):
        return f"{number:.15g}"
    raise ToolException("The result is not a real number.")
