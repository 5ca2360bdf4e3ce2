"""A decision in process that asks no store: the board, the last known standing of the account, buckets of this process, and with
or without a lease of what the class shares.

This is what a gate decides by while Redis is away. Pauses are in force, none of which holds the upload. The best of several
turns counts.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime

from gate.app.decide_alone import NO_STORE
from gate.app.leased_takes import LeasedTakes
from gate.app.without_store import WithoutStore
from gate.core.account import Account
from gate.core.decide import decide, live_pauses, may_hold, unheld
from gate.core.decision import Decision
from gate.core.limits.limit import Rate
from gate.core.media import Media
from gate.core.policy import LimitRule, Mode, OnStoreError, Subject, Unit
from gate.core.pseudonym import Pseudonyms
from gate.core.request import CheckRequest
from gate.core.standing import LastKnown, Standing
from gate.metrics import Counts
from gate.policyfile import load_policy
from gate.serve.clock import SystemClock
from gate.stores.local_buckets import LocalBuckets
from gate.stores.memory.accounts import MemoryAccountStore
from tests.bench.board import NOW_US, board_of
from tests.bench.report import BenchError, Spec
from tests.bench.rivals.own_loop import POLICY
from tests.bench.stage import Stage

DECISIONS = 20_000
TURNS = 5
PAUSES = 50
ACCOUNTS = 1_000

_DECISION = Spec("in-process decision from board, last known standing and own buckets (no lease)", "µs", 3, 1)
_LEASED = Spec("the same with a limit of the class more, from a lease", "µs")
_OF_CLASS = LimitRule(
    "class.uploads", Subject.CLASS, Unit.UPLOADS, Mode.ENFORCE, OnStoreError.CLOSED,
    {"regular": Rate(1_000_000, 1_000_000, 1_000_000)}, lease=2 * DECISIONS,
)  # fmt: skip
SPECS = (_DECISION, _LEASED)


def measure(stage: Stage, rounds: int) -> dict[Spec, list[float]]:
    """CPU of one decision, three limits of an account. Raises BenchError where one was not let in."""
    runs: dict[Spec, list[float]] = {_DECISION: [], _LEASED: []}
    for turn in range(rounds):
        stage.say(f"rivals: decisions in process, round {turn + 1} of {rounds}")
        costs = [(_cost(), _cost(leased=True)) for _ in range(TURNS)]
        for spec, some in zip(runs, zip(*costs, strict=True), strict=True):
            runs[spec].append(min(some))
    return runs


def _cost(leased: bool = False) -> float:
    policy, names, in_force = load_policy(POLICY), Pseudonyms(b"bench"), live_pauses(board_of(PAUSES), NOW_US)
    in_force_unheld = unheld(in_force)
    leases: LeasedTakes | None = None
    if leased:
        policy = replace(policy, limits=(*policy.limits, _OF_CLASS))
        store = MemoryAccountStore(SystemClock())
        leases = LeasedTakes(store, store, Counts(), lambda: 1, lambda: 0)
        leases.expect(policy.class_limits)
        for lease in leases.leases:
            lease.held_us = 2 * DECISIONS * lease.limit.unit_us
    known, without = LastKnown(), WithoutStore(LocalBuckets, leases)
    made = datetime(2020, 1, 1, tzinfo=UTC)
    requests = [
        CheckRequest(
            f"u-{n}",
            Account(f"b-{n % ACCOUNTS}", "regular", made),
            Media("image", 100_000),
            surface="post",
            country="DE",
        )
        for n in range(DECISIONS)
    ]
    for n in range(ACCOUNTS):
        known.remember(f"b-{n}", Standing(0.1, NOW_US, as_of_us=NOW_US))

    def decision(request: CheckRequest) -> Decision:
        class_ = policy.class_of(request.account, NOW_US)
        pauses = in_force_unheld
        if may_hold(in_force, request, class_) or request.account.id in policy.deny_accounts:
            pauses = in_force
            first = decide(request, class_, pauses, policy, NOW_US)
            if first is not None:
                return first
        take_request = policy.take_request(request, class_, names)
        own = without.take(policy, take_request, known.of(request.account.id), NOW_US)
        return decide(request, class_, pauses, policy, NOW_US, own, NO_STORE)

    began = time.process_time_ns()
    decisions = [decision(request) for request in requests]
    used = time.process_time_ns() - began
    if not all(each.verdict.lets_in for each in decisions):
        raise BenchError("a decision in process was refused, so refusals would be measured")
    return used / DECISIONS / 1_000
