"""The uploading account: the facts that a caller states about it. The policy derives the account's class from them."""

from __future__ import annotations

from datetime import datetime

import msgspec


class Account(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The account of a check or an event. Only `id` is required. `class` overrides the class derived from the facts."""

    id: str
    class_: str | None = msgspec.field(default=None, name="class")
    created_at: datetime | None = None
    verified: bool | None = None
