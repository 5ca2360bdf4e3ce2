"""The JSON Schema of an event, made from the structs themselves. `python -m streams.files.schemas` writes it into config/."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from gate.core.event import Event

FILE = "uploads.events.v1.json"


def event_schema() -> bytes:
    """The schema of one value on `uploads.events.v1`, as indented JSON with a newline at its end."""
    (top,), parts = msgspec.json.schema_components([Event], ref_template="#/$defs/{name}")
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An event on uploads.events.v1, keyed by account.id",
        **top,
        "$defs": parts,
    }
    schema.pop("discriminator", None)
    return json.dumps(schema, indent=1, sort_keys=True).encode() + b"\n"


if __name__ == "__main__":
    (Path(__file__).parents[2] / "config" / "schemas" / FILE).write_bytes(event_schema())
