"""The log to which a gate hands each decision."""

from __future__ import annotations

from typing import Protocol

from gate.core.decision import Decision
from gate.core.request import CheckRequest


class DecisionLog(Protocol):
    """Publishes decisions while checks go on.

    Meaning: each decision at most once. Loss: bounded; a decision that does not fit is dropped and counted. Order: none
    across accounts; decisions of one account stay in their order. Growth: a fixed number of decisions waits.
    """

    def record(self, request: CheckRequest, decision: Decision, now_us: int) -> None:
        """Hand over a decision and what a record needs of its request. Returns at once, never raises."""
        ...
