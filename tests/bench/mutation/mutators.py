"""Changes one place of a module's code as a slip of the hand would: a comparison, an operator, a number, a condition."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass

OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}
JUMPS: dict[type[ast.AST], type[ast.stmt]] = {ast.Continue: ast.Break, ast.Break: ast.Continue}


@dataclass(frozen=True, slots=True)
class Mutant:
    """A module with one place changed: the line, what was there and is there now, and the whole source."""

    line: int
    before: str
    after: str
    source: str


class Place:
    """A place that can be changed: `change` does it in the tree, and `undo` takes it back."""

    __slots__ = ("change", "node", "undo")

    def __init__(self, node: ast.AST, change: Callable[[], None], undo: Callable[[], None]) -> None:
        self.node = node
        self.change = change
        self.undo = undo


def mutants(source: str) -> Iterator[Callable[[], Mutant]]:
    """For each place of `source` that can be changed a function that makes the mutant."""
    tree = ast.parse(source)
    for place, near in places(tree):
        yield lambda place=place, near=near: _made(tree, place, near)  # type: ignore[misc]


def _made(tree: ast.Module, place: Place, near: ast.AST) -> Mutant:
    before = ast.unparse(near).splitlines()
    place.change()
    after = ast.unparse(near).splitlines()
    source = ast.unparse(tree)
    place.undo()
    line = next((n for n, (old, new) in enumerate(zip(before, after, strict=True)) if old != new), 0)
    return Mutant(getattr(near, "lineno", 0) + line, before[line].strip(), after[line].strip(), source)


def places(tree: ast.Module) -> Iterator[tuple[Place, ast.AST]]:
    """All places, each with the expression or statement around it."""
    for parent, field, index, node in _code(tree):
        new = OPERATORS.get(type(node))
        if new is not None:
            yield _swapped(parent, field, index, node, new()), parent
        elif type(node) in JUMPS:
            yield _swapped(parent, field, index, node, JUMPS[type(node)]()), parent
        elif isinstance(node, ast.Constant) and (number := _other(node.value)) is not None:
            yield _swapped(parent, field, index, node, ast.Constant(number)), parent
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield _swapped(parent, field, index, node, node.operand), parent
        elif isinstance(node, ast.Name) and node.id in CALLS and field == "func":
            yield _swapped(parent, field, index, node, ast.Name(CALLS[node.id], ast.Load())), parent
        elif field == "test" and isinstance(node, (ast.Name, ast.Attribute, ast.Call)):
            yield _swapped(parent, field, index, node, ast.UnaryOp(ast.Not(), node)), parent


def _other(value: object) -> object:
    """Another value of the same kind, where the value is a number or a truth value."""
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, (int, float)) else None


def _swapped(parent: ast.AST, field: str, index: int | None, old: ast.AST, new: ast.AST) -> Place:
    def put(node: ast.AST) -> None:
        if index is None:
            setattr(parent, field, node)
        else:
            getattr(parent, field)[index] = node

    ast.copy_location(new, old)
    return Place(old, lambda: put(new), lambda: put(old))


def _code(node: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.AST]]:
    """Each node below `node` with where it hangs. Left out is what does not run or only words a message."""
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "type_params") or isinstance(node, ast.Raise):
            continue
        for index, child in enumerate(value) if isinstance(value, list) else ((None, value),):
            if isinstance(child, ast.AST) and not _is_for_types(child):
                yield node, field, index, child
                yield from _code(child)


def _is_for_types(node: ast.AST) -> bool:
    """Whether it is an import, a test of the type checker, an alias of a type, or a text in a formatted string."""
    if isinstance(node, (ast.Import, ast.ImportFrom, ast.JoinedStr)):
        return True
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return True
    if not isinstance(node, ast.Assign) or not isinstance(node.value, (ast.BinOp, ast.Subscript)):
        return False
    return all(isinstance(each, ast.Name) and each.id[:1].isupper() and not each.id.isupper() for each in node.targets)
