"""What is wrong with a required field, in the same words for the sender of a check, of an event and of a row."""

from __future__ import annotations

from typing import Final

from gate.core.fields.ids import MAX_ID_BYTES
from gate.core.fields.labels import MAX_LABEL_CHARS
from gate.core.fields.reasons import Dropped, FieldRefused
from gate.core.fields.rules import PARTS, RULES, FieldKind

NO_OBJECT: Final = "must be an object"
_KINDS: Final = {rule.name: rule.kind for rule in RULES}
_PROBLEMS: Final = {
    Dropped.UNKNOWN: "is empty or a word for unknown",
    Dropped.INVISIBLE: "holds an invisible character",
    Dropped.NOT_UTF8: "holds a character that is not UTF-8, or that was replaced by U+FFFD on its way",
    Dropped.INVALID: "has no time zone or is not a time; write RFC 3339, such as 2026-11-23T10:00:00Z",
}


def reason_of(refused: FieldRefused) -> str:
    """The reason code with which a check, a report or an event of such a field is refused."""
    if refused.reason is None:
        return "field.missing"
    return "id.too_long" if _is_long_id(refused) else "field.invalid"


def problem_with(refused: FieldRefused) -> str:
    """The predicate of a sentence that begins with the field's name."""
    match refused.reason:
        case None:
            return "is required"
        case Dropped.TYPE_WRONG:
            return NO_OBJECT if refused.field in PARTS else "must be a string"
        case Dropped.TOO_LONG if _is_long_id(refused):
            return f"has at most {MAX_ID_BYTES} bytes; send a hash of longer ids"
        case Dropped.TOO_LONG:
            return f"has at most {MAX_LABEL_CHARS} characters"
    return _PROBLEMS[refused.reason]


def _is_long_id(refused: FieldRefused) -> bool:
    return refused.reason is Dropped.TOO_LONG and _KINDS.get(refused.field) is FieldKind.KEY
