"""A policy trial: what it counts, and that it has no way to change a decision or to take tokens."""

from __future__ import annotations

import ast
import asyncio
import inspect
import time
import typing
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.app import policy_trial
from gate.app.check import Check
from gate.app.policy_trial import PolicyTrial
from gate.core.account import Account
from gate.core.decision import Decision
from gate.core.duration import DAY_US
from gate.core.limits.limit import Rate
from gate.core.media import Media
from gate.core.override import Override
from gate.core.policy import Policy
from gate.core.pseudonym import Pseudonyms
from gate.core.request import CheckRequest
from gate.core.score import Score, Stamp
from gate.metrics import Counts
from gate.policyfile import load_policy
from gate.records.score import with_bytes
from gate.stores.local_buckets import LocalBuckets
from gate.stores.memory.accounts import MemoryAccountStore

START_US = 1_800_000_000_000_000
PACKAGED = load_policy(None)
RAID = load_policy(Path("raid"))
DENIES_ALL = replace(PACKAGED, hash="all", deny_accounts=frozenset(f"a-{n}" for n in range(6)))


class Stepping:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.at_us = START_US

    def now_us(self) -> int:
        return self.at_us


def a_check(clock: Stepping, policy: Policy = PACKAGED) -> tuple[Check, MemoryAccountStore]:
    store = MemoryAccountStore(clock)
    return Check(policy, store, clock, Pseudonyms(b"s"), Counts(), time.perf_counter_ns, LocalBuckets), store


def a_trial(candidate: Policy, until_us: int = START_US + (1 << 50)) -> PolicyTrial:
    return PolicyTrial(candidate, Pseudonyms(b"s"), LocalBuckets, 1, START_US, until_us)


def a_request(upload: str, account: str = "a-1", class_: str = "new") -> CheckRequest:
    return CheckRequest(
        upload, Account(account, class_=class_), Media("image", bytes=1000), ip="203.0.113.9", device="d"
    )


async def decided(check: Check, uploads: int, account: str = "a-1") -> list[str]:
    return [(await check.check(a_request(f"u-{n}", account))).verdict.value for n in range(uploads)]


def counted(trial: PolicyTrial) -> dict[tuple[str, ...], int]:
    return {tuple(map(str, kind)): count for kind, count in trial.counts.items()}


async def test_a_tighter_limit_is_counted_by_class_and_reason_with_samples() -> None:
    check, _ = a_check(Stepping())
    check.trial = trial = a_trial(RAID)

    verdicts = await decided(check, 7)

    assert verdicts == ["allow"] * 5 + ["throttle"] * 2
    assert trial.checks == 7
    assert counted(trial) == {("new", "allow", "allow", "throttle", "account.uploads.minute"): 3}
    assert [sample.upload_id for samples in trial.samples.values() for sample in samples] == ["u-2", "u-3", "u-4"]


async def test_a_looser_limit_is_counted_too() -> None:
    check, _ = a_check(Stepping(), RAID)
    check.trial = trial = a_trial(PACKAGED)

    await decided(check, 4)

    assert counted(trial) == {("new", "throttle", "account.uploads.minute", "allow", "allow"): 2}


async def test_other_thresholds_and_deny_lists_are_judged_by_the_score_the_store_knew() -> None:
    check, store = a_check(Stepping())
    score = Score("a-1", 0.6, 0.0, 0.6, (), START_US, START_US, Stamp("e", 1), "s")
    await store.put_scores([with_bytes(score)])
    check.trial = trial = a_trial(RAID)
    await decided(check, 1)
    check.trial = denying = a_trial(DENIES_ALL)
    await decided(check, 1)

    assert counted(trial) == {("new", "review", "score.review", "challenge", "score.challenge"): 1}
    assert counted(denying) == {("new", "review", "score.review", "deny", "deny_list"): 1}


async def test_an_account_with_the_limits_of_another_class_is_tried_by_the_limits_of_that_class() -> None:
    check, store = a_check(Stepping())
    await store.put_override("a-1", Override(False, "r", "ann", START_US + DAY_US, limits="trusted"))
    limits = tuple(
        replace(limit, rates={**limit.rates, "trusted": Rate(1, DAY_US, 1)})
        if limit.name == "account.uploads.minute"
        else limit
        for limit in PACKAGED.limits
    )
    check.trial = trial = a_trial(replace(PACKAGED, hash="other", limits=limits))

    await decided(check, 3)

    assert counted(trial) == {("new", "allow", "allow", "throttle", "account.uploads.minute"): 2}


async def test_the_same_upload_again_takes_nothing_from_the_trials_buckets() -> None:
    check, _ = a_check(Stepping())
    check.trial = trial = a_trial(RAID)

    for _ in range(9):
        await check.check(a_request("u-1"))

    assert trial.counts == {}


async def test_batches_are_tried_as_single_checks_are() -> None:
    check, _ = a_check(Stepping())
    check.trial = trial = a_trial(RAID)

    await check.check_many([a_request(f"u-{n}") for n in range(7)])

    assert counted(trial) == {("new", "allow", "allow", "throttle", "account.uploads.minute"): 3}


async def test_a_trial_that_is_over_or_fails_leaves_the_decision_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    check, _ = a_check(Stepping())
    check.trial = over = a_trial(RAID, START_US)
    first = await decided(check, 3, "a-2")
    check.trial = a_trial(RAID)
    monkeypatch.setattr(PolicyTrial, "compare", lambda *_: 1 / 0)
    second = await decided(check, 3, "a-3")

    assert (over.checks, first, second) == (0, ["allow"] * 3, ["allow"] * 3)
    assert check.trial is None
    assert check.counts.faults["trial"] == 1


async def test_kinds_of_differences_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_trial, "MOST_KINDS", 1)
    check, _ = a_check(Stepping(), RAID)
    check.trial = trial = a_trial(DENIES_ALL)

    await decided(check, 4)

    assert sorted(trial.counts.values()) == [2, 2]
    assert policy_trial.MORE in trial.counts


steps = st.lists(
    st.tuples(
        st.integers(0, 5), st.integers(0, 5), st.sampled_from(["new", "regular", "nobody"]), st.integers(0, 40_000_000)
    ),
    max_size=40,
)
changes = st.sampled_from(
    [
        RAID,
        DENIES_ALL,
        replace(PACKAGED, hash="none", limits=()),
        replace(
            PACKAGED,
            hash="one",
            limits=tuple(
                replace(each, rates=dict.fromkeys(each.rates, Rate(1, 1_000_000, 1))) for each in PACKAGED.limits
            ),
        ),
    ]
)


async def run(
    make: Callable[[], PolicyTrial | None], given_steps: list[tuple[int, int, str, int]]
) -> tuple[object, ...]:
    """All decisions, the state of the store and the counters after the steps, with or without a trial."""
    clock = Stepping()
    check, store = a_check(clock)
    check.trial = make()
    decisions: list[Decision] = []
    for upload, account, class_, wait_us in given_steps:
        clock.at_us += wait_us
        decisions.append(await check.check(a_request(f"u-{upload}", f"a-{account}", class_)))
    return decisions, store._tats, store._reservations.keys(), check.counts.decisions, check.counts.faults


@given(steps, changes)
def test_a_trial_changes_no_decision_and_no_bucket(
    given_steps: list[tuple[int, int, str, int]], candidate: Policy
) -> None:
    without = asyncio.run(run(lambda: None, given_steps))
    beside = asyncio.run(run(lambda: a_trial(candidate), given_steps))

    assert beside == without


@given(steps)
def test_a_policy_tried_beside_itself_differs_in_nothing(given_steps: list[tuple[int, int, str, int]]) -> None:
    trial = a_trial(replace(PACKAGED, hash="same"))

    asyncio.run(run(lambda: trial, given_steps))

    assert trial.checks == len(given_steps)
    assert trial.counts == {}


def test_a_trial_is_given_no_store_and_can_answer_nothing() -> None:
    """It imports no port, store or way to wait, takes none as an argument, and returns nothing to the check."""
    tree = ast.parse(inspect.getsource(policy_trial))
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    waiting = [node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef | ast.Await)]

    ours = {name for name in imported if name.startswith("gate.")}
    assert all(name.startswith(("gate.core.", "gate.app.without_store")) for name in ours), ours
    assert imported - ours <= {"__future__", "collections.abc", "dataclasses", "typing"}
    assert waiting == []
    assert typing.get_type_hints(PolicyTrial.compare)["return"] is type(None)
