"""Notices that workers of another consumer group write scores to the same Redis keys, and says so once.

Each group would take the other's marks for scores that Redis has lost, and write all of its own again, without end. So a
group writes its name beside the marks every second, also while it writes scores again. A name that was left by a group that
has ended is replaced once; one that comes back belongs to a group that is alive.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from gate.errors import StoreUnavailable

log = logging.getLogger("upload_gate.worker")

CERTAIN_AFTER = 3
"""If a foreign name comes back so many times, its group is alive."""
ALONE_AFTER = 3
"""After so many rounds in a row with its own name, a group takes the foreign name for one that was left behind."""
GONE_AFTER = 6
"""After so many rounds in a row with its own name, no other group is alive, not even one that looks half as often."""


class Claims(Protocol):
    """Keeps a name, which is compared and set in one step."""

    async def claim(self, name: str, expected: str, following: str) -> str:
        """Set the claim `name` to `following` if it is `expected`, and return what it was. Raises StoreUnavailable."""
        ...


class OneGroup:
    """`cluster` returns the id of the Kafka cluster, empty where it is not known: groups of two clusters may have one name.

    `prefix` begins the keys of scores, for the log.
    """

    def __init__(
        self, store: Claims | None, group: str, scores_topic: str, cluster: Callable[[], str], prefix: str
    ) -> None:
        self._store = store
        self._group = group
        self._name = f"{scores_topic}:filled-by"
        self._cluster = cluster
        self._prefix = prefix
        self._expected = ""
        self._met = 0
        self._own = 0
        self._said = False
        self._has_answer = False
        self.alone = False
        """The last answer of `is_alone`. False before the first call, True while Redis has refused or missed all calls."""

    async def is_alone(self) -> bool:
        """Whether no other group is known to fill this Redis. Raises StoreUnavailable."""
        try:
            self.alone = await self._look()
        except StoreUnavailable:
            self.alone = self.alone or not self._has_answer
            raise
        self._has_answer = True
        return self.alone

    async def _look(self) -> bool:
        cluster = self._cluster()
        if self._store is None or not cluster:
            return True
        mine = f"{self._group}@{cluster}"
        found = await self._store.claim(self._name, self._expected, mine)
        if found not in ("", mine, self._expected):
            self._note(found)
        else:
            self._own += 1
        self._expected = mine if found == self._expected else found
        if self._own >= GONE_AFTER:
            self._is_alone_again()
        return self._met == 0 or (self._met < CERTAIN_AFTER and self._own >= ALONE_AFTER)

    def _note(self, other: str) -> None:
        self._met, self._own = self._met + 1, 0
        if self._met < CERTAIN_AFTER or self._said:
            return
        self._said = True
        group, _, cluster = other.rpartition("@")
        log.error(
            "another consumer group, %s of the Kafka cluster %s, writes scores to the same Redis (keys %sscore:…), and each "
            "replaces the other's. Stop one of the two, or give one keys and topics of its own (UPLOAD_GATE_PREFIX and "
            "UPLOAD_GATE_TOPIC_PREFIX, for its gates too). To share the work, give both the same UPLOAD_GATE_GROUP",
            group, cluster, self._prefix,
        )  # fmt: skip

    def _is_alone_again(self) -> None:
        self._met = 0
        if self._said:
            self._said = False
            log.warning("no other consumer group writes scores to this Redis any more")
