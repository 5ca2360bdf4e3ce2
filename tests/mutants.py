"""Planted mutants: loads packages anew with one place of one module's text replaced, apart from those that others use."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

ROOT = Path(__file__).parents[1]


class Mutated(SourceFileLoader):
    """Loads a file with one place of its text replaced."""

    def __init__(self, name: str, path: str, old: str, new: str) -> None:
        super().__init__(name, path)
        self._old, self._new = old, new

    def get_code(self, fullname: str) -> CodeType:
        text = Path(self.path).read_text()
        assert text.count(self._old) == 1, self._old
        return compile(text.replace(self._old, self._new), self.path, "exec")


class Finder:
    """Gives the mutated module in place of the one of that name."""

    def __init__(self, module: str, old: str, new: str) -> None:
        self._name, self._path = module, str(ROOT / f"{module.replace('.', '/')}.py")
        self._change = (old, new)

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        return spec_from_file_location(fullname, self._path, loader=Mutated(fullname, self._path, *self._change))


@contextmanager
def loaded_with(package: str, change: Sequence[str] = (), anew: Sequence[str] = ()) -> Iterator[ModuleType]:
    """The module or package with the change (module, old text, new text), loaded anew with those in `anew`."""
    prefixes = (package, *anew)
    before = {name: sys.modules.pop(name) for name in [*sys.modules] if name.startswith(prefixes)}
    finders: list[Any] = [Finder(*change)] if change else []
    sys.meta_path[:0] = finders
    try:
        yield importlib.import_module(package)
    finally:
        for finder in finders:
            sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.startswith(prefixes)]:
            del sys.modules[name]
        sys.modules.update(before)
