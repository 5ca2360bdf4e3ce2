"""The act of a check: what it does when the store is away, when a pause is broken, and how often it charges."""

import asyncio
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import cast

import pytest

from gate.app.check import Check
from gate.app.settle import Reports
from gate.core.account import Account
from gate.core.decision import Decision, Stage, Verdict
from gate.core.limits.limit import Rate
from gate.core.limits.take import ClassLimits, Peek, TakeRequest, TakeResult
from gate.core.media import Media
from gate.core.override import Override
from gate.core.pause.board import Board
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, Scope
from gate.core.policy import (
    LimitRule,
    Mode,
    OnStoreError,
    Policy,
    Subject,
    Unit,
)
from gate.core.pseudonym import Pseudonyms
from gate.core.request import CheckRequest
from gate.core.score import Score, Stamp
from gate.core.standing import LastKnown, Standing
from gate.errors import StoreOverloaded, StoreUnavailable
from gate.metrics import Counts
from gate.policyfile import load_policy
from gate.ports.scores import EncodedScore
from gate.records.peek import peek_answer
from gate.records.score import with_bytes
from gate.stores.local_buckets import LocalBuckets
from gate.stores.memory.accounts import MemoryAccountStore

NOW_US = 1_800_000_000_000_000


class Standstill:
    def now_us(self) -> int:
        return NOW_US


class Broken:
    """An account store that raises whatever it is given."""

    down: str | None = None

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.called = 0

    async def take(self, request: TakeRequest) -> TakeResult:
        self.called += 1
        raise self.error

    async def take_many(self, requests: Sequence[TakeRequest]) -> list[TakeResult | Exception]:
        self.called += len(requests)
        return [self.error for _ in requests]

    async def peek(self, request: TakeRequest) -> Peek:
        raise self.error

    def expect(self, classes: Sequence[ClassLimits]) -> None:
        pass

    async def put_scores(self, scores: Sequence[EncodedScore]) -> int:
        raise self.error

    async def scores(self, accounts: Sequence[str]) -> list[Score | None]:
        raise self.error

    async def put_override(self, account: str, override: Override) -> None:
        raise self.error


class Remembering:
    """A decision log."""

    def __init__(self) -> None:
        self.seen: list[Decision] = []

    def record(self, request: CheckRequest, decision: Decision, now_us: int, ignored: Collection[str] = ()) -> None:
        self.seen.append(decision)


def a_request(upload: str = "u-1", account: str = "a-1") -> CheckRequest:
    return CheckRequest(upload, Account(account), Media("image"), ip="203.0.113.9", device="d-1")


def a_policy(on_store_error: OnStoreError, mode: Mode = Mode.ENFORCE) -> Policy:
    limit = LimitRule(
        "account", Subject.ACCOUNT, Unit.UPLOADS, mode, on_store_error, {"regular": Rate(4, 60_000_000, 4)}
    )
    return replace(load_policy(None), limits=(limit,))


def a_check(store: Broken | MemoryAccountStore, policy: Policy | None = None, log: Remembering | None = None) -> Check:
    given = load_policy(None) if policy is None else policy
    return Check(given, store, Standstill(), Pseudonyms(b"salt"), Counts(), time.perf_counter_ns, LocalBuckets, log)


def a_pause(**given: object) -> Pause:
    values: dict[str, object] = {
        "id": "p-1", "rev": 3, "scope": Scope(), "action": Action.STOP, "reason": "raid", "text": "", "owner": "ann",
        "starts_at_us": NOW_US - 1, "expires_at_us": NOW_US + 60_000_000,
    }  # fmt: skip
    return Pause(**{**values, **given})  # type: ignore[arg-type]


async def test_of_a_hundred_at_once_exactly_the_burst_goes_through() -> None:
    check = a_check(MemoryAccountStore(Standstill()), a_policy(OnStoreError.LOCAL))

    decisions = await asyncio.gather(*(check.check(a_request(f"u-{n}")) for n in range(100)))

    assert sum(decision.verdict is Verdict.ALLOW for decision in decisions) == 4
    assert sum(decision.reason == "account" for decision in decisions) == 96


async def test_a_batch_is_answered_in_its_order_and_charged_once_for_each_id() -> None:
    check = a_check(MemoryAccountStore(Standstill()), a_policy(OnStoreError.LOCAL))
    requests = [a_request("u-1"), a_request("u-2", "b"), a_request("u-1"), *(a_request(f"v-{n}") for n in range(4))]

    decisions = await check.check_many(requests)

    assert [decision.upload_id for decision in decisions] == [request.upload_id for request in requests]
    assert [decision.verdict.lets_in for decision in decisions] == [True, True, True, True, True, True, False]


async def test_without_the_store_a_local_limit_keeps_its_burst_by_itself() -> None:
    check = a_check(Broken(StoreUnavailable("down")), a_policy(OnStoreError.LOCAL))

    decisions = [await check.check(a_request(f"u-{n}")) for n in range(6)]

    assert [decision.verdict.lets_in for decision in decisions] == [True] * 4 + [False] * 2
    assert all(decision.degraded for decision in decisions)
    assert check.counts.store_errors["unavailable"] == check.counts.degraded == 6


async def test_without_the_store_a_gate_keeps_its_share_among_several() -> None:
    check = a_check(Broken(StoreUnavailable("down")), a_policy(OnStoreError.LOCAL))
    check.instances = 2

    decisions = [await check.check(a_request(f"u-{n}")) for n in range(6)]

    assert sum(decision.verdict.lets_in for decision in decisions) == 2


async def test_without_the_store_an_open_limit_lets_in_and_a_closed_one_refuses_for_seconds() -> None:
    open_ = a_check(Broken(StoreUnavailable("down")), a_policy(OnStoreError.OPEN))
    closed = a_check(Broken(StoreUnavailable("down")), a_policy(OnStoreError.CLOSED))

    let_in = [await open_.check(a_request(f"u-{n}")) for n in range(9)]
    refused = await closed.check(a_request())

    assert all(decision.verdict.lets_in for decision in let_in)
    assert (refused.verdict, refused.reason) == (Verdict.THROTTLE, "account")
    assert 1_000_000 <= cast("int", refused.retry_after_us) <= 10_000_000


async def test_a_closed_limit_in_shadow_cannot_refuse() -> None:
    check = a_check(Broken(StoreUnavailable("down")), a_policy(OnStoreError.CLOSED, Mode.SHADOW))

    decisions = [await check.check(a_request(f"u-{n}")) for n in range(9)]

    assert all(decision.verdict.lets_in for decision in decisions)


async def test_a_fault_of_the_stores_client_is_counted_and_still_answered() -> None:
    check = a_check(Broken(RuntimeError("a bug")))

    decision = await check.check(a_request())

    assert decision.degraded
    assert check.counts.store_errors["fault"] == 1


async def test_a_paused_upload_never_reaches_the_store() -> None:
    store = Broken(StoreUnavailable("down"))
    check = a_check(store)
    check.board = Board({"p-1": a_pause()})

    decision = await check.check(a_request())

    assert (decision.verdict, decision.pause, decision.degraded) == (Verdict.PAUSED, "p-1", ())
    assert store.called == 0


async def test_a_pause_that_cannot_be_evaluated_takes_down_neither_the_check_nor_the_pause_beside_it() -> None:
    check = a_check(MemoryAccountStore(Standstill()))
    broken = a_pause(id="p-0", scope=None)
    check.board = Board({"p-0": broken, "p-1": a_pause()})

    decision = await check.check(a_request())

    assert decision.pause == "p-1"
    assert check.counts.faults["check"] == 1


async def test_a_pause_that_breaks_at_the_check_itself_leaves_the_others_in_force() -> None:
    check = a_check(MemoryAccountStore(Standstill()))
    broken = a_pause(id="p-9", starts_at_us="yesterday")
    check.board = Board({"p-9": broken, "p-1": a_pause()})

    decision = await check.check(a_request())

    assert decision.pause == "p-1"
    assert check.counts.faults["check"] == 1


async def test_a_new_policy_counts_from_the_next_check_on() -> None:
    check = a_check(MemoryAccountStore(Standstill()))
    before = await check.check(a_request())
    check.policy = replace(check.policy, hash="other", deny_accounts=frozenset({"a-1"}))

    after = await check.check(a_request("u-2"))

    assert (before.verdict, after.verdict, after.policy) == (Verdict.ALLOW, Verdict.DENY, "other")


async def test_a_check_under_way_while_the_policy_changes_is_decided_by_the_old_one() -> None:
    class Slow(Broken):
        async def take(self, request: TakeRequest) -> TakeResult:
            check.policy = replace(check.policy, hash="other", limits=())
            return await super().take(request)

    check = a_check(Slow(StoreUnavailable("down")), a_policy(OnStoreError.CLOSED))

    decision = await check.check(a_request())

    assert (decision.reason, check.policy.hash) == ("account", "other")
    assert decision.policy != "other"


@pytest.mark.parametrize("in_a_batch", [False, True])
async def test_a_check_of_a_class_that_a_new_policy_drops_meanwhile_is_answered(in_a_batch: bool) -> None:
    class Slow(MemoryAccountStore):
        async def take(self, request: TakeRequest) -> TakeResult:
            kept = {name: each for name, each in check.policy.thresholds.items() if name != "business"}
            check.policy = replace(check.policy, classes=tuple(kept), thresholds=kept, limits=())
            return await super().take(request)

    store = Slow(Standstill())
    await store.put_scores([with_bytes(Score("a-1", 0.0, 0.1, 0.1, (), NOW_US, NOW_US, Stamp("e", 1), "s"))])
    check = a_check(store)
    asked = CheckRequest("u-1", Account("a-1", class_="business"), Media("image"))

    (decision,) = await check.check_many([asked]) if in_a_batch else [await check.check(asked)]

    assert (decision.verdict, decision.class_) == (Verdict.ALLOW, "business")
    assert not check.policy.has_class("business")


@pytest.mark.parametrize("in_a_batch", [False, True])
async def test_limits_by_override_are_those_of_the_override_also_while_a_pause_looks_at_the_risk(
    in_a_batch: bool,
) -> None:
    store = MemoryAccountStore(Standstill())
    rates = {"regular": Rate(1, 60_000_000, 1), "trusted": Rate(9, 60_000_000, 9)}
    limit = LimitRule("account", Subject.ACCOUNT, Unit.UPLOADS, Mode.ENFORCE, OnStoreError.LOCAL, rates)
    check = a_check(store, replace(load_policy(None), limits=(limit,)))
    await store.put_override("a-1", Override(False, "r", "ann", NOW_US + 60_000_000, limits="trusted"))
    check.board = Board({"p-1": a_pause(scope=Scope(risk_from=0.3))})
    requests = [a_request(f"u-{n}") for n in range(4)]

    calm = await check.check_many(requests) if in_a_batch else [await check.check(each) for each in requests]
    _, rooms = await check.peek(a_request("u-8"))
    await store.put_scores([with_bytes(Score("a-1", 0.0, 0.4, 0.4, (), NOW_US, NOW_US, Stamp("e", 1), "s"))])
    risky = await check.check(a_request("u-9"))

    assert [each.verdict for each in calm] == [Verdict.ALLOW] * 4
    assert risky.pause == "p-1"
    assert [room.left(NOW_US) for room in rooms] == [5]


async def test_a_peek_at_a_paused_upload_shows_what_is_left_all_the_same() -> None:
    check = a_check(MemoryAccountStore(Standstill()))
    await check.check(a_request("u-1"))
    check.board = Board({"p-1": a_pause()})

    decision, rooms = await check.peek(a_request("u-2"))

    told = {left.limit: (left.left, left.burst) for left in peek_answer(decision, rooms).limits}
    assert decision.pause == "p-1"
    assert all(left in (burst, burst - 1) and left for left, burst in told.values())


async def test_every_decision_is_handed_to_the_log_once() -> None:
    log = Remembering()
    check = a_check(MemoryAccountStore(Standstill()), log=log)

    await check.check_many([a_request("u-1"), a_request("u-2")])
    await check.check(a_request("u-3"))

    assert [decision.upload_id for decision in log.seen] == ["u-1", "u-2", "u-3"]


class Failing(MemoryAccountStore):
    """A memory store that answers until it is given an error to raise."""

    error: Exception | None = None

    async def take(self, request: TakeRequest) -> TakeResult:
        if self.error is not None:
            raise self.error
        return await super().take(request)

    async def take_many(self, requests: Sequence[TakeRequest]) -> list[TakeResult | Exception]:
        if self.error is not None:
            return [self.error for _ in requests]
        return await super().take_many(requests)


async def test_a_store_that_says_it_is_down_is_not_tried_and_the_check_is_decided_as_if_it_had_failed() -> None:
    failing = Broken(StoreUnavailable("Redis is away"))
    policy = load_policy(None)
    tried, down = a_check(failing, policy), Broken(StoreUnavailable("never raised"))
    down.down = "Redis is away"
    spared = a_check(down, policy)

    decisions = [await each.check(a_request(f"u-{n}")) for n in range(17) for each in (tried, spared)]

    assert (failing.called, down.called) == (17, 0)
    assert decisions[::2] == decisions[1::2]
    assert {decision.verdict for decision in decisions} == {Verdict.ALLOW, Verdict.THROTTLE}
    assert {decision.degraded for decision in decisions} == {("store",)}
    assert tried.counts.store_errors == spared.counts.store_errors


async def a_store_with_a_bot(risk: float = 0.99, age_us: int = 0) -> Failing:
    """A store that has scored account `bot`."""
    store = Failing(Standstill())
    at_us = NOW_US - age_us
    await store.put_scores([with_bytes(Score("bot", risk, 0.0, risk, (), at_us, at_us, Stamp("e", 1), "s"))])
    return store


async def test_a_storm_that_the_store_sheds_lets_nobody_in_and_says_when_to_come_back() -> None:
    store = await a_store_with_a_bot()
    check = a_check(store)
    before = await check.check(a_request("u-0", "bot"))
    store.error = StoreOverloaded("too much waits")

    single = [await check.check(a_request(f"u-{n}", account)) for n in range(50) for account in ("bot", "other")]
    batch = await check.check_many([a_request(f"v-{n}", "bot") for n in range(50)])

    assert before.reason == "score.deny"
    assert sum(decision.verdict.lets_in for decision in (*single, *batch)) == 0
    assert {(d.account, d.stage) for d in single} == {("bot", Stage.SCORE), ("other", Stage.OVERLOAD)}
    assert {d.retry_after_us for d in single if d.account == "other"} == {2_000_000}
    assert {d.degraded for d in (*single, *batch)} == {("store",)}
    assert check.counts.shed == 150
    assert sum(check.counts.store_errors.values()) == 0


async def test_a_pause_decides_over_the_overload() -> None:
    check = a_check(Broken(StoreOverloaded("too much waits")))
    check.board = Board({"p-1": a_pause(action=Action.CHALLENGE)})

    decision = await check.check(a_request())

    assert (decision.stage, decision.degraded) == (Stage.PAUSE, ())


async def test_an_account_denied_by_score_stays_denied_while_the_store_is_away_and_takes_no_tokens() -> None:
    store = await a_store_with_a_bot()
    check = a_check(store, a_policy(OnStoreError.LOCAL))
    await check.check(a_request("u-0", "bot"))
    store.error = StoreUnavailable("down")

    denied = [await check.check(a_request(f"u-{n}", "bot")) for n in range(6)]
    others = [await check.check(a_request(f"u-{n}", "other")) for n in range(6)]

    assert {decision.reason for decision in denied} == {"score.deny"}
    assert [decision.verdict.lets_in for decision in others] == [True] * 4 + [False] * 2


async def test_a_last_known_score_counts_no_longer_than_the_policy_says() -> None:
    store = await a_store_with_a_bot(age_us=1_000)
    check = a_check(store)
    await check.check(a_request("u-0", "bot"))
    store.error = StoreUnavailable("down")

    known = await check.check(a_request("u-1", "bot"))
    check.policy = replace(check.policy, max_score_age_us=999)
    too_old = await check.check(a_request("u-2", "bot"))

    assert (known.reason, too_old.reason) == ("score.deny", "allow")


async def test_a_last_known_override_holds_without_the_store_until_it_ends() -> None:
    store = Failing(Standstill())
    await store.put_override("banned", Override(False, "r", "ann", NOW_US + 1))
    await store.put_override("known", Override(True, "r", "ann", NOW_US + 1))
    check = a_check(store, a_policy(OnStoreError.CLOSED))
    for account in ("banned", "known"):
        await check.check(a_request("u-0", account))
    store.error = StoreUnavailable("down")

    decisions = {account: await check.check(a_request("u-1", account)) for account in ("banned", "known", "other")}

    assert {account: decision.reason for account, decision in decisions.items()} == {
        "banned": "override.deny", "known": "override.allow", "other": "account",
    }  # fmt: skip


@pytest.mark.parametrize("is_batch", [False, True])
@pytest.mark.parametrize("was_met", [False, True], ids=["the store answers the first call alone", "it answers none"])
async def test_limits_that_staff_gave_an_account_hold_without_the_store(was_met: bool, is_batch: bool) -> None:
    class Once(Failing):
        """Says whose limits apply, and goes away before the second call when `error` comes after the first."""

        async def take(self, request: TakeRequest) -> TakeResult:
            if request.class_limits.name == "regular" and not was_met:
                return await MemoryAccountStore.take(self, request)
            return await super().take(request)

        async def take_many(self, requests: Sequence[TakeRequest]) -> list[TakeResult | Exception]:
            found: list[TakeResult | Exception] = []
            for request in requests:
                try:
                    found.append(await self.take(request))
                except StoreUnavailable as error:
                    found.append(error)
            return found

    store, policy = Once(Standstill()), a_policy(OnStoreError.LOCAL)
    rates = {"regular": Rate(1, 60_000_000, 1), "trusted": Rate(4, 60_000_000, 4)}
    check = a_check(store, replace(policy, limits=(replace(policy.limits[0], rates=rates),)))
    await store.put_override("a-1", Override(False, "r", "ann", NOW_US + 60_000_000, limits="trusted"))
    await check.check(a_request("u-0"))
    store.error = StoreUnavailable("down")

    requests = [a_request(f"u-{n}") for n in range(1, 7)]
    decisions = await check.check_many(requests) if is_batch else [await check.check(each) for each in requests]

    assert [decision.verdict.lets_in for decision in decisions] == [True] * 4 + [False] * 2
    assert all(decision.degraded for decision in decisions)


def test_last_known_standings_are_bounded_and_the_recent_half_is_always_there() -> None:
    known = LastKnown(100)

    for n in range(1_000):
        known.remember(f"a-{n}", Standing(0.5, n))

    assert len(known) <= 100
    assert [known.of(f"a-{n}").at_us for n in range(950, 1_000)] == list(range(950, 1_000))
    assert known.of("a-1") == Standing()


def test_an_account_of_which_nothing_is_known_any_more_is_forgotten() -> None:
    known = LastKnown(4)
    known.remember("a", Standing(0.9, 1))
    known.remember("b", Standing(0.9, 1))
    known.remember("c", Standing(0.9, 1))

    known.remember("a", Standing())
    known.remember("c", Standing())

    assert (known.of("a"), known.of("b").risk, known.of("c")) == (Standing(), 0.9, Standing())


class Held(MemoryAccountStore):
    """A store that answers when it is told to, having taken already."""

    def __init__(self) -> None:
        super().__init__(Standstill())
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def take(self, request: TakeRequest) -> TakeResult:
        found = await super().take(request)
        self.asked.set()
        await self.may_answer.wait()
        return found

    async def take_many(self, requests: Sequence[TakeRequest]) -> list[TakeResult | Exception]:
        found = await super().take_many(requests)
        self.asked.set()
        await self.may_answer.wait()
        return found


@pytest.mark.parametrize("together", [False, True])
async def test_a_pause_that_comes_into_force_while_the_store_is_asked_holds_the_upload_and_gives_its_tokens_back(
    together: bool,
) -> None:
    store = Held()
    reports = Reports(store, Counts())
    check = Check(
        load_policy(None), store, Standstill(), Pseudonyms(b"salt"), Counts(), time.perf_counter_ns, LocalBuckets,
        reports=reports,
    )  # fmt: skip
    asking = asyncio.ensure_future(check.check_many([a_request()]) if together else check.check(a_request()))
    await store.asked.wait()

    check.board = Board({"p-1": a_pause()})
    store.may_answer.set()
    answer = await asking
    decision = answer[0] if isinstance(answer, list) else answer

    assert (decision.verdict, decision.pause, decision.board_rev) == (Verdict.PAUSED, "p-1", 3)
    assert not decision.reserved
    assert reports.waiting == 1
