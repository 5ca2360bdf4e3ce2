"""Words for the value of an option that is not of its kind, in place of those of the library that reads it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import typer

_NO_INTEGER: Final = "{shown} is not a whole number"
_PROBLEMS: Final = {
    "int_parsing": _NO_INTEGER,
    "int_from_float": _NO_INTEGER,
    "int_parsing_size": _NO_INTEGER,
    "float_parsing": "{shown} is not a number",
    "greater_than_equal": "{shown} is less than {ge:,}",
    "less_than_equal": "{shown} is more than {le:,}",
    "value_error": "{error}",
}
"""What is wrong with a value, by the type that the library gives the error."""
_LONGEST_SHOWN: Final = 40


def explain_errors(command: Any) -> None:
    """Let the options and arguments of a command, and of all commands below it, refuse their values in our words."""
    for parameter in command.params:
        parameter.process_value = partial(_explained, parameter.process_value)
    for below in getattr(command, "commands", {}).values():
        explain_errors(below)


def _explained(read: Callable[[Any, Any], Any], ctx: Any, value: Any) -> Any:
    try:
        return read(ctx, value)
    except typer.BadParameter as refused:
        errors = getattr(refused.__cause__, "errors", None)
        if errors is not None:
            refused.message = _said(errors()[0])
        raise


def _said(error: dict[str, Any]) -> str:
    given = error.get("input")
    shown = repr(given[:_LONGEST_SHOWN]) if isinstance(given, str) else str(given)
    words = _PROBLEMS.get(error["type"])
    return str(error["msg"]) if words is None else words.format(shown=shown, **error.get("ctx", {}))
