"""Help pages: every value has a name that says something, and every page ends with one example that can be typed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import typer

from gate.cli import main as cli
from gate.cli.value_names import VALUE_NAMES, name_values


@cache
def root() -> Any:
    command = typer.main.get_command(cli.build([]))
    name_values(command)
    return command


def pages(command: Any, *path: str) -> Iterator[tuple[str, ...]]:
    yield path
    for name, below in getattr(command, "commands", {}).items():
        yield from pages(below, *path, name)


def command_of(path: tuple[str, ...]) -> Any:
    command = root()
    for name in path:
        command = command.commands[name]
    return command


PAGES = sorted(pages(root()))


@pytest.mark.parametrize("path", PAGES, ids=" ".join)
def test_a_help_page_names_each_value_and_has_one_example_that_can_be_typed(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    ended = cli.run([*path, "--help"])

    out = capsys.readouterr().out
    examples = re.findall(r"Example: ((?:.+\n)+)", out)
    assert ended == 0
    assert [type_ for type_ in re.findall(r"<[^>\n]*>", out) if "|" not in type_] == []
    assert len(examples) == 1
    typed = shlex.split(" ".join(examples[0].split()).split(" > ")[0])
    assert tuple(typed[: 1 + len(path)]) == ("upload-gate", *path)
    assert_can_be_typed(typed[1:])


def assert_can_be_typed(arguments: list[str]) -> None:
    """The parser takes them: each option exists, each value is one, and none is missing."""
    command, rest = root(), list(arguments)
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]
    command.make_context(" ".join(arguments), rest)


@pytest.mark.parametrize("path", [path for path in PAGES if getattr(command_of(path), "commands", None)], ids=" ".join)
def test_the_page_of_a_group_ends_with_its_example(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    cli.run([*path, "--help"])

    assert "Example: upload-gate" in capsys.readouterr().out.rstrip().split("\n\n")[-1]


def test_a_repeated_argument_is_named_once_and_without_its_type(capsys: pytest.CaptureFixture[str]) -> None:
    cli.run(["release", "--help"])

    out = capsys.readouterr().out
    assert "upload-gate release [OPTIONS] [ID]...\n" in out
    assert re.search(r"^  ID  The pauses' ids", out, re.MULTILINE)


def test_every_name_of_a_value_belongs_to_an_option_of_some_command() -> None:
    options = {name for path in PAGES for parameter in command_of(path).params for name in parameter.opts}

    assert sorted({option for of in VALUE_NAMES.values() for option in of} - options) == []
