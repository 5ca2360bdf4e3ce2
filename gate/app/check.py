"""The act of a check: decide by the board, else call the store once and decide by its answer; count, log. Always answers.

`gate.core.decide` knows the rules, and this module knows when to call it. When the store does not answer, or too many
checks wait for it, `gate.app.decide_alone` decides by what the gate itself knows.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import repeat
from typing import Any

from msgspec.structs import replace

from gate.app.back_pressure import BackPressure
from gate.app.batch_takes import BatchTakes
from gate.app.decide_alone import DecideAlone
from gate.app.dry_run import DryRun, First
from gate.app.policy_trial import PolicyTrial
from gate.app.recent_uploads import RecentUploads
from gate.app.refusing_limits import RefusingLimits
from gate.app.settle import Reports
from gate.app.sound_pauses import readable_board, sound_pauses
from gate.app.without_store import Leases, LocalTake, WithoutStore
from gate.core.decide import LivePauses, decide, live_pauses, may_hold, needs_store, unheld
from gate.core.decision import Decision, Stage, Verdict
from gate.core.hot_facts import HotFactTable
from gate.core.limits.limit import Room
from gate.core.limits.reservation import Unanswered
from gate.core.limits.take import TakeRequest, TakeResult
from gate.core.pause.board import Board
from gate.core.pause.index import refusing_risk
from gate.core.policy import MOST_ATTEMPTS, Policy
from gate.core.pseudonym import Pseudonyms
from gate.core.request import CheckRequest
from gate.core.standing import LastKnown
from gate.core.usual import usual_decision, usual_decisions
from gate.errors import StoreUnavailable
from gate.metrics import BOUNDS_US, OTHER_PAUSE, Counts
from gate.ports.clock import Clock
from gate.ports.decisions import DecisionLog
from gate.ports.takes import TakeStore

_Counted = tuple[Verdict, str, Stage, str, str | None, tuple[str, ...], tuple[str, ...], bool]
"""A decision as it is counted: verdict, class, stage, reason, pause, stores not asked, shadow limits, harmless or not."""
_Prepared = tuple[str, LivePauses, Decision | TakeRequest]
"""The class, the pauses, and either the decision or what the store is requested to take before there is one."""


class Check:
    """Decides about uploads. `board`, `policy` and `instances` may be replaced at any time, between two checks.

    `hot` holds the hot facts; the readers of their topic and of Redis add to it.

    `local` makes the buckets for a number of gates that share each limit. `back_pressure` makes batches wait. `reports`
    gets each check for which the store may have taken tokens although its caller was not told that the upload is let
    in. Checks are numbered from `first_attempt` on, so that no two of any gates share a number. While the store is
    away, checks use up the tokens of `leases`.
    """

    def __init__(
        self, policy: Policy, takes: TakeStore, clock: Clock, names: Pseudonyms, counts: Counts,
        timer_ns: Callable[[], int], local: Callable[[int], LocalTake], log: DecisionLog | None = None,
        back_pressure: BackPressure | None = None, reports: Reports | None = None, first_attempt: int = 0,
        leases: Leases[Any] | None = None,
    ) -> None:  # fmt: skip
        self.counts = counts
        self.recent = RecentUploads()
        self.hot = HotFactTable()
        self._takes = takes
        self._clock = clock
        self._names = names
        self._timer_ns = timer_ns
        self._without_store = WithoutStore(local, leases)
        self._last_known = LastKnown()
        self._log = log
        self._reports = reports
        self._unanswered = reports.unanswered if reports is not None else lambda notice: None
        self._dry_run = DryRun(counts, self._last_known)
        self._alone = DecideAlone(self._without_store, self._last_known, counts, self._unanswered)
        self._attempt = first_attempt
        self.trial: PolicyTrial | None = None
        """A candidate policy that is told of each decision, and changes none."""
        self._board = Board()
        self._pauses = self._unheld = LivePauses()
        self._refusing = RefusingLimits()
        room = back_pressure if back_pressure is not None else BackPressure()
        self._batches = BatchTakes(takes, room, self._refusing, self._unanswered)
        self.policy = policy

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self._policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self._policy = policy
        self._refusing.clear()
        self._takes.expect(policy.class_limits)
        if self._reports is not None:
            self._reports.expect(policy.class_limits)
        self._pause_reasons = frozenset(f"pause.{reason}" for reason in policy.reasons)

    @property
    def board(self) -> Board:
        """The pauses that checks obey."""
        return self._board

    @board.setter
    def board(self, board: Board) -> None:
        now_us = self._clock.now_us()
        try:
            self._pauses = live_pauses(board, now_us)
        except Exception:
            # a broken pause must not keep those beside it from being obeyed
            self.counts.faults["check"] += 1
            self._pauses = live_pauses(readable_board(board, now_us), now_us)
        self._unheld = unheld(self._pauses)
        self._refusing.clear()
        self._board = board

    @property
    def instances(self) -> int:
        """How many gates share the limits, as far as is known."""
        return self._without_store.instances

    @instances.setter
    def instances(self, instances: int) -> None:
        self._without_store.instances = instances

    async def check(
        self, request: CheckRequest, gone: Callable[[], bool] | None = None, ignored: Collection[str] = ()
    ) -> Decision:
        """The decision on one upload. Never raises; waits no longer than the store's own deadline.

        `gone` tells whether the caller has gone away meanwhile; the tokens of its check are then given back. `ignored`
        names the fields of the check that were not kept, for the log.
        """
        started_ns, now_us, policy = self._timer_ns(), self._clock.now_us(), self._policy
        class_, pauses, first = self._prepare(request, policy, now_us)
        answer: TakeResult | Exception | None = None
        if isinstance(first, Decision):
            decision = first
        else:
            try:
                down = self._takes.down
                answer = await self._takes.take(first) if down is None else StoreUnavailable(down)
                if isinstance(answer, TakeResult) and answer.limits_of is not None:
                    first = self._refusing.by_override(policy, first, answer.limits_of)
                    answer = await self._takes.take(first)
            except Exception as error:
                # whatever is wrong with the store or its client, the upload service waits for an answer
                answer = error
            except asyncio.CancelledError:
                self._unanswered(Unanswered(first.account, first.upload_id, first.attempt))
                raise
            decision = self._decide(request, class_, pauses, policy, now_us, first, answer)
            if decision.reserved and gone is not None and gone():
                self._unanswered(Unanswered(first.account, first.upload_id, first.attempt))
        self._note(request, decision, first, answer, policy, now_us, ignored)
        if self.trial is not None:
            self._try(request, decision, policy, pauses, answer, now_us)
        self._took(started_ns, 1)
        return decision

    async def check_many(
        self, requests: Sequence[CheckRequest], gone: Callable[[], Iterable[int]] | None = None,
        ignored: Sequence[Collection[str]] = (), *, waits: bool = True,
    ) -> list[Decision]:  # fmt: skip
        """The decisions in the order of `requests`, with one call of the store. Never raises.

        `gone` returns the numbers of those whose callers have gone away meanwhile; their tokens are given back. `ignored`
        has an entry for each request, or none at all.

        A batch of one caller `waits` while too many checks of other batches are with the store; see `BackPressure`. Checks
        of several callers, who each wait for one answer, do not.
        """
        started_ns, now_us, policy = self._timer_ns(), self._clock.now_us(), self._policy
        firsts, pauses_of = self._prepare_all(requests, policy, now_us)
        firsts, answers = await self._batches.answers(firsts, policy, waits=waits)
        decisions = self._decide_all(requests, firsts, pauses_of, answers, policy, now_us)
        for n in () if gone is None else gone():
            first = firsts[n]
            if decisions[n].reserved and not isinstance(first, Decision):
                self._unanswered(Unanswered(first.account, first.upload_id, first.attempt))
        if self.trial is not None:
            for request, answer, decision, pauses in zip(requests, answers, decisions, pauses_of, strict=False):
                self._try(request, decision, policy, pauses, answer, now_us)
        if self._pauses.dry_run.entries:
            self._count_dry_runs(requests, decisions, firsts, answers, policy, now_us)
        if self._log is not None:
            for request, decision, fields in zip(requests, decisions, ignored or repeat(()), strict=False):
                self._log.record(request, decision, now_us, fields)
        self._took(started_ns, len(decisions))
        return decisions

    async def peek(self, request: CheckRequest) -> tuple[Decision, tuple[Room, ...]]:
        """What `check` would decide, and the room in each bucket; it takes and counts nothing. Raises StoreUnavailable."""
        now_us, policy = self._clock.now_us(), self._policy
        class_, pauses, first = self._prepare(request, policy, now_us)
        asked = policy.take_request(request, class_, self._names) if isinstance(first, Decision) else first
        peeked = await self._takes.peek(asked)
        if peeked.result.limits_of is not None:
            asked = self._refusing.by_override(policy, asked, peeked.result.limits_of)
            peeked = await self._takes.peek(asked)
        if isinstance(first, Decision):
            return replace(first, room_at_us=peeked.result.now_us), peeked.rooms
        return decide(request, class_, pauses, policy, now_us, peeked.result), peeked.rooms

    def _prepare(self, request: CheckRequest, policy: Policy, now_us: int) -> _Prepared:
        class_, pauses, risk, decision = policy.class_of(request.account, now_us), self._pauses, None, None
        try:
            if not needs_store(pauses, policy):
                if may_hold(pauses, request, class_) or request.account.id in policy.deny_accounts:
                    decision = decide(request, class_, pauses, policy, now_us)
                else:
                    pauses = self._unheld  # the search for pauses takes longer than the rest of a decision
            if pauses.by_risk.entries:
                risk = refusing_risk(pauses.by_risk, request, class_, now_us)
        except Exception:
            # a pause that cannot be evaluated must not take the check down, nor the pauses beside it
            self.counts.faults["check"] += 1
            pauses = sound_pauses(self._pauses, request, class_, now_us)
            decision = decide(request, class_, pauses, policy, now_us)
            risk = refusing_risk(pauses.by_risk, request, class_, now_us)
        if decision is not None:
            return class_, pauses, decision
        self._attempt = attempt = self._attempt % MOST_ATTEMPTS + 1
        take_request = policy.take_request(request, class_, self._names, None, attempt)
        if risk is not None:
            take_request = replace(take_request, class_limits=self._refusing.of(take_request.class_limits, risk))
        facts = self.hot
        if facts.devices or facts.networks or facts.newcomers:
            take_request = self._meeting(request, take_request, now_us)
        return class_, pauses, take_request

    def _prepare_all(
        self, requests: Sequence[CheckRequest], policy: Policy, now_us: int
    ) -> tuple[Sequence[Decision | TakeRequest], Iterable[LivePauses]]:
        """`_prepare` for a batch: decisions and requests, and the pauses of each check."""
        pauses, facts = self._pauses, self.hot
        if not needs_store(pauses, policy):
            prepared = [self._prepare(request, policy, now_us) for request in requests]
            return [first for _, _, first in prepared], [pauses for _, pauses, _ in prepared]
        before, self._attempt = self._attempt, (self._attempt + len(requests) - 1) % MOST_ATTEMPTS + 1
        firsts = policy.take_requests(requests, self._names, now_us, before)
        if facts.devices or facts.networks or facts.newcomers:
            firsts = [self._meeting(*each, now_us) for each in zip(requests, firsts, strict=True)]
        return firsts, repeat(pauses)

    def _meeting(self, request: CheckRequest, take_request: TakeRequest, now_us: int) -> TakeRequest:
        """The request to the store, with the hot fact that applies to the upload."""
        hot = self.hot.met(take_request.device, take_request.ip, request.account.created_at, now_us)
        return take_request if hot is None else replace(take_request, hot=hot)

    def _decide(
        self, request: CheckRequest, class_: str, pauses: LivePauses, policy: Policy, now_us: int,
        take_request: TakeRequest, answer: TakeResult | Exception,
    ) -> Decision:  # fmt: skip
        """Decide by the store's answer, or by what the gate itself knows where there is none."""
        account = take_request.account
        if pauses is not self._pauses and pauses is not self._unheld:
            # a board that came into force meanwhile is acknowledged, and so obeyed
            _, pauses, _ = self._prepare(request, policy, now_us)
        if isinstance(answer, TakeResult):
            if not answer.repeated:  # a repeated answer has the standing of the first check
                self._last_known.remember(account, answer.standing)
            if needs_store(self._pauses, policy):
                usual = usual_decision(take_request, answer, self._pauses.rev, policy)
                if usual is not None:
                    return usual
            decision = decide(request, class_, pauses, policy, now_us, answer, (), take_request.class_limits)
            if answer.charged and not decision.reserved:
                self._unanswered(Unanswered(account, take_request.upload_id, take_request.attempt))
            return decision
        return self._alone.decide(request, class_, pauses, policy, now_us, take_request, answer)

    def _decide_all(
        self, requests: Sequence[CheckRequest], firsts: Sequence[Decision | TakeRequest], pauses_of: Iterable[LivePauses],
        answers: Sequence[TakeResult | Exception | None], policy: Policy, now_us: int,
    ) -> list[Decision]:  # fmt: skip
        """Decide the checks of a batch and count the decisions, the usual ones together."""
        usual: Iterable[Decision | None] = repeat(None)
        if needs_store(self._pauses, policy):
            usual, classes = usual_decisions(firsts, answers, self._pauses.rev, policy, self._last_known)
            for class_ in set(classes):
                n = classes.count(class_)
                self._count(Verdict.ALLOW, class_, Stage.DEFAULT, "allow", None, (), (), True, n, now_us)
            if len(classes) == len(firsts):
                return [decision for decision in usual if decision is not None]
        decisions: list[Decision] = []
        others: list[Decision] = []
        for request, first, answer, pauses, known in zip(requests, firsts, answers, pauses_of, usual, strict=False):
            if known is not None:
                decisions.append(known)
                continue
            if isinstance(first, Decision):
                decision = first
            else:
                assert answer is not None
                decision = self._decide(request, first.class_, pauses, policy, now_us, first, answer)
            decisions.append(decision)
            others.append(decision)
        self._count_all(others, policy, now_us)
        return decisions

    def _note(
        self, request: CheckRequest, decision: Decision, first: First, answer: TakeResult | Exception | None,
        policy: Policy, now_us: int, ignored: Collection[str],
    ) -> None:  # fmt: skip
        """Count the decision and hand it to the log. `policy` made it; the one in force now may lack its class."""
        class_, risk = decision.class_, decision.risk
        harmless = risk is None or risk < policy.thresholds[class_].lowest
        self._count(
            decision.verdict, class_, decision.stage, decision.reason, decision.pause, decision.degraded,
            decision.shadow, harmless, 1, now_us,
        )  # fmt: skip
        if self._pauses.dry_run.entries:
            self._count_dry_runs((request,), (decision,), (first,), (answer,), policy, now_us)
        if self._log is not None:
            self._log.record(request, decision, now_us, ignored)

    def _count_all(self, decisions: Sequence[Decision], policy: Policy, now_us: int) -> None:
        """Count decisions. Equal ones, which most of a batch are, are counted together."""
        thresholds = policy.thresholds
        alike: dict[_Counted, int] = {}
        for decision in decisions:
            class_, risk = decision.class_, decision.risk
            key = (
                decision.verdict, class_, decision.stage, decision.reason, decision.pause, decision.degraded,
                decision.shadow, risk is None or risk < thresholds[class_].lowest,
            )  # fmt: skip
            alike[key] = alike.get(key, 0) + 1
        for key, times in alike.items():
            self._count(*key, times, now_us)

    def _count_dry_runs(
        self, requests: Sequence[CheckRequest], decisions: Sequence[Decision], firsts: Sequence[First],
        answers: Sequence[TakeResult | Exception | None], policy: Policy, now_us: int,
    ) -> None:  # fmt: skip
        pauses, reasons, age_us = self._pauses.dry_run, self._pause_reasons, policy.max_score_age_us
        for each in zip(requests, decisions, firsts, answers, strict=True):
            self._dry_run.count(pauses, reasons, *each, age_us, now_us)

    def _count(
        self, verdict: Verdict, class_: str, stage: Stage, reason: str, pause: str | None, degraded: tuple[str, ...],
        shadow: tuple[str, ...], is_harmless: bool, times: int, now_us: int,
    ) -> None:  # fmt: skip
        """Count decisions that are alike in all that is counted."""
        if pause is not None and reason not in self._pause_reasons:
            reason = OTHER_PAUSE
        counts, recent = self.counts, self.recent
        key = (verdict, class_, stage, reason)
        counts.decisions[key] = counts.decisions.get(key, 0) + times
        if now_us >= recent.next_us:
            recent.turn(now_us)
        upload = (class_, verdict.lets_in, is_harmless)
        recent.current[upload] = recent.current.get(upload, 0) + times
        if degraded:
            counts.degraded += times
        for limit in shadow:
            counts.shadow[limit] = counts.shadow.get(limit, 0) + times

    def _try(
        self, request: CheckRequest, decision: Decision, policy: Policy, pauses: LivePauses,
        answer: TakeResult | Exception | None, now_us: int,
    ) -> None:  # fmt: skip
        """Show the trial one decision. A trial that fails or whose time is over ends; the decision stands."""
        trial = self.trial
        if trial is None or now_us >= trial.until_us:
            return
        try:
            whole = self._pauses if pauses is self._unheld else pauses  # another policy may give it another class
            trial.compare(request, decision, policy, whole, answer, now_us)
        except Exception:
            self.counts.faults["trial"] += 1
            self.trial = None

    def _took(self, started_ns: int, checks: int) -> None:
        """Count the time since `started_ns`, once for each of the checks that were decided together."""
        took_us = (self._timer_ns() - started_ns) // 1000
        self.counts.buckets[bisect_left(BOUNDS_US, took_us)] += checks
        self.counts.check_us += took_us * checks
