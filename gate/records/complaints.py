"""The JSON decoder's complaints in the words of the people who wrote the document."""

from __future__ import annotations

import re
from typing import Final

from gate.core.fields.parse import plain_end

_KINDS: Final = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "datetime": "a time (RFC 3339)",
    "null": "null",
}
_EXPECTED = re.compile(r"Expected `([a-z |]+)`, got `([a-z]+)`")
_MISSING = re.compile(r"Object missing required field (`[^`]+`)")
_UNKNOWN = re.compile(r"Object contains unknown field (`[^`]+`)")
_PLACE = re.compile(r" - at `\$\.?([^`]*)`")


def plain_complaint(complaint: object) -> str:
    """A complaint such as "Expected `int | null`, got `str`" as "must be a whole number or null, not text"."""
    said = plain_end(str(complaint))
    said = _EXPECTED.sub(lambda found: f"must be {_kinds(found[1])}, not {_kinds(found[2])}", said)
    said = _MISSING.sub(r"\1 is missing", said)
    said = _UNKNOWN.sub(r"\1 is not a field of it", said)
    return _PLACE.sub(lambda found: f" (at `{found[1]}`)" if found[1] else "", said)


def _kinds(names: str) -> str:
    kinds = names.split(" | ")
    return " or ".join(_KINDS.get(name, name) for name in kinds if not (name == "int" and "float" in kinds))
