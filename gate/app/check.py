"""The act of a check: board, one store call, decide, count, hand to the log. It always answers.

While the account store does not answer, each limit does what its `on_store_error` says; pauses, the deny list and the
break-glass file decide as ever. What decides is `gate.core.decide`; nothing here knows a rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from gate.core.decide import StageResult, conclude, rule_first
from gate.core.decision import Decision
from gate.core.duration import HOUR_US
from gate.core.limits.gcra import Refusal
from gate.core.limits.limit import EntityBuckets, EntityLimits
from gate.core.limits.take import TakeRequest, TakeResult
from gate.core.pause.board import Board, Pause, strictest
from gate.core.policy import OnStoreError, Policy
from gate.core.pseudonym import Pseudonyms
from gate.core.request import CheckRequest
from gate.core.standing import Standing
from gate.errors import StoreUnavailable
from gate.metrics import Counts
from gate.ports.clock import Clock
from gate.ports.decisions import DecisionLog
from gate.ports.takes import TakeStore

CLOSED_RETRY_US: Final = 5_000_000
"""When to come back to a limit that refuses because the store is down."""


class LocalTake(Protocol):
    """Buckets of this process alone, each of a limit's share, for the time the store does not answer."""

    def take(
        self, buckets: tuple[EntityBuckets, ...], size: int, now_us: int
    ) -> tuple[Refusal | None, tuple[str, ...]]:
        """Take all or none; the refusal to wait longest for, and shadow limits that would have refused."""
        ...


@dataclass(frozen=True, slots=True)
class _InForce:
    """A policy with the failure mode of each of its limits."""

    policy: Policy
    on_store_error: Mapping[str, OnStoreError]

    def without_store(self, request: TakeRequest) -> tuple[str | None, tuple[EntityBuckets, ...]]:
        """The limit that refuses because the store is away, and else what is take_result from buckets of our own."""
        local: list[EntityBuckets] = []
        for buckets in request.buckets:
            limits = buckets.limits.limits
            for limit in limits:
                if self.on_store_error[limit.name] is OnStoreError.CLOSED and not limit.shadow:
                    return limit.name, ()
            kept = tuple(limit for limit in limits if self.on_store_error[limit.name] is OnStoreError.LOCAL)
            if kept:
                local.append(EntityBuckets(buckets.entity, EntityLimits(kept)))
        return None, tuple(local)


_Prepared = tuple[str, StageResult | None, TakeRequest | None]
"""The class, what the first stages say, and what the store is requested to take; None: it need not be called."""


class Check:
    """Decides uploads. `board`, `policy` and `instances` may be replaced at any time, between two checks.

    `local` makes the buckets for a number of gates that share each limit.
    """

    def __init__(
        self,
        policy: Policy,
        takes: TakeStore,
        clock: Clock,
        salt: bytes,
        counts: Counts,
        timer_ns: Callable[[], int],
        local: Callable[[int], LocalTake],
        log: DecisionLog | None = None,
    ) -> None:
        self.counts = counts
        self._takes = takes
        self._clock = clock
        self._names = Pseudonyms(salt)
        self._timer_ns = timer_ns
        self._make_local = local
        self._instances = 1
        self._local = local(1)
        self._log = log
        self._board = Board()
        self._board_rev = 0  # asking the board takes longer the more pauses it holds
        self._in_force = _in_force(policy)

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self._in_force.policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self._in_force = _in_force(policy)

    @property
    def board(self) -> Board:
        """The pauses that checks are held against."""
        return self._board

    @board.setter
    def board(self, board: Board) -> None:
        self._board = _relevant(board, self._clock.now_us())
        self._board_rev = board.rev

    @property
    def instances(self) -> int:
        """How many gates share the limits, as far as is known."""
        return self._instances

    @instances.setter
    def instances(self, instances: int) -> None:
        if instances != self._instances:
            self._instances = instances
            self._local = self._make_local(instances)

    async def check(self, request: CheckRequest) -> Decision:
        """The decision on one upload. Never raises; waits no longer than the store's own deadline."""
        started_ns = self._timer_ns()
        in_force, board_rev, now_us = self._in_force, self._board_rev, self._clock.now_us()
        class_, first, take_request = self._prepare(request, in_force.policy, now_us)
        take_result: TakeResult | None = None
        degraded = False
        if take_request is not None:
            try:
                take_result = await self._takes.take(take_request)
            except Exception as error:
                # whatever is wrong with the store or its client, the upload service waits for an answer
                take_result, degraded = self._without_store(take_request, in_force, now_us, error), True
        decision = conclude(request, class_, board_rev, first, take_result, in_force.policy, degraded)
        self.counts.took((self._timer_ns() - started_ns) // 1000)
        self._note(request, decision, in_force.policy, now_us)
        return decision

    async def check_many(self, requests: Sequence[CheckRequest]) -> list[Decision]:
        """The decisions in the order of `requests`, with one call of the store. Never raises."""
        started_ns = self._timer_ns()
        in_force, board_rev, now_us = self._in_force, self._board_rev, self._clock.now_us()
        policy = in_force.policy
        prepared = [self._prepare(request, policy, now_us) for request in requests]
        answers = iter(await self._answers([each for _, _, each in prepared if each is not None]))
        decisions: list[Decision] = []
        for request, (class_, first, take_request) in zip(requests, prepared, strict=True):
            take_result: TakeResult | None = None
            degraded = False
            if take_request is not None:
                answer = next(answers)
                degraded = not isinstance(answer, TakeResult)
                take_result = (
                    answer
                    if isinstance(answer, TakeResult)
                    else self._without_store(take_request, in_force, now_us, answer)
                )
            decision = conclude(request, class_, board_rev, first, take_result, policy, degraded)
            self._note(request, decision, policy, now_us)
            decisions.append(decision)
        self.counts.took((self._timer_ns() - started_ns) // 1000, len(decisions))
        return decisions

    def _prepare(self, request: CheckRequest, policy: Policy, now_us: int) -> _Prepared:
        class_ = policy.class_of(request.account, now_us)
        try:
            first = rule_first(request, class_, self._board, policy, now_us)
        except Exception:
            # a pause that cannot be evaluated must not take the check down, nor the pauses beside it
            self.counts.faults["check"] += 1
            first = rule_first(request, class_, _sound(self._board, request, class_, now_us), policy, now_us)
        if first is not None and not first.verdict.lets_in:
            return class_, first, None
        return class_, first, policy.take_request(request, class_, self._names)

    def _note(self, request: CheckRequest, decision: Decision, policy: Policy, now_us: int) -> None:
        self.counts.decided(decision, policy.reasons)
        if self._log is not None:
            self._log.record(request, decision, now_us)

    async def _answers(self, requests: list[TakeRequest]) -> list[TakeResult | Exception]:
        """The store's answers to a batch, in its order."""
        try:
            return await self._takes.take_many(requests)
        except Exception as error:
            return [error for _ in requests]

    def _without_store(self, request: TakeRequest, in_force: _InForce, now_us: int, error: Exception) -> TakeResult:
        """What the limits' failure modes say in the store's place."""
        self.counts.store_errors["unavailable" if isinstance(error, StoreUnavailable) else "fault"] += 1
        closed, local = in_force.without_store(request)
        if closed is not None:
            return TakeResult(Standing(), False, False, Refusal(closed, CLOSED_RETRY_US), (), now_us)
        refusal, shadow = self._local.take(local, request.size, now_us)
        return TakeResult(Standing(), refusal is None, False, refusal, shadow, now_us)


def _in_force(policy: Policy) -> _InForce:
    return _InForce(
        policy,
        {limit.name: limit.on_store_error for limit in policy.limits},
    )


def _relevant(board: Board, now_us: int) -> Board:
    """The board without pauses that are over, so that a check looks at few; an hour's grace for a clock set back."""
    top = board.rev
    kept = {
        key: pause
        for key, pause in board.pauses.items()
        if pause.rev == top or (pause.released_at_us is None and now_us < pause.expires_at_us + HOUR_US)
    }
    return Board(kept, board.break_glass)


def _sound(board: Board, request: CheckRequest, class_: str, now_us: int) -> Board:
    """The board without pauses whose evaluation raises."""

    def fine(pause: Pause) -> bool:
        try:
            strictest((pause,), class_, request.surface, request.media.kind, request.country, now_us)
        except Exception:
            return False
        return True

    pauses = {key: pause for key, pause in board.pauses.items() if fine(pause)}
    return Board(pauses, tuple(pause for pause in board.break_glass if fine(pause)))
