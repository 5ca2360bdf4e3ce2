"""A staff override: what staff decided about one account, and until when."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Override(msgspec.Struct, frozen=True):
    """A staff member's decision on one account. It holds until `expires_at_us` (µs since 1970).

    With `allow` the account's uploads are let in regardless of its score and limits; otherwise they are refused. Where
    `limits` names a class, neither: the account has the limits of that class, and its score counts as ever.
    `extra` maps the names of a newer release's fields to their JSON; they are written again.
    """

    allow: bool
    reason: str
    owner: str
    expires_at_us: int
    limits: str | None = None
    extra: Mapping[str, bytes] = msgspec.field(default_factory=dict)
