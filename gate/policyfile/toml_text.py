"""Writes a policy's document as TOML, so that reading it gives the same policy with the same hash."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def toml_text(document: Mapping[str, Any]) -> str:
    """The document as TOML. A table of plain values inside a named table is written on one line."""
    lines = _table((), document)
    while lines and not lines[0]:
        lines.pop(0)
    return "\n".join(lines) + "\n"


def _table(path: tuple[str, ...], table: Mapping[str, Any]) -> list[str]:
    inline = {key for key, value in table.items() if isinstance(value, Mapping) and path and _is_plain(value)}
    own = [f"{_key(key)} = {_value(value)}" for key, value in table.items() if _is_own(value) or key in inline]
    inner = [(key, value) for key, value in table.items() if not _is_own(value) and key not in inline]
    lines = []
    if path and (own or not inner):
        lines += ["", f"[{'.'.join(map(_key, path))}]"]
    lines += own
    for key, value in inner:
        lines += _table((*path, key), value)
    return lines


def _is_own(value: object) -> bool:
    return not isinstance(value, Mapping)


def _is_plain(value: Mapping[str, Any]) -> bool:
    """Whether a table holds values only; an empty one is written under a header of its own."""
    return bool(value) and all(map(_is_own, value.values()))


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _string(key)


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_value(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, str):
        return _string(value)
    return repr(value).lower() if isinstance(value, bool) else repr(value)


def _string(text: str) -> str:
    """A basic string. JSON's escapes are TOML's too, but for DEL, which JSON does not escape."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
