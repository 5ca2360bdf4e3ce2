"""Notices that a gate and the stream workers have different salts.

Their pseudonyms then never match, so no device or network that workers publish as shared is recognised at the gate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from gate.core.hot_facts import HotFactTable

EVERY_S: Final = 5.0
TOLD: Final = (
    "the stream workers have another UPLOAD_GATE_SALT than this gate, so the gate recognises none of the shared devices and "
    "networks that they publish. Give gates and workers the same salt"
)


class CompareSalt:
    """Compares the mark of this gate's salt with the mark in the hot facts, and reports a difference once.

    `differs` becomes true at the second look in a row that finds a difference. After a change of the salt the first look may
    still find facts under the earlier salt.
    """

    def __init__(self, mark: str, facts: HotFactTable, say: Callable[[str], None]) -> None:
        self._mark = mark
        self._facts = facts
        self._say = say
        self._looks = 0

    @property
    def differs(self) -> bool:
        """Whether the workers hash under another salt."""
        return self._looks > 1

    def look(self) -> None:
        """Compare once."""
        workers = self._facts.workers_salt
        self._looks = self._looks + 1 if workers and workers != self._mark else 0
        if self._looks == 2:
            self._say(TOLD)

    async def run(self) -> None:
        """Look every five seconds. Never ends by itself."""
        while True:
            self.look()
            await asyncio.sleep(EVERY_S)
