"""Keeps a worker to one Kafka cluster: the first that it connects to, for as long as its process lives.

An address such as a default port can pass to another system's broker while this worker waits for its own. It would be
given partitions there, and score them into its own Redis.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from gate.errors import ForeignCluster, StoreUnavailable
from gate.stores.kafka.topics import cluster_id

TOLD_WITHIN_S = 3.0


class OneCluster:
    """Remembers the id of the cluster at `bootstrap`."""

    def __init__(self, bootstrap: str, cluster_id: Callable[[str], Awaitable[str]] = cluster_id) -> None:
        self._bootstrap = bootstrap
        self._cluster_id = cluster_id
        self._known = ""

    @property
    def known(self) -> str:
        """The id of the cluster, empty as long as it is not known."""
        return self._known

    async def require(self) -> None:
        """Learn the cluster's id the first time. Raises ForeignCluster where it is another one now.

        A broker that does not answer, or is too old to tell, proves nothing.
        """
        try:
            async with asyncio.timeout(TOLD_WITHIN_S):
                now = await self._cluster_id(self._bootstrap)
        except (StoreUnavailable, TimeoutError):
            return
        self.compare(now)

    def compare(self, now: str) -> None:
        """`require`, with an id that is at hand."""
        if not now:
            return
        if self._known not in ("", now):
            raise ForeignCluster(
                f"another Kafka cluster answers at {self._bootstrap}: it was {self._known} and is {now} now, so this "
                "worker does not join it",
                "If the address is right, start the worker again; else correct UPLOAD_GATE_KAFKA, and look whose "
                "broker took the port",
            )
        self._known = now
