"""What a gate does with the first upload of an account that was created seconds ago, where hot facts of newcomers tell."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from gate.app.check import Check
from gate.core.account import Account
from gate.core.decision import Decision
from gate.core.duration import DAY_US
from gate.core.hot_facts import HotKind, SharedFeature, newcomer_name
from gate.core.media import Media
from gate.core.pseudonym import Pseudonyms
from gate.core.request import CheckRequest
from gate.core.score import Score, Stamp
from gate.metrics import Counts
from gate.policyfile import load_policy
from gate.records.score import with_bytes
from gate.stores.local_buckets import LocalBuckets
from gate.stores.memory.accounts import MemoryAccountStore

NOW_US = 20_000 * DAY_US + 5
NOW = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=NOW_US)
FACT = SharedFeature(HotKind.NEWCOMER, newcomer_name(30), 0, 0, 0.5, 20_007)


class Standstill:
    def now_us(self) -> int:
        return NOW_US


def a_check(store: MemoryAccountStore, *facts: SharedFeature) -> Check:
    check = Check(
        load_policy(None),
        store,
        Standstill(),
        Pseudonyms(b"salt"),
        Counts(),
        time.perf_counter_ns,
        LocalBuckets,
        None,
    )
    for fact in facts:
        check.hot.put(fact, NOW_US)
    return check


def first_upload(account: str, age: timedelta | None) -> CheckRequest:
    created = None if age is None else NOW - age
    return CheckRequest(
        f"u-{account}", Account(account, created_at=created), Media("image"), ip="203.0.113.9", device=f"d-{account}"
    )


async def decided(check: Check, request: CheckRequest, in_a_batch: bool) -> Decision:
    return (await check.check_many([request]))[0] if in_a_batch else await check.check(request)


both_ways = pytest.mark.parametrize("in_a_batch", [False, True])


@both_ways
async def test_the_upload_of_a_newborn_account_is_let_in_and_reviewed_and_the_fact_is_named(in_a_batch: bool) -> None:
    check = a_check(MemoryAccountStore(Standstill()), FACT)

    decision = await decided(check, first_upload("a", timedelta(seconds=3)), in_a_batch)

    assert (decision.verdict, decision.reason) == ("review", "score.review")
    assert decision.hot == f"newcomer:{newcomer_name(30)}"


@both_ways
@pytest.mark.parametrize("age", [timedelta(seconds=30), timedelta(days=300), None])
async def test_older_accounts_and_those_of_unknown_age_are_not_met(age: timedelta | None, in_a_batch: bool) -> None:
    check = a_check(MemoryAccountStore(Standstill()), FACT)

    assert (await decided(check, first_upload("a", age), in_a_batch)).verdict == "allow"


@both_ways
async def test_without_such_a_fact_nobody_is_met(in_a_batch: bool) -> None:
    check = a_check(MemoryAccountStore(Standstill()))

    assert (await decided(check, first_upload("a", timedelta(0)), in_a_batch)).verdict == "allow"


@both_ways
async def test_a_newborn_account_with_a_score_is_judged_by_its_score(in_a_batch: bool) -> None:
    store = MemoryAccountStore(Standstill())
    await store.put_scores([with_bytes(Score("a", 0.1, 0.1, 0.1, (), NOW_US, NOW_US, Stamp("e", 1), "card"))])
    check = a_check(store, FACT)

    assert (await decided(check, first_upload("a", timedelta(seconds=3)), in_a_batch)).verdict == "allow"
    assert (await decided(check, first_upload("b", timedelta(seconds=3)), in_a_batch)).verdict == "review"
