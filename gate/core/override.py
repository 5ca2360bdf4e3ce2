"""A staff override: what staff decided about one account, and until when."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Override(msgspec.Struct, frozen=True):
    """A staff member's decision on one account until `expires_at_us`: let it in whatever its score and limits say, or refuse it.

    `extra` holds fields of a newer release as JSON by name, which are written again.
    """

    allow: bool
    reason: str
    owner: str
    expires_at_us: int
    extra: Mapping[str, bytes] = msgspec.field(default_factory=dict)
