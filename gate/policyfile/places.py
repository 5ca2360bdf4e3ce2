"""Finds the line of each key in a TOML file, for complaints. tomllib returns values without their lines."""

from __future__ import annotations

import re

_HEADER = re.compile(r"^\s*\[\[?\s*(?P<keys>[^\]]+?)\s*\]\]?\s*(?:#.*)?$")
_PART = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*""")
_ERROR_LINE = re.compile(r"\(at line (\d+), column \d+\)")

Path = tuple[str, ...]


class TomlPlaces:
    """The 1-based line of each key of one TOML text. A key inside an inline table has the line of that table."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Path, int] = {}
        table: Path = ()
        fence: str | None = None
        for number, line in enumerate(text.splitlines(), 1):
            if fence is not None:
                fence = None if fence in line else fence
                continue
            if (header := _HEADER.match(line)) and (keys := _split(header["keys"])) is not None:
                table = keys
                self._note(table, number)
                continue
            key, equals, value = line.partition("=")
            if equals and (keys := _split(key)) is not None:
                self._note(table + keys, number)
                fence = next((mark for mark in ('"""', "'''") if value.count(mark) == 1), None)

    def line(self, path: Path) -> int | None:
        """The line of `path`, or of the nearest table around it; None if neither is known."""
        for length in range(len(path), 0, -1):
            if (found := self._lines.get(path[:length])) is not None:
                return found
        return None

    def _note(self, path: Path, number: int) -> None:
        for length in range(1, len(path) + 1):
            self._lines.setdefault(path[:length], number)


def error_line(message: str) -> int | None:
    """The line that a tomllib error message names."""
    found = _ERROR_LINE.search(message)
    return int(found[1]) if found else None


def _split(keys: str) -> Path | None:
    """The parts of a dotted key such as `a."b.c".d`; None if it is not one."""
    parts: list[str] = []
    at = 0
    while True:
        found = _PART.match(keys, at)
        if found is None or found.end() == at:
            return None
        parts.append(next(group for group in found.groups() if group is not None))
        at = found.end()
        if at == len(keys):
            return tuple(parts)
        if keys[at] != ".":
            return None
        at += 1
