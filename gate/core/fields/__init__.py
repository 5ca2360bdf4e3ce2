"""The table of field rules, and the reading of values by it. Checks, events, rows, schema and documentation use it."""

from __future__ import annotations

from gate.core.fields.reader import Fields, read_fields
from gate.core.fields.reasons import Dropped, FieldRefused, Unusable
from gate.core.fields.rules import FIELD_NAMES, RULES, FieldKind, MessageType, Rule, why_dropped

__all__ = [
    "FIELD_NAMES",
    "RULES",
    "Dropped",
    "FieldKind",
    "FieldRefused",
    "Fields",
    "MessageType",
    "Rule",
    "Unusable",
    "read_fields",
    "why_dropped",
]
