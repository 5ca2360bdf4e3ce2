"""Laws over whatever may come: tokens move if and only if the upload goes ahead, shadow cannot refuse, nothing raises."""

import asyncio
import time
from dataclasses import replace as copy_with
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gate.app.check import Check
from gate.core.account import Account
from gate.core.decide import (
    BOARD_STAGES,
    STORE_STAGES,
    LivePauses,
    Shed,
    StoreAnswer,
    decide,
    live_pauses,
    may_hold,
    unheld,
)
from gate.core.decision import Stage, Verdict
from gate.core.duration import DAY_US
from gate.core.hot_facts import HotKind, SharedFeature
from gate.core.limits.gcra import Refusal
from gate.core.limits.limit import Rate
from gate.core.limits.take import TakeRequest, TakeResult
from gate.core.media import Media
from gate.core.override import Override
from gate.core.pause.board import Board
from gate.core.pause.entry import Pause
from gate.core.pause.index import strictest
from gate.core.pause.scope import Action, Scope
from gate.core.policy import (
    LimitRule,
    Mode,
    OnStoreError,
    Policy,
    Subject,
    Thresholds,
    Unit,
)
from gate.core.pseudonym import Pseudonyms
from gate.core.request import CheckRequest
from gate.core.score import Score, Stamp
from gate.core.standing import Standing
from gate.metrics import Counts
from gate.records.score import with_bytes
from gate.stores.local_buckets import LocalBuckets
from gate.stores.memory.accounts import MemoryAccountStore
from tests.pause_reference import holding

NOW_US = 1_800_000_000_000_000
HOUR_US = 3_600_000_000
CLASSES = ("regular", "new")


class Standstill:
    def now_us(self) -> int:
        return NOW_US


class Watching(MemoryAccountStore):
    """Remembers the last answer, None where it was not asked."""

    answered: TakeResult | None = None

    async def take(self, request: TakeRequest) -> TakeResult:
        self.answered = await super().take(request)
        return self.answered


risks = st.none() | st.floats(0, 1)
thresholds = st.lists(risks, min_size=3, max_size=3).map(
    lambda values: Thresholds(*(values if None in values else sorted(values)))  # type: ignore[type-var]
)
limits = st.lists(
    st.builds(
        LimitRule,
        st.sampled_from(["one", "two", "three"]),
        st.sampled_from(Subject),
        st.sampled_from(Unit),
        st.sampled_from(Mode),
        st.sampled_from(OnStoreError),
        st.dictionaries(
            st.sampled_from(CLASSES), st.builds(Rate, st.integers(1, 5), st.just(HOUR_US), st.integers(1, 3))
        ),
    ),
    max_size=3,
    unique_by=lambda limit: limit.name,
).map(tuple)
policies = st.builds(
    Policy,
    st.just("hash"), st.just(CLASSES), st.just("regular"), st.just("new"), st.just(HOUR_US), st.none(),
    st.fixed_dictionaries(dict.fromkeys(CLASSES, thresholds)), limits,
    st.frozensets(st.sampled_from(["a", "b", "c", "d"]), max_size=1), st.just(("raid",)), st.just(HOUR_US),
    st.just(HOUR_US), st.just(50_000),
)  # fmt: skip
scopes = st.builds(
    Scope,
    st.frozensets(st.sampled_from(CLASSES), max_size=1),
    st.frozensets(st.sampled_from(["post"]), max_size=1),
)
pauses = st.builds(
    lambda id_, rev, scope, action, start, lasts: Pause(
        id_, rev, scope, action, "raid", "", "ann", NOW_US + start, NOW_US + start + lasts
    ),
    st.text("pq", min_size=1, max_size=2), st.integers(1, 9), scopes, st.sampled_from(Action),
    st.integers(-100, 1), st.integers(1, 200),
)  # fmt: skip
boards = st.builds(
    lambda shared, glass: Board({pause.id: pause for pause in shared}, tuple(glass)),
    st.lists(pauses, max_size=2), st.lists(pauses, max_size=1),
)  # fmt: skip
by_risk = st.builds(
    lambda pause, risk: copy_with(pause, id=f"r{pause.id}", scope=copy_with(pause.scope, risk_from=risk)),
    pauses, st.floats(0, 1),
)  # fmt: skip
boards_by_risk = st.builds(
    lambda board, risky: copy_with(board, pauses={**board.pauses, **{pause.id: pause for pause in risky}}),
    boards, st.lists(by_risk, max_size=2),
)  # fmt: skip
requests = st.builds(
    CheckRequest,
    st.text("uvw", min_size=1, max_size=2),
    st.builds(Account, st.sampled_from("abc"), st.none() | st.sampled_from((*CLASSES, "made up"))),
    st.builds(Media, st.just("image"), st.none() | st.integers(0, 3)),
    st.none() | st.just("post"),
    st.none() | st.sampled_from(["203.0.113.9", "2001:db8::1"]),
    st.none() | st.just("d"),
)
scores = st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 1), st.integers(-2 * HOUR_US, 0)), max_size=3)
overrides = st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.integers(-1, 1)), max_size=2)


async def gate_with(
    policy: Policy, board: Board, known: list[tuple[str, float, int]], staff: list[tuple[str, bool, int]],
    hot: float | None, half_life_us: int,
) -> tuple[Check, Watching]:  # fmt: skip
    store = Watching(Standstill())
    await store.put_scores(
        [
            *map(
                with_bytes,
                [
                    Score(a, 0, 0, risk, (), NOW_US + at, NOW_US, Stamp("e", n), "s", {}, half_life_us, 0.02, n != 2)
                    for n, (a, risk, at) in enumerate(known)
                ],
            )
        ]
    )
    for account, allow, ends in staff:
        await store.put_override(account, Override(allow, "r", "ann", NOW_US + ends))
    check = Check(policy, store, Standstill(), Pseudonyms(b"salt"), Counts(), time.perf_counter_ns, LocalBuckets)
    check.board = board
    if hot is not None:
        device = Pseudonyms(b"salt").of_device("d")
        check.hot.put(SharedFeature(HotKind.DEVICE, device, 30, 0, hot, NOW_US // DAY_US + 1), NOW_US)
    return check, store


async def play(
    policy: Policy, board: Board, known: list[tuple[str, float, int]], staff: list[tuple[str, bool, int]],
    asked: list[CheckRequest], hot: float | None = None, half_life_us: int = 0,
) -> int:  # fmt: skip
    check, store = await gate_with(policy, board, known, staff, hot, half_life_us)
    for request in asked:
        store.answered = None
        decision = await check.check(request)
        charged = store.answered is not None and store.answered.charged
        assert charged == decision.verdict.lets_in, (decision, store.answered)
        enforced = {limit.name for limit in policy.limits if limit.mode is Mode.ENFORCE}
        assert decision.stage != "bucket" or decision.reason in enforced
    assert check.counts.faults["check"] == check.counts.store_errors["fault"] == 0
    return sum(check.counts.decisions.values())


@given(policies, boards, scores, overrides, st.lists(requests, min_size=1, max_size=8))
def test_tokens_move_if_and_only_if_the_upload_goes_ahead_and_shadow_never_refuses(
    policy: Policy, board: Board, known: list[tuple[str, float, int]], staff: list[tuple[str, bool, int]],
    asked: list[CheckRequest],
) -> None:  # fmt: skip
    decided = asyncio.run(play(policy, board, known, staff, asked))

    assert decided == len(asked)


young = st.builds(
    lambda request, created_at: replace(request, account=replace(request.account, created_at=created_at)),
    requests,
    st.none() | st.just(datetime.fromtimestamp(NOW_US / 1e6, UTC)),
)


@given(
    policies, boards_by_risk, scores, overrides, st.lists(young, min_size=1, max_size=8), st.floats(0, 1),
    st.sampled_from([0, HOUR_US // 2]),
)  # fmt: skip
def test_tokens_move_if_and_only_if_the_upload_goes_ahead_also_where_scores_decay_devices_are_hot_and_pauses_go_by_risk(
    policy: Policy, board: Board, known: list[tuple[str, float, int]], staff: list[tuple[str, bool, int]],
    asked: list[CheckRequest], hot: float, half_life_us: int,
) -> None:  # fmt: skip
    decided = asyncio.run(play(policy, board, known, staff, asked, hot, half_life_us))

    assert decided == len(asked)


@given(
    policies, st.just(Board()) | boards_by_risk, scores, overrides, st.lists(young, min_size=1, max_size=8),
    st.none() | st.floats(0, 1),
)  # fmt: skip
def test_a_batch_is_decided_and_counted_as_its_checks_would_be_one_by_one(
    policy: Policy, board: Board, known: list[tuple[str, float, int]], staff: list[tuple[str, bool, int]],
    asked: list[CheckRequest], hot: float | None,
) -> None:  # fmt: skip
    async def decided(together: bool) -> tuple[object, ...]:
        check, _ = await gate_with(policy, board, known, staff, hot, 0)
        decisions = await check.check_many(asked) if together else [await check.check(each) for each in asked]
        return decisions, check.counts.decisions, check.counts.shadow, check.recent.current

    assert asyncio.run(decided(together=True)) == asyncio.run(decided(together=False))


@given(policies, boards, requests)
def test_what_is_decided_without_asking_the_store_is_always_a_refusal(
    policy: Policy, board: Board, request: CheckRequest
) -> None:
    class_ = policy.class_of(request.account, NOW_US)

    decision = decide(request, class_, live_pauses(board, NOW_US), policy, NOW_US)

    assert decision is None or not decision.verdict.lets_in
    stops = [p for p in (*board.pauses.values(), *board.break_glass) if p.action is Action.STOP and p.active(NOW_US)]
    if any(p.scope.matches(class_, request.surface, "image", None) for p in stops):
        assert decision is not None


standings = st.builds(
    Standing,
    risks,
    st.none() | st.integers(NOW_US - 2 * HOUR_US, NOW_US),
    st.none() | st.builds(Override, st.booleans(), st.just("r"), st.just("ann"), st.integers(NOW_US - 1, NOW_US + 1)),
)
answers = st.builds(
    TakeResult,
    standings,
    st.booleans(),
    st.booleans(),
    st.none() | st.builds(Refusal, st.just("one"), st.integers(1, 9)),
    st.just(()),
    st.just(NOW_US),
) | st.builds(Shed, standings, st.just(2_000_000), st.just(NOW_US))


@given(policies, boards, requests, answers)
def test_the_first_stage_of_the_table_that_refuses_decides(
    policy: Policy, board: Board, request: CheckRequest, answer: StoreAnswer
) -> None:
    class_, pauses = policy.class_of(request.account, NOW_US), live_pauses(board, NOW_US)

    decision = decide(request, class_, pauses, policy, NOW_US, answer)

    said = [
        *(stage(request, class_, pauses, policy, NOW_US) for stage in BOARD_STAGES.values()),
        *(stage(answer, class_, policy) for stage in STORE_STAGES.values()),
    ]
    results = [result for result in said if result is not None]
    expected = next((result for result in results if not result.verdict.lets_in), results[0] if results else None)
    assert decision.stage is (Stage.DEFAULT if expected is None else expected.stage)
    assert decision.verdict is (Verdict.ALLOW if expected is None else expected.verdict)


@given(policies, boards_by_risk, requests, st.none() | answers)
def test_what_no_pause_without_a_score_may_hold_is_decided_alike_without_those_pauses(
    policy: Policy, board: Board, request: CheckRequest, answer: StoreAnswer | None
) -> None:
    class_, pauses = policy.class_of(request.account, NOW_US), live_pauses(board, NOW_US)
    left = pauses if may_hold(pauses, request, class_) else unheld(pauses)

    assert decide(request, class_, left, policy, NOW_US, answer) == decide(
        request, class_, pauses, policy, NOW_US, answer
    )


@given(policies, st.sampled_from(CLASSES), st.floats(0, 1))
def test_the_store_is_told_to_take_nothing_for_exactly_those_scores_that_refuse(
    policy: Policy, class_: str, risk: float
) -> None:
    request = CheckRequest("u", Account("e", class_), Media("image"))
    answer = TakeResult(Standing(risk, NOW_US), True, False, None, (), NOW_US)
    refuse_at = policy.take_request(request, class_, Pseudonyms(b"salt")).class_limits.refuse_at

    decision = decide(request, class_, LivePauses(), policy, NOW_US, answer)

    assert (refuse_at is not None and risk >= refuse_at) == (not decision.verdict.lets_in)


@given(policies, boards, requests)
def test_the_pauses_kept_for_a_class_are_all_that_can_match_it(
    policy: Policy, board: Board, request: CheckRequest
) -> None:
    class_, pauses = policy.class_of(request.account, NOW_US), live_pauses(board, NOW_US)

    hit = strictest(pauses.shared, request, class_, NOW_US)

    assert (None if hit is None else hit.pause) == holding(board.pauses.values(), request, class_, NOW_US)
