"""What the gate would do with the next upload of each account that a replay met: by its score, soon after its last upload.

Many accounts of a stream upload once, so that none of their checks knows their score. The next upload is not sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from gate.core.decision import Verdict
from gate.core.policy import Policy
from gate.ports.scores import ScoreStore
from streams.lab.rows import Recorded

LOOKED_AT: Final = 8
"""Windows whose accounts are looked at again, since their scores rise when what they share becomes visible."""
MEETS: Final = frozenset((Verdict.REVIEW, Verdict.CHALLENGE, Verdict.DENY))
"""Verdicts with which a risk meets an upload."""


class NextUploads:
    """`met` holds the accounts whose next upload would be met, `risks` the last risk of each account that has one."""

    def __init__(self, policy: Policy, store: ScoreStore) -> None:
        self._policy = policy
        self._store = store
        self._windows: deque[dict[str, Recorded]] = deque(maxlen=LOOKED_AT)
        self.met: set[str] = set()
        self.risks: dict[str, float] = {}

    async def look(self, window: Sequence[Recorded]) -> None:
        """Judge the accounts of a window that was scored, and those of some windows before. Raises StoreUnavailable."""
        self._windows.append({upload.request.account.id: upload for upload in window})
        last = {account: upload for each in self._windows for account, upload in each.items()}
        for (account, upload), score in zip(last.items(), await self._store.scores(list(last)), strict=True):
            if score is None:
                continue
            self.risks[account] = score.risk
            class_ = self._policy.class_of(upload.request.account, upload.at_us)
            if self._policy.thresholds[class_].verdict_at(score.risk) in MEETS:
                self.met.add(account)
            else:
                self.met.discard(account)
