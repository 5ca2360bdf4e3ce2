"""JSON Schemas of checks and events, made from the table of field rules.

They describe a message of which nothing is dropped. One that breaks them in an optional field is read all the same,
without that field.
"""

from __future__ import annotations

from typing import Any, Final

from gate.core.fields import FieldKind, MessageType, Rule
from gate.core.fields.ids import MAX_ID_BYTES
from gate.core.fields.labels import MAX_LABEL_CHARS
from gate.core.fields.rules import BY_SUBJECT, MAX_LINK_CHARS, MAX_LINKS, MAX_TEXT_CHARS, MAX_UPLOAD_BYTES

_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
_ID = {"type": "string", "minLength": 1, "maxLength": MAX_ID_BYTES}
_LABEL = {"type": "string", "minLength": 1, "maxLength": MAX_LABEL_CHARS}
_MOMENT = {"type": "string", "format": "date-time", "pattern": _TIME}
_SHAPES: Final[dict[FieldKind, dict[str, Any]]] = {
    FieldKind.KEY: _ID,
    FieldKind.ID: _ID,
    FieldKind.CONTENT: _ID,
    FieldKind.PERCEPTUAL: _ID,
    FieldKind.LABEL: _LABEL,
    FieldKind.WORD: _LABEL,
    FieldKind.COUNTRY: {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9]$"},
    FieldKind.ADDRESS: {"type": "string", "minLength": 1},
    FieldKind.MOMENT: _MOMENT,
    FieldKind.CREATION: _MOMENT,
    FieldKind.SIZE: {"type": "integer", "minimum": 0, "maximum": MAX_UPLOAD_BYTES},
    FieldKind.FLAG: {"type": "boolean"},
    FieldKind.TEXT: {"type": "string", "maxLength": MAX_TEXT_CHARS},
    FieldKind.LINKS: {
        "type": "array",
        "maxItems": MAX_LINKS,
        "items": {"type": "string", "maxLength": MAX_LINK_CHARS},
    },
}


def message_schema(subject: MessageType, meaning: str, head: dict[str, Any]) -> dict[str, Any]:
    """The schema of a message. The fields of `head` come first and are required."""
    fields: dict[str, Any] = dict(head)
    required = list(head)
    for rule in BY_SUBJECT[subject]:
        part, _, name = rule.name.rpartition(".")
        if not part:
            fields[name] = _field(rule, subject)
            required += [name] if subject in rule.required else []
            continue
        inner = fields.setdefault(part, {"type": "object", "properties": {}, "required": []})
        inner["properties"][name] = _field(rule, subject)
        if subject in rule.required:
            inner["required"].append(name)
            required += [] if part in required else [part]
    for name, field in fields.items():
        if name not in required:
            fields[name] = {"anyOf": [field, {"type": "null"}]}
    return {"type": "object", "description": meaning, "properties": fields, "required": required}


def _field(rule: Rule, subject: MessageType) -> dict[str, Any]:
    limit = f"; {rule.limit}" if rule.limit else ""
    shape = {**_SHAPES[rule.kind], "description": f"{rule.meaning[:1].upper()}{rule.meaning[1:]}{limit}."}
    if rule.choices:
        shape = {"enum": list(rule.choices), "description": shape["description"]}
    is_inner = "." in rule.name and subject not in rule.required
    return {"anyOf": [shape, {"type": "null"}]} if is_inner else shape
