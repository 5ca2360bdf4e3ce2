"""Changes one place of a Lua script, as `mutators` does in Python: by the text, because the scripts are short and plain."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from tests.bench.mutation.mutators import Mutant

SWAPS = {
    "<=": "<",
    "<": "<=",
    ">=": ">",
    ">": ">=",
    "==": "~=",
    "~=": "==",
    "+": "-",
    "-": "+",
    "*": "/",
    "/": "*",
    "and": "or",
    "or": "and",
    "true": "false",
    "false": "true",
}
_COMMENT_OR_TEXT = r"--[^\n]*|'[^'\n]*'"
_OPERATOR = r"(?<= )(?:<=|>=|==|~=|[-<>+*/]|and|or)(?= )|\b(?:true|false)\b"
_NUMBER = r"(?<![\w.'])\d+(?![\w.])"
_PLACE = re.compile(f"(?P<left>{_COMMENT_OR_TEXT})|(?P<operator>{_OPERATOR})|(?P<number>{_NUMBER})")


def lua_mutants(source: str) -> Iterator[Callable[[], Mutant]]:
    """For each operator, truth value and number of `source`, outside comments and texts, what makes the mutant."""
    for match in _PLACE.finditer(source):
        if match["left"] is None:
            other = SWAPS[match[0]] if match["operator"] else str(int(match[0]) + 1)
            yield lambda match=match, other=other: _made(source, match, other)  # type: ignore[misc]


def _made(source: str, match: re.Match[str], other: str) -> Mutant:
    changed = source[: match.start()] + other + source[match.end() :]
    line = source.count("\n", 0, match.start())
    return Mutant(line + 1, source.splitlines()[line].strip(), changed.splitlines()[line].strip(), changed)
