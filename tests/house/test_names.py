"""Names are the field's words: none of those that a stranger would not search for, and no two classes of one name."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.house.sources import parsed

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*ROOT.glob("gate/**/*.py"), *ROOT.glob("streams/**/*.py")])
UNCLEAR = frozenset(
    [
        "ask",
        "owed",
        "rig",
        "stand",
        "find",
        "seen",
        "silent",
        "radius",
        "declared",
        "spell",
        "odd",
        "words",
        "price",
        "prices",
        "tariff",
        "tariffs",
        "ruling",
        "rulings",
        "charges",
        "manager",
        "helper",
        "util",
        "impl",
    ]
)
_PART = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")


def parts(name: str) -> set[str]:
    return {part.lower() for part in _PART.findall(name)}


def defined(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and name of every class, function, parameter and class attribute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.lineno, node.target.id


def test_nothing_has_a_name_that_a_stranger_would_not_search_for() -> None:
    unclear = [
        f"{source.relative_to(ROOT)}:{line} {name}"
        for source in SOURCES
        for line, name in ((0, source.stem), *defined(parsed(source)))
        if parts(name) & UNCLEAR
    ]

    assert unclear == []


def test_no_two_public_classes_share_a_name() -> None:
    places = defaultdict(list)
    for source in SOURCES:
        for node in ast.walk(parsed(source)):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(f"{source.relative_to(ROOT)}:{node.lineno}")

    assert {name: where for name, where in places.items() if len(where) > 1} == {}
