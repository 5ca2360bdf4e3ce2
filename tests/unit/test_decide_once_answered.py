"""What a decision says of the store's answer, which checks need the store, and which of two scores is the stricter."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as changed

from gate.core.account import Account
from gate.core.decide import LivePauses, decide, live_pauses, needs_store, unheld
from gate.core.decision import Decision, Stage, Verdict
from gate.core.hot_facts import MetFact
from gate.core.limits.gcra import Refusal
from gate.core.limits.limit import Limit, Rate, Room
from gate.core.limits.take import TakeRequest, TakeResult
from gate.core.media import Media
from gate.core.override import Override
from gate.core.pause.board import Board
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, PauseMode, Scope
from gate.core.policy import Policy, Thresholds
from gate.core.request import CheckRequest
from gate.core.standing import UNKNOWN, LastKnown, Standing
from gate.core.usual import usual_decision, usual_decisions

NOW_US = 1_800_000_000_000_000
DAY_US = 86_400_000_000
UPLOAD = CheckRequest("u", Account("a"), Media("image"))
POLICY = Policy(
    "hash", ("new",), "new", "new", DAY_US, None, {"new": Thresholds(0.5, 0.7, 0.9)},
    (), frozenset(), ("raid",), DAY_US, DAY_US, 50_000,
)  # fmt: skip
DENY_LIST = Policy(
    "hash", ("new",), "new", "new", DAY_US, None, {"new": Thresholds(0.5, 0.7, 0.9)},
    (), frozenset(("b",)), ("raid",), DAY_US, DAY_US, 50_000,
)  # fmt: skip
NONE = LivePauses()
TAKEN = TakeResult(UNKNOWN, True, False, None, (), NOW_US)
STOP = Pause("p-1", 7, Scope(), Action.STOP, "raid", "", "ann", None, NOW_US + DAY_US)
BY_RISK = replace(STOP, id="p-2", scope=Scope(risk_from=0.8))
DRY_RUN = replace(STOP, id="p-3", mode=PauseMode.DRY_RUN)


def pauses(*each: Pause) -> LivePauses:
    return live_pauses(Board({pause.id: pause for pause in each}), NOW_US)


def test_without_a_board_there_are_no_pauses() -> None:
    assert (NONE.rev, NONE.are_none) == (0, True)
    assert not pauses(STOP).are_none
    assert not pauses(BY_RISK).are_none
    assert pauses(DRY_RUN).are_none


def test_pauses_are_told_apart_by_what_they_read_and_whether_they_act() -> None:
    live = live_pauses(
        Board({each.id: each for each in (STOP, BY_RISK, DRY_RUN)}, (replace(BY_RISK, id="p-4"),)), NOW_US
    )

    assert [entry.pause.id for entry in live.shared.entries] == ["p-1"]
    assert [entry.pause.id for entry in live.by_risk.entries] == ["p-4", "p-2"]
    assert [entry.pause.id for entry in live.dry_run.entries] == ["p-3"]
    assert live.break_glass.entries == ()
    assert unheld(live).shared.entries == ()
    assert unheld(live).by_risk is live.by_risk
    assert unheld(live).dry_run is live.dry_run


def test_a_check_needs_the_store_unless_a_pause_or_a_deny_list_may_decide_it() -> None:
    assert needs_store(NONE, POLICY)
    assert not needs_store(pauses(STOP), POLICY)
    assert not needs_store(NONE, DENY_LIST)
    assert not needs_store(pauses(STOP), DENY_LIST)


HARMLESS = Standing(0.4, NOW_US - DAY_US, half_life_us=DAY_US, as_of_us=NOW_US)
ONE_TAKE = TakeRequest("a", "u", POLICY.class_limits[0], class_="new")


def usual(
    answer: TakeResult | Exception | None, before: Standing = UNKNOWN
) -> tuple[list[Decision | None], list[str], Standing]:
    """The usual decision of the upload that got the answer, its class, and what is remembered of its account."""
    last_known = LastKnown()
    last_known.remember("a", before)
    decisions, classes = usual_decisions((ONE_TAKE,), (answer,), 0, POLICY, last_known)
    return decisions, classes, last_known.of("a")


@pytest.mark.parametrize(
    "answer",
    [
        None,
        ValueError("no answer"),
        changed(TAKEN, charged=False),
        changed(TAKEN, repeated=True),
        changed(TAKEN, shadow=("uploads",)),
        changed(TAKEN, standing=changed(HARMLESS, risk=0.5)),
        changed(TAKEN, standing=changed(HARMLESS, as_of_us=NOW_US - 1)),
        changed(TAKEN, standing=changed(HARMLESS, override=Override(True, "r", "ann", NOW_US + 1))),
        changed(TAKEN, standing=changed(HARMLESS, hot=MetFact(0.1, "device:d", True))),
        changed(TAKEN, standing=Standing(hot=MetFact(0.1, "device:d", True))),
    ],
)
def test_an_upload_of_which_more_is_known_than_a_harmless_risk_is_not_usual(
    answer: TakeResult | Exception | None,
) -> None:
    assert usual(answer) == ([None], [], UNKNOWN)
    assert usual(answer, HARMLESS) == ([None], [], HARMLESS)


@pytest.mark.parametrize("standing", [UNKNOWN, HARMLESS, changed(HARMLESS, risk=0.499), changed(HARMLESS, at_us=0)])
def test_a_usual_upload_is_decided_as_by_decide_and_its_account_is_remembered(standing: Standing) -> None:
    answer = changed(TAKEN, standing=standing, room=Room(Limit("uploads", Rate(1, 1, 1)), NOW_US))

    (decision,), classes, remembered = usual(answer)

    assert decision == decide(UPLOAD, "new", NONE, POLICY, NOW_US, answer)
    assert decision.reserved
    assert (classes, remembered) == (["new"], standing)


def test_what_was_known_of_an_account_is_forgotten_when_its_score_is_gone() -> None:
    last_known = LastKnown()
    scored = changed(TAKEN, standing=HARMLESS)

    usual_decisions((ONE_TAKE, ONE_TAKE, ONE_TAKE), (TAKEN, scored, TAKEN), 0, POLICY, last_known)

    assert usual(TAKEN, HARMLESS)[2] is UNKNOWN
    assert len(last_known) == 0


TWO_CLASSES = replace(
    POLICY, classes=("new", "old"), thresholds={**POLICY.thresholds, "old": Thresholds(0.3, 0.7, 0.9)}
)
TAKES = [TakeRequest(f"a-{class_}", "u", TWO_CLASSES.class_limits[0], class_=class_) for class_ in ("new", "old")]
ANSWERS = [
    TAKEN,
    changed(TAKEN, now_us=NOW_US + 1),
    changed(TAKEN, charged=False),
    changed(TAKEN, standing=HARMLESS),
    ValueError("no answer"),
    None,
]


@given(st.lists(st.tuples(st.sampled_from(TAKES), st.sampled_from(ANSWERS))))
def test_uploads_that_share_an_answer_are_decided_as_each_by_itself(
    pairs: list[tuple[TakeRequest, TakeResult | Exception | None]],
) -> None:
    takes, answers = [take for take, _ in pairs], [answer for _, answer in pairs]
    alone = [
        usual_decision(take, answer, 7, TWO_CLASSES) if isinstance(answer, TakeResult) else None
        for take, answer in pairs
    ]

    decisions, classes = usual_decisions(takes, answers, 7, TWO_CLASSES, LastKnown())

    assert decisions == alone
    assert classes == [decision.class_ for decision in alone if decision is not None]


@pytest.mark.parametrize(
    ("answer", "degraded", "reserved"),
    [
        (TAKEN, (), True),
        (TAKEN, ("store",), False),
        (changed(TAKEN, charged=False, refusal=Refusal("uploads", 5)), (), False),
        (changed(TAKEN, charged=False, refusal=Refusal("uploads", 5)), ("store",), False),
    ],
)
def test_a_report_is_awaited_of_an_upload_that_the_store_let_in(
    answer: TakeResult, degraded: tuple[str, ...], reserved: bool
) -> None:
    assert decide(UPLOAD, "new", NONE, POLICY, NOW_US, answer, degraded).reserved is reserved


@pytest.mark.parametrize(
    ("risk", "hot", "verdict", "reason"),
    [
        (0.5, 0.7, Verdict.CHALLENGE, "score.challenge"),
        (0.7, 0.9, Verdict.DENY, "score.deny"),
        (0.5, 0.9, Verdict.DENY, "score.deny"),
        (0.7, 0.5, Verdict.CHALLENGE, "score.challenge"),
        (0.9, 0.7, Verdict.DENY, "score.deny"),
    ],
)
def test_of_a_score_and_a_hot_fact_the_stricter_one_decides(
    risk: float, hot: float, verdict: Verdict, reason: str
) -> None:
    standing = Standing(risk, NOW_US, hot=MetFact(hot, "device:d", True))

    decision = decide(UPLOAD, "new", NONE, POLICY, NOW_US, changed(TAKEN, standing=standing, charged=False))

    assert (decision.verdict, decision.reason) == (verdict, reason)
    assert decision.hot == ("device:d" if hot > risk else None)


def test_where_score_and_hot_fact_say_the_same_the_score_decides() -> None:
    standing = Standing(0.9, NOW_US, hot=MetFact(0.95, "device:d", True))

    assert decide(UPLOAD, "new", NONE, POLICY, NOW_US, changed(TAKEN, standing=standing)).hot is None


def test_the_risk_is_told_as_of_the_store_s_clock() -> None:
    standing = Standing(0.4, NOW_US - DAY_US, half_life_us=DAY_US, base=0.0001)

    told = decide(UPLOAD, "new", NONE, POLICY, NOW_US, changed(TAKEN, standing=standing)).risk
    as_of_now = changed(standing, as_of_us=NOW_US)

    assert told is not None
    assert told < 0.1
    assert decide(UPLOAD, "new", NONE, POLICY, NOW_US, changed(TAKEN, standing=as_of_now)).risk == 0.4
    assert decide(UPLOAD, "new", NONE, POLICY, NOW_US, TAKEN).risk is None


def test_a_pause_that_decides_alone_leaves_the_answer_s_parts_empty() -> None:
    decision = decide(UPLOAD, "new", pauses(STOP), POLICY, NOW_US)

    assert decision is not None
    assert (decision.verdict, decision.stage, decision.pause) == (Verdict.PAUSED, Stage.PAUSE, "p-1")
    assert (decision.room, decision.room_at_us, decision.risk, decision.shadow) == (None, 0, None, ())


@pytest.mark.parametrize(("risk", "stage"), [(0.8, Stage.PAUSE), (0.79, Stage.SCORE), (None, Stage.DEFAULT)])
def test_a_pause_by_risk_comes_before_the_score(risk: float | None, stage: Stage) -> None:
    standing = UNKNOWN if risk is None else Standing(risk, NOW_US)

    assert decide(UPLOAD, "new", pauses(BY_RISK), POLICY, NOW_US, changed(TAKEN, standing=standing)).stage is stage
