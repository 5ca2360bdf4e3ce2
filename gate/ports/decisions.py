"""The log that records a gate's decisions."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from gate.core.decision import Decision
from gate.core.request import CheckRequest


class DecisionLog(Protocol):
    """Publishes decisions while checks go on.

    Meaning: each decision is published at most once. Loss: a decision that does not fit into the queue is dropped and
    counted. Order: decisions of one account stay in order; there is no order across accounts. Growth: at most a fixed
    number of decisions waits.
    """

    def record(self, request: CheckRequest, decision: Decision, now_us: int, ignored: Collection[str] = ()) -> None:
        """Queue a decision with its request for publishing, and the fields of the check that were ignored.

        Returns at once and never raises.
        """
        ...
