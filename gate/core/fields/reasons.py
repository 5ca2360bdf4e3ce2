"""The closed list of reasons why a field was not kept as it was sent, and the exceptions for unusable values."""

from __future__ import annotations

from enum import StrEnum


class Dropped(StrEnum):
    """The reason why an optional field was dropped or changed.

    `CUT`, `HASHED`, `REPAIRED` and `SOME_ITEMS` keep a part of the value, all others drop it.
    """

    UNKNOWN = "value.unknown"
    TYPE_WRONG = "type.wrong"
    INVALID = "value.invalid"
    INVISIBLE = "value.invisible"
    NOT_UTF8 = "value.not_utf8"
    TOO_LONG = "value.too_long"
    OUT_OF_RANGE = "value.out_of_range"
    FUTURE = "clock.future"
    ABSURD = "clock.absurd"
    HASHED = "value.hashed"
    CUT = "value.cut"
    REPAIRED = "text.repaired"
    SOME_ITEMS = "list.items"

    @property
    def meaning(self) -> str:
        """The explanation for the sender."""
        return _MEANINGS[self]

    @property
    def malformed(self) -> bool:
        """True if the sender broke a rule. A value that means unknown breaks none."""
        return self is not Dropped.UNKNOWN


_MEANINGS = {
    Dropped.UNKNOWN: "it is empty or a word for unknown; that is no mistake",
    Dropped.TYPE_WRONG: "another JSON type was expected",
    Dropped.INVALID: "it is not one of the values that the field may hold",
    Dropped.INVISIBLE: "it holds an invisible character",
    Dropped.NOT_UTF8: "it is an id with a character that is not UTF-8, or was replaced by U+FFFD on its way",
    Dropped.TOO_LONG: "it is longer than the field may be",
    Dropped.OUT_OF_RANGE: "the number is too small or too large",
    Dropped.FUTURE: "the time is more than 5 minutes ahead",
    Dropped.ABSURD: "the time is before 1990",
    Dropped.HASHED: "it is too long, and a hash replaces it",
    Dropped.CUT: "it is too long, and only its beginning is kept",
    Dropped.REPAIRED: "half a character or a NUL was replaced by U+FFFD",
    Dropped.SOME_ITEMS: "items of the list that are not strings are left out",
}


class Unusable(ValueError):
    """A value that cannot be kept; `reason` says why."""

    def __init__(self, reason: Dropped) -> None:
        super().__init__(reason)
        self.reason = reason


class FieldRefused(Exception):
    """A required field is absent (`reason` None) or holds a value that cannot be kept."""

    def __init__(self, field: str, reason: Dropped | None) -> None:
        super().__init__(f"{field}: {reason or 'is required'}")
        self.field = field
        self.reason = reason
