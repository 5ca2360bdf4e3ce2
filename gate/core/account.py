"""Who uploads: the facts a caller states about an account. Which class follows from them is the policy's to say."""

from __future__ import annotations

from datetime import datetime

import msgspec

MAX_ID_BYTES = 256
"""Longest account, upload, device or content id in UTF-8 bytes; longer ones are refused, never cut."""


class Account(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The account of a check or an event. Only `id` is required; `class` wins over what the facts would derive."""

    id: str
    class_: str | None = msgspec.field(default=None, name="class")
    created_at: datetime | None = None
    verified: bool | None = None


class Media(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What is uploaded. `bytes` is the declared size; `sha256` and `phash` are opaque strings to us."""

    kind: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    phash: str | None = None
