"""The JSON Schema of an event, made from the table of field rules. `python -m streams.files.schemas` writes it into config/.

The schema describes an event of which nothing is dropped. An event that breaks it in an optional field is read all the
same, without that field.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gate.core.fields import RULES, Dropped, MessageType
from gate.core.fields.rules import EVENTS
from gate.records.field_schemas import message_schema

FILE = "uploads.events.v1.json"
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
        "$defs": {
            subject.value: message_schema(subject, _MEANINGS[subject], {"type": {"const": subject.value}})
            for subject in sorted(EVENTS)
        },
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


if __name__ == "__main__":
    (Path(__file__).parents[2] / "config" / "schemas" / FILE).write_bytes(event_schema())
