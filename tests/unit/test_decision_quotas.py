"""A refusal by a limit holds that limit as it was taken from, whatever it is on and whoever decides: store, outage, batch."""

import time
from collections.abc import Mapping
from dataclasses import replace

import pytest

from gate.app.check import Check
from gate.app.leased_takes import LeasedTakes
from gate.core.account import Account
from gate.core.decision import Decision, Stage
from gate.core.limits.limit import Rate
from gate.core.media import Media
from gate.core.override import Override
from gate.core.pause.board import Board
from gate.core.policy import LimitRule, Mode, OnStoreError, Policy, Subject, Unit
from gate.core.pseudonym import Pseudonyms
from gate.core.request import CheckRequest
from gate.errors import StoreUnavailable
from gate.metrics import Counts
from gate.policyfile import load_policy
from gate.ports.takes import TakeStore
from gate.stores.local_buckets import LocalBuckets
from gate.stores.memory.accounts import MemoryAccountStore
from tests.unit.test_check_act import NOW_US, Broken, Standstill, a_pause

DAY_US = 86_400_000_000
RATES = {"new": Rate(2, DAY_US, 2), "regular": Rate(4, DAY_US, 6)}


def a_rule(
    subject: Subject, unit: Unit = Unit.UPLOADS, lease: int | None = 0, on_store_error: OnStoreError = OnStoreError.LOCAL,
    reserved: Mapping[str, float] | None = None, rates: Mapping[str, Rate] | None = None,
) -> LimitRule:  # fmt: skip
    return LimitRule(
        "tight", subject, unit, Mode.ENFORCE, on_store_error, rates or RATES, lease=lease, reserved=reserved or {}
    )


def a_policy(rule: LimitRule) -> Policy:
    wide = LimitRule(
        "wide", Subject.ACCOUNT, Unit.UPLOADS, Mode.ENFORCE, OnStoreError.LOCAL,
        dict.fromkeys(RATES, Rate(1_000, DAY_US, 1_000)),
    )  # fmt: skip
    return replace(load_policy(None), limits=(wide, rule))


def a_check(policy: Policy, takes: TakeStore) -> Check:
    return Check(policy, takes, Standstill(), Pseudonyms(b"salt"), Counts(), time.perf_counter_ns, LocalBuckets)


def an_upload(n: int, class_: str = "regular", size: int = 1) -> CheckRequest:
    return CheckRequest(f"u-{n}", Account("a", class_), Media("image", size), ip="203.0.113.9", device="d")


async def refused_by(check: Check, count: int, class_: str = "regular", *, batch: bool = False) -> Decision:
    uploads = [an_upload(n, class_) for n in range(count)]
    decisions = await check.check_many(uploads) if batch else [await check.check(each) for each in uploads]
    assert [decision.refused_by for decision in decisions[:-1]] == [None] * (count - 1)
    assert all(decision.verdict.lets_in for decision in decisions[:-1])
    assert (decisions[-1].stage, decisions[-1].reason) == (Stage.BUCKET, "tight")
    return decisions[-1]


def rate_of(decision: Decision) -> Rate:
    assert decision.refused_by is not None
    assert decision.refused_by.name == decision.reason
    return decision.refused_by.rate


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("unit", [Unit.UPLOADS, Unit.BYTES, Unit.IN_FLIGHT])
@pytest.mark.parametrize("subject", list(Subject))
async def test_a_refusal_holds_the_limit_that_refused(subject: Subject, unit: Unit, batch: bool) -> None:
    check = a_check(a_policy(a_rule(subject, unit)), MemoryAccountStore(Standstill()))

    decision = await refused_by(check, 7, batch=batch)

    assert rate_of(decision) == RATES["regular"]


@pytest.mark.parametrize("batch", [False, True])
async def test_an_account_with_the_limits_of_another_class_is_refused_by_those(batch: bool) -> None:
    store = MemoryAccountStore(Standstill())
    check = a_check(a_policy(a_rule(Subject.ACCOUNT)), store)
    await store.put_override("a", Override(False, "known", "ann", NOW_US + DAY_US, "new"))

    decision = await refused_by(check, 3, batch=batch)

    assert rate_of(decision) == RATES["new"]


@pytest.mark.parametrize("mode", [OnStoreError.LOCAL, OnStoreError.CLOSED])
async def test_without_the_store_a_refusal_holds_the_whole_limit_that_the_gates_share(mode: OnStoreError) -> None:
    check = a_check(a_policy(a_rule(Subject.ACCOUNT, on_store_error=mode)), Broken(StoreUnavailable("down")))
    check.instances = 2

    decision = await refused_by(check, 4 if mode is OnStoreError.LOCAL else 1)

    assert rate_of(decision) == RATES["regular"]


async def test_a_refusal_that_is_repeated_holds_its_limit_again() -> None:
    check = a_check(a_policy(a_rule(Subject.ACCOUNT)), MemoryAccountStore(Standstill()))
    await refused_by(check, 7)

    repeated = await check.check(an_upload(6))

    assert rate_of(repeated) == RATES["regular"]


async def test_a_budget_with_a_reserve_refuses_by_what_the_classes_share() -> None:
    rates = dict.fromkeys(RATES, Rate(10, DAY_US, 10))
    check = a_check(
        a_policy(a_rule(Subject.PLATFORM, reserved={"new": 0.4}, rates=rates)), MemoryAccountStore(Standstill())
    )

    decision = await refused_by(check, 7)

    assert rate_of(decision) == Rate(6, DAY_US, 6)


async def test_a_leased_budget_refuses_by_its_whole_limit() -> None:
    store, counts = MemoryAccountStore(Standstill()), Counts()
    takes = LeasedTakes(store, store, counts, lambda: 1, lambda: 0)
    check = a_check(a_policy(a_rule(Subject.PLATFORM, lease=2)), takes)

    first = await check.check(an_upload(0))
    await takes.renew()
    rest = [await check.check(an_upload(n)) for n in range(1, 7)]

    assert first.verdict.lets_in
    assert rate_of(rest[-1]) == RATES["regular"]


async def test_a_refusal_by_a_pause_holds_no_limit() -> None:
    check = a_check(a_policy(a_rule(Subject.ACCOUNT)), MemoryAccountStore(Standstill()))
    check.board = Board({"p-1": a_pause()})

    assert (await check.check(an_upload(0))).refused_by is None
