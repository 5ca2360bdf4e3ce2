"""Commands that pages and messages tell a reader to type: the parser takes each one, with the options of today."""

from __future__ import annotations

import ast
import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from gate.cli import main as cli

ROOT = Path(__file__).parents[2]
PAGES = [
    page
    for page in (*ROOT.glob("*.md"), *(ROOT / "config").rglob("*.md"), *(ROOT / "deploy").rglob("*.md"))
    if ".venv" not in page.parts
]
USAGE_ERROR: Any = typer.BadParameter.__mro__[1]
_TYPED = re.compile(r"(?:^ *|[`(]|&& )(?:\.venv/bin/)?upload-gate ([a-z][^`\n]*)", re.MULTILINE)
_IN_BACKTICKS = re.compile(r"`upload-gate ([a-z][^`\n]*)`")
_ENDS = re.compile(r"\s+(?:>|<|\||&&|#|2>).*|\\$")


def commands(page: str, place: re.Pattern[str] = _TYPED) -> list[str]:
    """What is typed after `upload-gate`, without what the shell does with it; not what lists several choices."""
    joined = re.sub(r"\s*\\\n\s*", " ", page)
    found = (re.sub(r"\s+", " ", each) for each in place.findall(joined) if " | " not in each)
    return [_ENDS.sub("", each).strip(" )") for each in found]


@cache
def root() -> Any:
    return typer.main.get_command(cli.build([]))


def problem(typed: str) -> str:
    """What the parser has against a command; empty if it takes it. `N` is any number, and `[…]` what may be left out."""
    command, rest = root(), ["2" if word == "N" else word.strip("[]") for word in shlex.split(typed)]
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]
    if getattr(command, "commands", None) or not rest:  # a name alone is a mention
        return "" if not rest else f"no such command: {rest[0]}"
    try:
        command.make_context(typed, [word for word in rest if word != "--help"])
    except USAGE_ERROR as error:
        return error.format_message()
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_on_a_page_can_be_typed(page: Path) -> None:
    faults = {typed: said for typed in commands(page.read_text()) if (said := problem(typed))}

    assert faults == {}


def texts(source: Path) -> str:
    """All text of a module that stands in quotes, with N for each value that is put in."""
    tree = ast.parse(source.read_text())
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            found.append("".join(str(part.value) if isinstance(part, ast.Constant) else "N" for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            found.append(node.value)
    return "\n\n".join(found)


def test_every_command_that_a_message_names_can_be_typed() -> None:
    sources = [path for package in ("gate", "streams") for path in (ROOT / package).rglob("*.py")]
    named = {
        (path.name, typed) for path in sources for typed in commands(texts(path), _IN_BACKTICKS) if "…" not in typed
    }

    assert len(named) > 30
    assert {(name, typed, said) for name, typed in named if (said := problem(typed))} == set()


def test_the_commands_are_taken_from_blocks_and_from_lines_of_text() -> None:
    page = "Type `upload-gate release ID`.\n\n    upload-gate fit captions a.jsonl \\\n        --out models > log\n"

    assert commands(page) == ["release ID", "fit captions a.jsonl --out models"]


@pytest.mark.parametrize("typed", ["pause --clas new", "relase p-1", "extend --for 2h", "policy chek FILE"])
def test_a_command_that_cannot_be_typed_is_a_fault(typed: str) -> None:
    assert problem(typed)


def test_most_pages_hold_commands() -> None:
    assert sum(bool(commands(page.read_text())) for page in PAGES) > len(PAGES) / 2
