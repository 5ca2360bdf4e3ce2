"""A pause in dry run counts the uploads that it would hold if it were enforced, and no others."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace as copy_with

from hypothesis import given
from hypothesis import strategies as st

from gate.app.check import Check
from gate.core.account import Account
from gate.core.decision import Decision
from gate.core.duration import DAY_US, HOUR_US
from gate.core.hot_facts import HotFactTable, HotKind, SharedFeature
from gate.core.limits.take import ClassLimits, Peek, TakeRequest, TakeResult
from gate.core.media import Media
from gate.core.override import Override
from gate.core.pause.board import Board
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, PauseMode, Scope
from gate.core.policy import Policy, Thresholds
from gate.core.pseudonym import Pseudonyms
from gate.core.request import CheckRequest
from gate.core.standing import Standing
from gate.errors import StoreUnavailable
from gate.metrics import Counts
from gate.stores.local_buckets import LocalBuckets

NOW_US = 1_800_000_000_000_000
NAMES = Pseudonyms(b"salt")
POLICY = Policy(
    "hash", ("new",), "new", None, DAY_US, None, {"new": Thresholds()}, (), frozenset(), ("raid",), DAY_US, HOUR_US, 50_000,
)  # fmt: skip


class Still:
    def now_us(self) -> int:
        return NOW_US


class OneAnswer:
    """A take store that lets every upload in, for an account of one standing; it goes away once it is told to."""

    down: str | None = None

    def __init__(self, standing: Standing) -> None:
        self.standing = standing

    async def take(self, request: TakeRequest) -> TakeResult:
        return TakeResult(self.standing.meeting(request.hot), True, False, None, (), NOW_US)

    async def take_many(self, requests: Sequence[TakeRequest]) -> list[TakeResult | Exception]:
        return [await self.take(request) for request in requests]

    async def peek(self, request: TakeRequest) -> Peek:
        raise StoreUnavailable("never called")

    def expect(self, classes: Sequence[ClassLimits]) -> None:
        pass


risks = st.none() | st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0])
overrides = st.none() | st.builds(
    Override, st.booleans(), st.just("r"), st.just("ann"), st.sampled_from([NOW_US, NOW_US + 1, NOW_US - DAY_US]),
    st.sampled_from([None, "new"]),
)  # fmt: skip
standings = st.builds(
    lambda risk, age_us, override, half_life_us, acts: Standing(
        risk, None if risk is None else NOW_US - age_us, override, half_life_us, 0.1, None, acts
    ),
    risks, st.sampled_from([-1, 0, HOUR_US, DAY_US, DAY_US + 1]), overrides, st.sampled_from([0, HOUR_US]), st.booleans(),
)  # fmt: skip
hot_risks = st.none() | st.sampled_from([0.4, 0.6, 0.9])
pauses = st.builds(
    lambda risk_from, percent, action, released, ramp_us: Pause(
        "p-1", 1, Scope(risk_from=risk_from), action, "raid", "", "ann", None, NOW_US + HOUR_US, released,
        percent=percent, ramp_us=ramp_us,
    ),
    risks, st.sampled_from([0, 50, 100]), st.sampled_from(Action), st.sampled_from([None, None, NOW_US - 1]), st.just(0),
)  # fmt: skip


def a_gate(store: OneAnswer, pause: Pause, hot_risk: float | None) -> Check:
    check = Check(POLICY, store, Still(), NAMES, Counts(), time.perf_counter_ns, LocalBuckets)
    check.board = Board({pause.id: pause})
    if hot_risk is not None:
        check.hot = HotFactTable(10)
        today = NOW_US // DAY_US
        check.hot.put(SharedFeature(HotKind.DEVICE, NAMES.of_device("d-1"), 30, 0, hot_risk, today + 7), NOW_US)
    return check


@given(standings, pauses, hot_risks, st.booleans(), st.booleans())
def test_a_dry_run_counts_what_the_same_pause_would_hold_if_it_were_enforced(
    standing: Standing, pause: Pause, hot_risk: float | None, is_batch: bool, is_away: bool
) -> None:
    async def decided(check: Check, store: OneAnswer) -> Decision:
        request = CheckRequest("u-1", Account("a-1"), Media("image"), device="d-1")
        await check.check(request)  # a gate that has met the account knows its standing without the store, too
        check.counts.dry_run_pauses.clear()
        store.down = "away" if is_away else None
        return (await check.check_many([request]))[0] if is_batch else await check.check(request)

    store = OneAnswer(standing)
    enforcing = asyncio.run(decided(a_gate(store, pause, hot_risk), store))
    store.down = None
    trial = a_gate(store, copy_with(pause, mode=PauseMode.DRY_RUN), hot_risk)
    tried = asyncio.run(decided(trial, store))

    holds = enforcing.pause is not None and tried.verdict.lets_in
    assert trial.counts.dry_run_pauses == ({"p-1": 1} if holds else {})
