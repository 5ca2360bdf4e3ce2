"""The JSON Schema of an event, made from the table of field rules. `python -m streams.files.schemas` writes it into config/.

The schema describes an event of which nothing is dropped. An event that breaks it in an optional field is read all the
same, without that field.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gate.core.fields import RULES, Dropped, FieldKind, MessageType, Rule
from gate.core.fields.ids import MAX_ID_BYTES
from gate.core.fields.labels import MAX_LABEL_CHARS
from gate.core.fields.rules import BY_SUBJECT, EVENTS, MAX_LINK_CHARS, MAX_LINKS, MAX_TEXT_CHARS, MAX_UPLOAD_BYTES

FILE = "uploads.events.v1.json"
_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
_ID = {"type": "string", "minLength": 1, "maxLength": MAX_ID_BYTES}
_LABEL = {"type": "string", "minLength": 1, "maxLength": MAX_LABEL_CHARS}
_MOMENT = {"type": "string", "format": "date-time", "pattern": _TIME}
_SHAPES: dict[FieldKind, dict[str, Any]] = {
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
_MEANINGS = {
    MessageType.ATTEMPTED: "An upload was tried.",
    MessageType.COMPLETED: "An upload arrived in full.",
    MessageType.REMOVED: "An upload was taken down.",
    MessageType.REPORTED: "Somebody complained about an upload of the account.",
    MessageType.CHALLENGED: "The account was asked to prove that a person is there.",
}


def event_schema() -> bytes:
    """The schema of one value on `uploads.events.v1`, as indented JSON with a newline at its end."""
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An event on uploads.events.v1, keyed by account.id",
        "description": "An optional field that breaks its rule is dropped and counted; the event is read without it.",
        "anyOf": [{"$ref": f"#/$defs/{subject}"} for subject in sorted(EVENTS)],
        "$defs": {subject.value: _object(subject) for subject in sorted(EVENTS)},
    }
    return json.dumps(schema, indent=1, sort_keys=True).encode() + b"\n"


def fields_table() -> str:
    """The field rules and the reasons for dropping as Markdown, which config/README.md holds."""
    lines = ["| field | on | what it may hold | meaning |", "|---|---|---|---|"]
    for rule in RULES:
        on = ", ".join(
            f"**{subject}**" if subject in rule.required else subject
            for subject in MessageType
            if subject in rule.on and subject is not MessageType.ROW
        )
        holds = ", ".join(f"`{word}`" for word in rule.choices) or rule.limit or "true or false"
        lines.append(f"| `{rule.name}` | {on} | {holds} | {rule.meaning} |")
    lines += ["", "| reason | why |", "|---|---|"]
    lines += [f"| `{reason}` | {reason.meaning} |" for reason in Dropped]
    return "\n".join(lines) + "\n"


def _object(subject: MessageType) -> dict[str, Any]:
    fields: dict[str, Any] = {"type": {"const": subject.value}}
    required = ["type"]
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
    return {"type": "object", "description": _MEANINGS[subject], "properties": fields, "required": required}


def _field(rule: Rule, subject: MessageType) -> dict[str, Any]:
    limit = f"; {rule.limit}" if rule.limit else ""
    shape = {**_SHAPES[rule.kind], "description": f"{rule.meaning[:1].upper()}{rule.meaning[1:]}{limit}."}
    if rule.choices:
        shape = {"enum": list(rule.choices), "description": shape["description"]}
    is_inner = "." in rule.name and subject not in rule.required
    return {"anyOf": [shape, {"type": "null"}]} if is_inner else shape


if __name__ == "__main__":
    (Path(__file__).parents[2] / "config" / "schemas" / FILE).write_bytes(event_schema())
