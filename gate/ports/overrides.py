"""The store of staff overrides."""

from __future__ import annotations

from typing import Protocol

from gate.core.override import Override


class OverrideStore(Protocol):
    """One override an account, where takes find it.

    Meaning: an override replaces the one before it. Accuracy: the next take obeys it; one that cannot be read denies.
    Loss: a failover may lose the overrides of the last second. Order: the last one put is kept. Growth: an override
    removes itself when it expires.
    """

    async def put_override(self, account: str, override: Override) -> None:
        """Set the override of `account` until it expires. Raises StoreUnavailable."""
        ...
