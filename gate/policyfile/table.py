"""Reads one table of a config file key by key. Each wrong value becomes a complaint with its place and its remedy.

After a complaint, reading goes on with a harmless value, so that one run finds every mistake of a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from enum import StrEnum
from typing import TypeVar

from gate.core.duration import UNIT_US
from gate.errors import PolicyInvalid
from gate.policyfile.places import TomlPlaces

_DURATION = re.compile(r"^(\d{1,9})(ms|s|m|h|d)$")
_SIZE = re.compile(r"^(\d{1,9})(KiB|MiB|GiB|TiB)$")
_UNIT_BYTES = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}

E = TypeVar("E", bound=StrEnum)


class Complaints:
    """The complaints about one file."""

    def __init__(self, file: str, places: TomlPlaces) -> None:
        self.found: list[PolicyInvalid] = []
        self._file = file
        self._places = places

    def add(self, path: tuple[str, ...], problem: str) -> None:
        """Add a complaint about the key at `path`."""
        self.found.append(PolicyInvalid(self._file, self._places.line(path), _dotted(path), problem))

    def sorted(self) -> list[PolicyInvalid]:
        """All complaints, in the order of their lines."""
        return sorted(self.found, key=lambda complaint: complaint.line or 0)


class TomlTable:
    """A table's values. Each getter marks its key as known; `end` complains of every key that no getter has read."""

    def __init__(self, values: object, path: tuple[str, ...], complaints: Complaints) -> None:
        self.path = path
        self.complaints = complaints
        self._known: set[str] = set()
        self._values: dict[str, object] = {}
        if isinstance(values, dict):
            self._values = values
        else:
            complaints.add(path, f"must be a table, not {_kind(values)}; write [{_dotted(path)}]")

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def names(self) -> list[str]:
        """The keys in the order of the file; each is marked as known."""
        self._known.update(self._values)
        return list(self._values)

    def complain(self, key: str, problem: str) -> None:
        """Add a complaint about `key` of this table."""
        self.complaints.add((*self.path, key), problem)

    def value(self, key: str) -> object:
        """The raw value, None if it is absent."""
        self._known.add(key)
        return self._values.get(key)

    def table(self, key: str) -> TomlTable:
        """The table under `key`, empty if it is absent."""
        value = self.value(key)
        return TomlTable({} if value is None else value, (*self.path, key), self.complaints)

    def text(self, key: str) -> str | None:
        """A string, None if it is absent or wrong."""
        value = self.value(key)
        if value is None or (isinstance(value, str) and value):
            return value
        self.complain(key, f"must be a non-empty string, not {_kind(value)}")
        return None

    def texts(self, key: str) -> tuple[str, ...] | None:
        """A list of non-empty strings, None if it is absent or wrong."""
        value = self.value(key)
        if value is None:
            return None
        if isinstance(value, list) and all(isinstance(item, str) and item for item in value):
            return tuple(value)
        self.complain(key, 'must be a list of non-empty strings, such as ["a", "b"]')
        return ()

    def choice(self, key: str, among: type[E], default: E | None) -> E | None:
        """A member of the enum `among`; required if there is no default."""
        value = self.value(key)
        names = [name.value for name in among]
        if value is None and default is not None:
            return default
        if value is None:
            self.complain(key, f"is missing; write {key} = one of {_listed(names)}")
            return default
        if isinstance(value, str) and value in names:
            return among(value)
        self.complain(key, f"{value!r} is not one of {_listed(names)}{_guess(value, names)}")
        return default

    def duration_us(self, key: str, default_us: int | None) -> int | None:
        """A duration such as "7d" in µs; required if there is no default."""
        value = self.value(key)
        if value is None:
            if default_us is None:
                self.complain(key, f'is missing; write a duration such as {key} = "1h"')
            return default_us
        found = _DURATION.match(value) if isinstance(value, str) else None
        if found is not None and int(found[1]) > 0:
            return int(found[1]) * UNIT_US[found[2]]
        self.complain(key, f'{value!r} is not a duration; write a whole number with ms, s, m, h or d, such as "1h"')
        return default_us

    def flag(self, key: str, default: bool) -> bool:
        """true or false, `default` if it is absent or wrong."""
        value = self.value(key)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        self.complain(key, f"{value!r} is neither true nor false")
        return default

    def share(self, key: str) -> float | None:
        """A number in [0, 1], None if it is absent or wrong."""
        value = self.value(key)
        if value is None:
            return None
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
            return float(value)
        self.complain(key, f"{value!r} is not in [0, 1], the range of a score")
        return None

    def amount(self, key: str, sizes: bool) -> int | None:
        """A positive whole number, required. With `sizes` a size in bytes such as "10GiB" is allowed too."""
        value = self.value(key)
        if value is None:
            self.complain(key, f"is missing; write {key} = a positive whole number")
            return None
        if sizes and isinstance(value, str) and (found := _SIZE.match(value)) and int(found[1]) > 0:
            return int(found[1]) * _UNIT_BYTES[found[2]]
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 1 << 50:
            return value
        also = ' or a size such as "10GiB"' if sizes else ""
        self.complain(key, f"{value!r} is not a positive whole number{also}; to block a class, pause it instead")
        return None

    def end(self) -> None:
        """Add a complaint about every unknown key."""
        for key in self._values:
            if key not in self._known:
                self.complain(key, f"unknown key{_guess(key, self._known)}")


def _guess(name: object, known: Iterable[str]) -> str:
    close = get_close_matches(str(name), sorted(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known here: {_listed(sorted(known))}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def _kind(value: object) -> str:
    return {bool: "true or false", int: "a number", float: "a number", str: "a string", list: "a list"}.get(
        type(value), f"a {type(value).__name__}"
    )


def _dotted(path: tuple[str, ...]) -> str:
    return ".".join(part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else f'"{part}"' for part in path)
