"""A staff override: what staff decided about one account, and until when."""

from __future__ import annotations

import msgspec


class Override(msgspec.Struct, frozen=True):
    """A staff member's word on one account, until `expires_at_us`: let in whatever the score says, or refuse."""

    allow: bool
    reason: str
    owner: str
    expires_at_us: int
