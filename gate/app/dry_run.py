"""Counts what pauses in dry run would have done: for each upload let in, the strictest one that would have held it."""

from __future__ import annotations

from collections.abc import Collection

from gate.core.decision import Decision
from gate.core.limits.take import TakeRequest, TakeResult
from gate.core.pause.index import PauseIndex, strictest
from gate.core.request import CheckRequest
from gate.core.standing import LastKnown
from gate.metrics import OTHER_PAUSE, Counts

First = Decision | TakeRequest
"""What came before the store's answer: the decision, or the request that the store got."""


class DryRun:
    """Counts in `counts`. The store's answers say what an account's risk is; where it gave none, `last_known` does."""

    def __init__(self, counts: Counts, last_known: LastKnown) -> None:
        self._counts = counts
        self._last_known = last_known

    def count(
        self, pauses: PauseIndex, reasons: Collection[str], request: CheckRequest, decision: Decision, first: First,
        answer: TakeResult | Exception | None, max_score_age_us: int, now_us: int,
    ) -> None:  # fmt: skip
        """Count the upload if it was let in and one of `pauses` would have held it. `reasons` are those of the policy."""
        if not decision.verdict.lets_in:
            return
        try:
            risk = self._acting_risk(first, answer, max_score_age_us, now_us)
            hit = strictest(pauses, request, decision.class_, now_us, risk)
        except Exception:
            self._counts.faults["check"] += 1
            return
        if hit is not None:
            reason = f"pause.{hit.pause.reason}"
            self._counts.would_hold(hit.pause.id, hit.pause.action, reason if reason in reasons else OTHER_PAUSE)

    def _acting_risk(
        self, first: First, answer: TakeResult | Exception | None, max_score_age_us: int, now_us: int
    ) -> float | None:
        """The risk by which an enforced pause would have decided; see `gate.core.decide`."""
        if isinstance(answer, TakeResult):
            return answer.standing.acting_risk(answer.now_us, max_score_age_us)
        hot = first.hot if isinstance(first, TakeRequest) else None
        return self._last_known.of(first.account).meeting(hot).acting_risk(now_us, max_score_age_us)
