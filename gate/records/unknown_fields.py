"""Fields that a newer release wrote and this release does not know: they are kept unchanged and written again.

They are kept as JSON by name. A newer `version` is kept among them, so that a document is written with the version it
was read with. A newer version may add fields only at the top of a document: an unknown field inside a known one is
dropped.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gate.errors import StateUnreadable

_encode = msgspec.json.Encoder().encode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def unknown_fields(data: bytes, known: frozenset[str], version: int, stated: int) -> dict[str, bytes]:
    """The fields of the document `data` that are not `known`, and its `stated` version if that is not `version`.

    Raises StateUnreadable if `stated` is below 1. `data` must be one JSON object.
    """
    if stated < 1:
        raise StateUnreadable(f"`version` is {stated}, not 1 or more")
    extra = {name: bytes(value) for name, value in _decode_fields(data).items() if name not in known}
    if stated != version:
        extra["version"] = b"%d" % stated
    return extra


def with_unknown_fields(data: bytes, extra: Mapping[str, bytes]) -> bytes:
    """The document `data` with the fields of `extra`."""
    if not extra:
        return data
    return _encode({**_decode_fields(data), **{name: msgspec.Raw(value) for name, value in extra.items()}})
