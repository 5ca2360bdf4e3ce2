"""Runs a candidate policy in shadow beside the one in force, on the same checks, and counts where they would differ.

A trial sees each check after it was decided: the request, the decision, and what the store had answered. It has no
store, no port and no way to reply, so it can neither take tokens nor refuse. For limits that both policies share, the
trial uses the decision itself. For limits that the candidate changes, it keeps buckets in its own memory. They are full
when it begins, so its counts of a limit are exact only after the limit's `per` has passed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from gate.app.without_store import LocalTake
from gate.core.decide import LivePauses, decide
from gate.core.decision import Decision, Stage
from gate.core.limits.gcra import Refusal
from gate.core.limits.take import TakeResult
from gate.core.policy import LimitRule, Policy
from gate.core.pseudonym import Pseudonyms
from gate.core.request import CheckRequest
from gate.core.standing import Standing

SAMPLES: Final = 5
"""How many uploads of each kind of difference are kept."""
MOST_KINDS: Final = 1_000
"""Further kinds of differences are counted together."""


class DifferenceKind(NamedTuple):
    """What the policy in force decided, and what the candidate would decide. `class_` is the one of the policy in force."""

    class_: str
    decision: str
    reason: str
    would: str
    would_reason: str


MORE: Final = DifferenceKind("other", "other", "other", "other", "other")


@dataclass(frozen=True, slots=True)
class Sample:
    """One upload that the two policies decide differently."""

    upload_id: str
    account: str
    at_us: int


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two classes under two policies: the limits that are equal, and the candidate with no other limits than the rest."""

    same: frozenset[str]
    changed: Policy


class PolicyTrial:
    """Compares `candidate` with the decisions of the policy in force until `until_us`. `compare` returns nothing.

    `local` makes the buckets for a number of gates that share each limit.
    """

    def __init__(
        self, candidate: Policy, names: Pseudonyms, local: Callable[[int], LocalTake], instances: int,
        started_us: int, until_us: int,
    ) -> None:  # fmt: skip
        self.candidate = candidate
        self.started_us = started_us
        self.until_us = until_us
        self.checks = 0
        self.without_store = 0
        """Checks that were not compared, because the gate decided them without the store."""
        self.counts: dict[DifferenceKind, int] = {}
        self.samples: dict[DifferenceKind, list[Sample]] = {}
        self._names = names
        self._buckets = local(instances)
        self._in_force: Policy | None = None
        self._pairs: dict[tuple[str, str], _Pair] = {}

    def compare(
        self, request: CheckRequest, decision: Decision, in_force: Policy, pauses: LivePauses,
        answer: TakeResult | Exception | None, now_us: int,
    ) -> None:  # fmt: skip
        """Count whether the candidate would have decided as `decision` did.

        `answer` is what came of the store call, None where none was needed. A check that the store did not answer is
        counted in `without_store` and not compared, since the gate decided it by its failure modes.
        """
        if isinstance(answer, Exception) or decision.degraded:
            self.without_store += 1
            return
        self.checks += 1
        if in_force is not self._in_force:
            self._in_force, self._pairs = in_force, {}
        would = self._decide(request, decision, in_force, pauses, answer, now_us)
        if (would.verdict, would.reason) != (decision.verdict, decision.reason):
            self._note(request, decision, would, now_us)

    def _decide(
        self, request: CheckRequest, decision: Decision, in_force: Policy, pauses: LivePauses,
        answer: TakeResult | None, now_us: int,
    ) -> Decision:  # fmt: skip
        candidate = self.candidate
        class_ = candidate.class_of(request.account, now_us)
        first = decide(request, class_, pauses, candidate, now_us)
        if first is not None:
            return first
        known = TakeResult(Standing(), False, False, None, (), now_us) if answer is None else answer
        refusal = self._refusal(request, decision, class_, in_force, known)
        charged = refusal is None and not known.conflict
        taken = TakeResult(
            known.standing, charged, known.repeated, refusal, (), known.now_us, conflict=known.conflict
        )  # fmt: skip
        return decide(request, class_, pauses, candidate, now_us, taken)

    def _refusal(
        self, request: CheckRequest, decision: Decision, class_: str, in_force: Policy, known: TakeResult
    ) -> Refusal | None:
        """The limit of the candidate that would refuse, None where none would, or where nothing would be taken."""
        staff = known.standing.limits_of(known.now_us)
        was = staff if staff is not None and in_force.has_class(staff) else decision.class_
        would = staff if staff is not None and self.candidate.has_class(staff) else class_
        pair = self._pair(in_force, was, would)
        if decision.stage is Stage.BUCKET and decision.reason in pair.same:
            return known.refusal
        override = known.standing.override_in_force(known.now_us)
        take_request = pair.changed.take_request(request, class_, self._names)
        if staff is not None:
            take_request = pair.changed.with_limits_of(take_request, staff)
        if known.conflict:
            return None
        if known.repeated or override is not None or take_request.class_limits.refuse(known.standing, known.now_us):
            return None
        return self._buckets.take(take_request.buckets, take_request.size, known.now_us)[0]

    def _pair(self, in_force: Policy, was: str, would: str) -> _Pair:
        pair = self._pairs.get((was, would))
        if pair is None:
            old = {limit.name: limit for limit in in_force.limits}
            same = {
                limit.name
                for limit in self.candidate.limits
                if limit.name in old and _applies(old[limit.name], was) == _applies(limit, would)
            }
            rest = tuple(limit for limit in self.candidate.limits if limit.name not in same)
            pair = _Pair(frozenset(same), replace(self.candidate, limits=rest))
            self._pairs[was, would] = pair
        return pair

    def _note(self, request: CheckRequest, decision: Decision, would: Decision, now_us: int) -> None:
        kind = DifferenceKind(decision.class_, decision.verdict, decision.reason, would.verdict, would.reason)
        if kind not in self.counts and len(self.counts) >= MOST_KINDS:
            kind = MORE
        self.counts[kind] = self.counts.get(kind, 0) + 1
        samples = self.samples.setdefault(kind, [])
        if len(samples) < SAMPLES:
            samples.append(Sample(request.upload_id, request.account.id, now_us))


def _applies(limit: LimitRule, class_: str) -> LimitRule:
    """The part of a limit that applies to a class: the limit with the rate of that class alone."""
    rate = limit.rates.get(class_)
    return replace(limit, rates={} if rate is None else {"": rate})
