"""The store of staff overrides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gate.core.override import Override


class OverrideStore(Protocol):
    """Keeps one override per account, which takes read.

    Meaning: an override replaces the previous one. Accuracy: the next take obeys it; an override that cannot be read
    denies. Loss: a failover may lose the overrides of the last second. Order: the last one written is kept. Growth: the
    store deletes an override when it expires.
    """

    async def put_override(self, account: str, override: Override) -> Override | None:
        """Set the override of `account` until it expires. Returns the one that it replaced, if there was another. Raises
        StoreUnavailable."""
        ...

    async def overrides(self, accounts: Sequence[str]) -> list[Override | None]:
        """The overrides of `accounts`, in their order; None for an account without one. Raises StoreUnavailable.

        An override that cannot be read is the one that checks obey.
        """
        ...

    async def remove_override(self, account: str) -> Override | None:
        """Delete the override of `account`. Returns the one that was there. Raises StoreUnavailable."""
        ...

    async def all_overrides(self, most: int) -> dict[str, Override]:
        """The overrides by account: all of them, or about `most`. Raises StoreUnavailable."""
        ...
