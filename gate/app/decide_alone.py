"""Decides a check that the store did not answer, or that was not sent because too many checks wait for the store.

It decides by what the gate itself knows: the pauses, the account's last known score and override, and, unless the check
was shed, the buckets of `gate.app.without_store`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gate.app.without_store import WithoutStore
from gate.core.decide import LivePauses, Shed, decide, needs_store
from gate.core.decision import Decision
from gate.core.limits.reservation import Unanswered
from gate.core.limits.take import TakeRequest, TakeResult
from gate.core.policy import Policy
from gate.core.request import CheckRequest
from gate.core.standing import UNKNOWN, LastKnown
from gate.errors import StoreOverloaded, StoreUnavailable
from gate.metrics import Counts

SHED_RETRY_US: Final = 2_000_000
"""After how long a caller whose check was shed may try again."""
NO_STORE: Final = ("store",)
"""`Decision.degraded` where the store was not asked or did not answer."""


class DecideAlone:
    """Decides without the store, and counts why. Refused uploads that the store may have taken for go to `unanswered`."""

    def __init__(
        self, without_store: WithoutStore, last_known: LastKnown, counts: Counts,
        unanswered: Callable[[Unanswered], None],
    ) -> None:  # fmt: skip
        self._without_store = without_store
        self._last_known = last_known
        self._counts = counts
        self._unanswered = unanswered

    def decide(
        self, request: CheckRequest, class_: str, pauses: LivePauses, policy: Policy, now_us: int,
        take_request: TakeRequest, error: Exception,
    ) -> Decision:  # fmt: skip
        """The decision in place of the store's answer, which is an error."""
        account, hot = take_request.account, take_request.hot
        standing = self._last_known.of(account)
        if hot is not standing.hot:
            standing = standing.meeting(hot)
        decision = None
        if isinstance(error, StoreOverloaded):
            self._counts.shed += 1
            decision = decide(request, class_, pauses, policy, now_us, Shed(standing, SHED_RETRY_US, now_us), NO_STORE)
        else:
            self._counts.store_errors["unavailable" if isinstance(error, StoreUnavailable) else "fault"] += 1
            # an unknown account has no score or override: only the board can refuse it before its buckets
            if standing is not UNKNOWN or not needs_store(pauses, policy):
                alone = TakeResult(standing, False, False, None, (), now_us)
                decision = decide(request, class_, pauses, policy, now_us, alone, NO_STORE)
        if decision is None or decision.verdict.lets_in:
            # the known standing lets the account in, so it may take from the gate's own buckets
            staff = standing.limits_of(now_us)
            if staff is not None and staff != take_request.class_limits.name:
                take_request = policy.with_limits_of(take_request, staff)
            own = self._without_store.take(policy, take_request, standing, now_us)
            decision = decide(request, class_, pauses, policy, now_us, own, NO_STORE, take_request.class_limits)
        if getattr(error, "may_have_run", False) and not decision.verdict.lets_in:
            self._unanswered(Unanswered(account, take_request.upload_id, take_request.attempt))
        return decision
