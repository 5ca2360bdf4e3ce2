"""A gate's own token buckets for outages of the account store: each limit divided by the number of gates.

`on_store_error` in the policy chooses the limits that use them. An upload that is checked twice takes tokens twice
here: refusing a few uploads too many is the safe side.
"""

from __future__ import annotations

from gate.core.limits.gcra import Refusal, take
from gate.core.limits.limit import EntityBuckets

MAX_BUCKETS = 100_000


class LocalBuckets:
    """Buckets in memory, at most `max_buckets`. `instances` is how many gates share each limit, at least 1."""

    def __init__(self, instances: int, max_buckets: int = MAX_BUCKETS) -> None:
        self._instances = max(1, instances)
        self._max_buckets = max_buckets
        self._tats: dict[tuple[str, str], int] = {}

    def __len__(self) -> int:
        return len(self._tats)

    def take(
        self, buckets: tuple[EntityBuckets, ...], size: int, now_us: int
    ) -> tuple[Refusal | None, tuple[str, ...]]:
        """Take from all buckets or from none, like `gate.core.limits.gcra.take`, by this gate's share of each limit."""
        answer = take(self._tats, buckets, size, now_us, sharers=self._instances)
        if len(self._tats) > self._max_buckets:
            self._forget(now_us)
        return answer

    def _forget(self, now_us: int) -> None:
        """Drop the buckets that are full again. If that is not enough, drop the tenth that was added first."""
        self._tats = {key: tat for key, tat in self._tats.items() if tat > now_us}
        if len(self._tats) > self._max_buckets:
            oldest = list(self._tats)[: len(self._tats) - self._max_buckets * 9 // 10]
            for key in oldest:
                del self._tats[key]
