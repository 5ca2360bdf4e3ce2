"""Reads one table of a config file key by key. Each wrong value becomes a complaint with its place and its remedy.

After a complaint, reading goes on with a harmless value, so that one run finds every mistake of a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from enum import StrEnum
from typing import Final, TypeVar

from gate.core.duration import UNIT_US
from gate.errors import PolicyInvalid
from gate.policyfile.places import TomlPlaces

MAX_IN_FLIGHT: Final = 1_000
"""The most that a limit on what is in flight can count of one entity: each is a number that every take reads."""
MAX_AMOUNT: Final = 1 << 50
_DURATION = re.compile("([0-9]{1,9})(ms|s|m|h|d)")
_SIZE = re.compile("([0-9]{1,9})(KiB|MiB|GiB|TiB)")
UNIT_BYTES = {"TiB": 1 << 40, "GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10}

E = TypeVar("E", bound=StrEnum)


class Complaints:
    """The complaints about one file."""

    def __init__(self, file: str, places: TomlPlaces) -> None:
        self.found: list[PolicyInvalid] = []
        self._file = file
        self._places = places

    def add(self, path: tuple[str, ...], problem: str) -> None:
        """Add a complaint about the key at `path`."""
        self.found.append(PolicyInvalid(self._file, self._places.line(path), dotted(path), problem))

    def sorted(self) -> list[PolicyInvalid]:
        """All complaints, in the order of their lines."""
        return sorted(self.found, key=lambda complaint: complaint.line or 0)


class TomlTable:
    """A table's values. Each getter marks its key as known; `end` complains of every key that no getter has read.

    `effective` holds what the getters returned, defaults included, each value in its one canonical spelling.
    """

    def __init__(self, values: object, path: tuple[str, ...], complaints: Complaints) -> None:
        self.path = path
        self.complaints = complaints
        self.effective: dict[str, object] = {}
        self._known: set[str] = set()
        self._values: dict[str, object] = {}
        if isinstance(values, dict):
            self._values = values
        else:
            complaints.add(path, f"must be a table, not {_kind(values)}; write [{dotted(path)}]")

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
        inner = TomlTable({} if value is None else value, (*self.path, key), self.complaints)
        self.effective[key] = inner.effective
        return inner

    def text(self, key: str) -> str | None:
        """A string, None if it is absent or wrong."""
        value = self.value(key)
        if value is None:
            return None
        if isinstance(value, str) and value:
            self.effective[key] = value
            return value
        self.complain(key, f"must be a non-empty string, not {_kind(value)}")
        return None

    def texts(self, key: str, default: tuple[str, ...] | None = None) -> tuple[str, ...] | None:
        """A list of non-empty strings, `default` if it is absent."""
        value = self.value(key)
        if value is None:
            if default is not None:
                self.effective[key] = list(default)
            return default
        if isinstance(value, list) and all(isinstance(item, str) and item for item in value):
            self.effective[key] = list(value)
            return tuple(value)
        self.complain(key, 'must be a list of non-empty strings, such as ["a", "b"]')
        return ()

    def choice(self, key: str, among: type[E], default: E | None) -> E | None:
        """A member of the enum `among`; required if there is no default. None for what is complained of."""
        value = self.value(key)
        names = [name.value for name in among]
        if value is None and default is not None:
            self.effective[key] = default.value
            return default
        if value is None:
            self.complain(key, f"is missing; write {key} = one of {_listed(names)}")
            return None
        if isinstance(value, str) and value in names:
            self.effective[key] = value
            return among(value)
        self.complain(key, f"{value!r} is not one of {_listed(names)}{_near(value, names)}")
        return None

    def duration_us(self, key: str, default_us: int | None, zero: bool = False) -> int | None:
        """A duration such as "7d" in µs; required if there is no default. With `zero` it may be 0."""
        value = self.value(key)
        if value is None:
            if default_us is None:
                self.complain(key, f'is missing; write a duration such as {key} = "1h"')
            else:
                self.effective[key] = duration_spelling(default_us)
            return default_us
        us = duration_of(value) if isinstance(value, str) else None
        if us or (zero and us is not None):
            self.effective[key] = duration_spelling(us)
            return us
        self.complain(key, f'{value!r} is not a duration; write a whole number with ms, s, m, h or d, such as "1h"')
        return default_us

    def flag(self, key: str, default: bool) -> bool:
        """true or false, `default` if it is absent or wrong."""
        value = self.value(key)
        if value is None or isinstance(value, bool):
            self.effective[key] = default if value is None else value
            return default if value is None else value
        self.complain(key, f"{value!r} is neither true nor false")
        return default

    def share(self, key: str, what: str = "a score") -> float | None:
        """A number in [0, 1], None if it is absent or wrong; `what` names it in the complaint."""
        value = self.value(key)
        if value is None:
            return None
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
            self.effective[key] = float(value)
            return float(value)
        self.complain(key, f"{value!r} is not in [0, 1], the range of {what}")
        return None

    def amount(self, key: str, sizes: bool) -> int | None:
        """A whole number from 0 on, required. With `sizes` a size in bytes such as "10GiB" is allowed too."""
        value = self.value(key)
        if value is None:
            self.complain(key, f"is missing; write {key} = a positive whole number")
            return None
        if sizes and isinstance(value, str) and (size := size_of(value)):
            self.effective[key] = size_spelling(size)
            return size
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_AMOUNT:
            self.effective[key] = size_spelling(value) if sizes else value
            return value
        also = ' or a size such as "10GiB"' if sizes else ""
        self.complain(key, f"{value!r} is not a whole number from 0 on{also}")
        return None

    def end(self) -> None:
        """Add a complaint about every unknown key."""
        for key in self._values:
            if key not in self._known:
                self.complain(key, f"unknown key; {nearest(key, self._known)}")


def duration_of(text: str) -> int | None:
    """The µs of a duration such as `7d`; None if it is none."""
    found = _DURATION.fullmatch(text)
    return None if found is None else int(found[1]) * UNIT_US[found[2]]


def duration_spelling(us: int) -> str:
    """A duration of whole ms in its largest unit: `7d`, `90s`."""
    for name, unit in UNIT_US.items():
        if us % unit == 0 and us:
            return f"{us // unit}{name}"
    return f"{us // 1000}ms"


def size_of(text: str) -> int | None:
    """The bytes of a size such as `10GiB`; None if it is none."""
    found = _SIZE.fullmatch(text)
    return None if found is None else int(found[1]) * UNIT_BYTES[found[2]]


def size_spelling(size: int) -> str | int:
    """A number of bytes in its largest whole unit: `10GiB`; the number itself where it has none."""
    for name, unit in UNIT_BYTES.items():
        if size % unit == 0 and size:
            return f"{size // unit}{name}"
    return size


def nearest(name: object, known: Iterable[str]) -> str:
    """The known name that is probably meant, else all of them."""
    return _near(name, known).removeprefix("; ") or f"known here: {_listed(sorted(known))}"


def _near(name: object, known: Iterable[str]) -> str:
    close = get_close_matches(str(name), sorted(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def _kind(value: object) -> str:
    return {bool: "true or false", int: "a number", float: "a number", str: "a string", list: "a list"}.get(
        type(value), f"a {type(value).__name__}"
    )


def dotted(path: tuple[str, ...]) -> str:
    """The keys of `path` with dots between them, as in a TOML file."""
    return ".".join(part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else f'"{part}"' for part in path)
