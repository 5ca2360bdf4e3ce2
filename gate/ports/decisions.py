"""The log of decisions."""

from __future__ import annotations

from typing import Protocol

from gate.core.decision import Decision
from gate.core.request import CheckRequest


class DecisionLog(Protocol):
    """Where decisions are published. Loss: bounded; what does not fit is dropped and counted, never waited for."""

    def record(self, request: CheckRequest, decision: Decision, now_us: int) -> None:
        """Hand a decision over. Returns at once, never raises."""
        ...
