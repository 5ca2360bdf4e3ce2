"""The truth table of pauses: scope × action × precedence × exemption × mode × in flight, against one law a line.

The index is fast and the reference plain; they agree on every cell and on random boards. Beside them stand directed rows
whose right answer is written out, so that both cannot be wrong together.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as changed

from gate.core.account import Account
from gate.core.decide import decide, live_pauses
from gate.core.decision import Decision, Stage, Verdict
from gate.core.duration import DAY_US, HOUR_US, MINUTE_US
from gate.core.limits.take import TakeResult
from gate.core.media import Media
from gate.core.pause.board import Board
from gate.core.pause.entry import Pause, PauseChange, Proposal
from gate.core.pause.index import index_of, refusing_risk, strictest
from gate.core.pause.ramp import position
from gate.core.pause.scope import STRICTNESS, Action, Exemption, InFlight, PauseMode, Scope
from gate.core.request import CheckRequest
from gate.core.standing import Standing
from gate.policyfile import load_policy
from gate.records.pause import decode_pause, encode_pause
from tests.pause_reference import enforced, holding

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
NOW_US = int(NOW.timestamp() * 1_000_000)
POLICY = load_policy(None)
REQUEST = CheckRequest(
    "u-1", Account("a-17", "new", NOW - timedelta(days=2), False), Media("image"), surface="post", country="DE"
)
MATCHING = (
    Scope(), Scope(classes=frozenset({"new"})), Scope(surfaces=frozenset({"post"})), Scope(kinds=frozenset({"image"})),
    Scope(countries=frozenset({"DE"})), Scope(accounts=frozenset({"a-17"})), Scope(younger_than_us=3 * DAY_US),
    Scope(risk_from=0.4), Scope(frozenset({"new"}), kinds=frozenset({"image"}), risk_from=0.4),
)  # fmt: skip
OTHER = (
    Scope(classes=frozenset({"regular"})), Scope(surfaces=frozenset({"story"})), Scope(kinds=frozenset({"video"})),
    Scope(countries=frozenset({"FR"})), Scope(accounts=frozenset({"a-1"})), Scope(younger_than_us=2 * DAY_US),
    Scope(risk_from=0.6), Scope(frozenset({"new"}), kinds=frozenset({"video"})),
)  # fmt: skip
EXEMPTING = (
    Exemption(classes=frozenset({"new"})), Exemption(surfaces=frozenset({"post"})), Exemption(kinds=frozenset({"image"})),
    Exemption(countries=frozenset({"DE"})), Exemption(accounts=frozenset({"a-17"})),
    Exemption(frozenset({"trusted"}), accounts=frozenset({"a-17"})),
)  # fmt: skip
NOT_EXEMPTING = (
    Exemption(), Exemption(verified=True), Exemption(classes=frozenset({"trusted"}), countries=frozenset({"FR"})),
)  # fmt: skip
VERDICTS = {
    Action.STOP: Verdict.PAUSED, Action.ALLOW_ONLY: Verdict.PAUSED, Action.THROTTLE: Verdict.THROTTLE,
    Action.CHALLENGE: Verdict.CHALLENGE, Action.REVIEW: Verdict.REVIEW,
}  # fmt: skip
ANSWER = TakeResult(Standing(0.45, NOW_US), True, False, None, (), NOW_US)


def a_pause(scope: Scope = MATCHING[0], action: Action = Action.STOP, id_: str = "p-1", **given: object) -> Pause:
    pause = Pause(id_, 1, scope, action, "raid", "", "ann", None, NOW_US + HOUR_US, set_at_us=NOW_US - MINUTE_US)
    return replace(pause, **given)  # type: ignore[arg-type]


def decided(
    *pauses: Pause, request: CheckRequest = REQUEST, now_us: int = NOW_US, glass: tuple[Pause, ...] = ()
) -> Decision:
    board = live_pauses(Board({pause.id: pause for pause in pauses}, glass), now_us)
    return decide(request, "new", board, POLICY, now_us, ANSWER)


@pytest.mark.parametrize("began", [None, NOW - timedelta(minutes=2), NOW - timedelta(seconds=30)])
@pytest.mark.parametrize("in_flight", InFlight)
@pytest.mark.parametrize("mode", PauseMode)
@pytest.mark.parametrize("action", Action)
def test_every_cell_of_the_table(action: Action, mode: PauseMode, in_flight: InFlight, began: datetime | None) -> None:
    request = changed(REQUEST, started_at=began)
    ends = in_flight is InFlight.DRAIN and began == NOW - timedelta(minutes=2)
    cells = itertools.product(MATCHING + OTHER, EXEMPTING + NOT_EXEMPTING)

    for scope, exempt in cells:
        decision = decided(a_pause(scope, action, mode=mode, in_flight=in_flight, exempt=exempt), request=request)

        acts = scope in MATCHING and exempt in NOT_EXEMPTING and mode is PauseMode.ENFORCE and not ends
        expected = (VERDICTS[action], Stage.PAUSE, "p-1") if acts else (Verdict.ALLOW, Stage.DEFAULT, None)
        assert (decision.verdict, decision.stage, decision.pause) == expected, (scope, exempt)


@pytest.mark.parametrize(("one", "other"), list(itertools.permutations(Action, 2)))
def test_the_stricter_of_two_pauses_decides_and_its_exemption_opens_only_itself(one: Action, other: Action) -> None:
    strict, mild = sorted((one, other), key=lambda action: -STRICTNESS[action])
    pauses = [a_pause(action=strict, id_="p-strict"), a_pause(action=mild, id_="p-mild")]

    both = decided(*pauses)
    exempted = decided(replace(pauses[0], exempt=EXEMPTING[4]), pauses[1])

    assert both.pause == "p-strict"
    assert (exempted.pause, exempted.verdict) == ("p-mild", VERDICTS[mild])


def test_the_hosts_file_comes_first_and_a_deny_list_before_a_pause() -> None:
    glass = a_pause(action=Action.CHALLENGE, id_="g")
    policy = replace(POLICY, deny_accounts=frozenset({"a-17"}))
    board = live_pauses(Board({"p-1": a_pause()}), NOW_US)

    assert decided(a_pause(), glass=(glass,)).stage is Stage.BREAK_GLASS
    assert decide(REQUEST, "new", board, policy, NOW_US, ANSWER).stage is Stage.DENY_LIST


def test_allow_only_lets_verified_accounts_in_and_nobody_else() -> None:
    pause = a_pause(action=Action.ALLOW_ONLY)

    verdicts = [
        decided(pause, request=changed(REQUEST, account=changed(REQUEST.account, verified=verified))).verdict
        for verified in (True, False, None)
    ]

    assert verdicts == [Verdict.ALLOW, Verdict.PAUSED, Verdict.PAUSED]


def requests(accounts: int) -> list[CheckRequest]:
    return [changed(REQUEST, account=changed(REQUEST.account, id=f"a-{n}")) for n in range(accounts)]


def held(pause: Pause, now_us: int = NOW_US, accounts: int = 2_000) -> set[str]:
    index = index_of((pause,), now_us)
    each = requests(accounts)
    return {request.account.id for request in each if strictest(index, request, "new", now_us) is not None}


def test_a_percent_holds_about_that_share_of_accounts_and_always_the_same_ones() -> None:
    tenth, third = held(a_pause(percent=10)), held(a_pause(percent=33))

    assert 140 < len(tenth) < 260
    assert tenth < third
    assert held(a_pause(percent=10, rev=9), NOW_US + MINUTE_US) == tenth
    assert held(a_pause(percent=10, id_="p-other")) != tenth


def test_a_throttle_lets_each_account_in_for_its_share_of_the_minutes_and_says_when() -> None:
    pause = a_pause(action=Action.THROTTLE, factor=0.2, expires_at_us=NOW_US + 4 * HOUR_US)
    index = index_of((pause,), NOW_US)
    minutes = [NOW_US + n * MINUTE_US for n in range(200)]

    closed = {now_us for now_us in minutes if strictest(index, REQUEST, "new", now_us) is not None}

    assert 130 < len(closed) < 185
    for now_us in sorted(closed)[:20]:
        hit = strictest(index, REQUEST, "new", now_us)
        assert hit is not None
        assert strictest(index, REQUEST, "new", now_us + hit.wait_us) is None
        assert strictest(index, REQUEST, "new", now_us + hit.wait_us - 1) is not None


@pytest.mark.parametrize("released", [True, False])
def test_a_ramp_lets_accounts_back_one_after_the_other_and_each_when_it_was_told(released: bool) -> None:
    end_us = NOW_US + 10 * MINUTE_US
    pause = a_pause(ramp_us=10 * MINUTE_US, expires_at_us=end_us + (HOUR_US if released else 0))
    if released:
        pause = replace(pause, released_at_us=end_us, released_by="ann")
    steps = [held(pause, end_us + n * MINUTE_US, 500) for n in range(11)]

    assert len(steps[0]) == 500
    assert steps[10] == set()
    for n, (before, after) in enumerate(itertools.pairwise(steps)):
        assert after < before
        assert abs(len(after) - 500 * (9 - n) / 10) < 60
    index = index_of((pause,), NOW_US)
    for request in requests(20):
        hit = strictest(index, request, "new", end_us - 1 if not released else end_us)
        assert hit is not None
        back_us = (end_us - 1 if not released else end_us) + hit.wait_us
        assert strictest(index, request, "new", back_us + 1_000) is None
        assert strictest(index, request, "new", back_us - 1_000) is not None


def test_where_the_clock_is_behind_a_release_with_a_ramp_the_pause_holds_all_accounts_until_then() -> None:
    released_us = NOW_US + MINUTE_US
    pause = a_pause(ramp_us=10 * MINUTE_US, released_at_us=released_us, released_by="ann")

    assert len(held(pause, NOW_US, 20)) == 20
    assert pause.ramping(NOW_US)
    assert len(held(pause, released_us + 5 * MINUTE_US, 200)) < 200
    assert not replace(pause, ramp_us=0).ramping(NOW_US)
    assert held(replace(pause, ramp_us=0), NOW_US, 20) == set()


def test_a_pause_that_only_counts_has_no_ramp_after_its_release_or_its_end() -> None:
    end_us = NOW_US + MINUTE_US
    trial = a_pause(ramp_us=10 * MINUTE_US, mode=PauseMode.DRY_RUN)
    released = replace(trial, released_at_us=end_us, released_by="ann")
    ended = replace(trial, expires_at_us=end_us)

    assert len(held(trial, NOW_US, 20)) == 20
    assert held(released, NOW_US, 20) == held(released, end_us, 20) == held(ended, end_us, 20) == set()
    assert not released.ramping(end_us)
    assert not ended.ramping(end_us)
    assert released.over_at_us == ended.over_at_us == end_us


def test_a_pause_that_waits_for_a_second_person_holds_nothing_and_one_that_waits_for_its_release_holds_all() -> None:
    new = a_pause(proposal=Proposal(PauseChange.SET, "ann", NOW_US))
    loosening = a_pause(proposal=Proposal(PauseChange.RELEASE, "ann", NOW_US, ramp_us=0))

    assert held(new, accounts=5) == set()
    assert len(held(loosening, accounts=5)) == 5


def test_a_pause_that_the_hosts_file_lifts_is_not_obeyed() -> None:
    board = live_pauses(Board({"p-1": a_pause()}, lifted=frozenset({"p-1"})), NOW_US)

    assert decide(REQUEST, "new", board, POLICY, NOW_US, ANSWER).verdict is Verdict.ALLOW


sets = st.frozensets(st.sampled_from(("new", "zzz", "regular")), max_size=2)
moments = st.integers(NOW_US - HOUR_US, NOW_US + HOUR_US)
scopes = st.builds(
    Scope, sets, st.frozensets(st.sampled_from(("post", "story")), max_size=1),
    st.frozensets(st.sampled_from(("image", "video")), max_size=1), st.frozensets(st.sampled_from(("DE", "FR")), max_size=1),
    st.frozensets(st.sampled_from(("a-17", "a-1")), max_size=1), st.none() | st.just(3 * DAY_US),
    st.none() | st.sampled_from((0.2, 0.5)),
)  # fmt: skip
exemptions = st.builds(Exemption, sets, accounts=st.frozensets(st.just("a-17"), max_size=1), verified=st.booleans())


@st.composite
def pauses(draw: st.DrawFn, number: int = 0) -> Pause:
    starts_us = draw(st.none() | moments)
    released_us = draw(st.none() | moments)
    return Pause(
        draw(st.sampled_from([f"p-{n}" for n in range(40)])), draw(st.integers(1, 9)), draw(scopes),
        draw(st.sampled_from(Action)), "raid", "", "ann", starts_us,
        (NOW_US - HOUR_US if starts_us is None else starts_us) + draw(st.integers(1, 3)) * HOUR_US, released_us, None,
        NOW_US - HOUR_US, {}, draw(st.sampled_from((0.0, 0.5))), draw(st.sampled_from((1, 50, 100))), draw(exemptions),
        draw(st.sampled_from(PauseMode)), draw(st.sampled_from(InFlight)), draw(st.sampled_from((0, 10 * MINUTE_US))),
        proposal=draw(st.none() | st.builds(Proposal, st.sampled_from(PauseChange), st.just("bob"), st.just(NOW_US))),
    )  # fmt: skip


uploads = st.builds(
    CheckRequest, st.just("u"),
    st.builds(
        Account, st.sampled_from(("a-17", "a-1", "a-2")), st.none() | st.sampled_from(("new", "zzz")),
        st.none() | st.just(NOW - timedelta(days=2)), st.none() | st.booleans(),
    ),
    st.builds(Media, st.sampled_from(("image", "video"))), surface=st.none() | st.sampled_from(("post", "story")),
    country=st.none() | st.sampled_from(("DE", "FR")),
    started_at=st.none() | st.integers(0, 7_200).map(lambda s: NOW - timedelta(seconds=s)),
)  # fmt: skip
boards = st.lists(pauses(), max_size=12).map(lambda found: {pause.id: pause for pause in found})
risks = st.none() | st.sampled_from((0.1, 0.3, 0.9))


@given(boards, uploads, st.sampled_from(("new", "regular")), moments, risks)
def test_the_index_finds_what_looking_at_each_pause_finds(
    board: dict[str, Pause], request: CheckRequest, class_: str, now_us: int, risk: float | None
) -> None:
    hit = strictest(index_of(board.values(), now_us), request, class_, now_us, risk)

    assert (None if hit is None else hit.pause) == holding(board.values(), request, class_, now_us, risk)
    assert hit is None or hit.wait_us > 0


@given(boards, uploads, moments, st.floats(0, 1))
def test_the_store_is_told_of_exactly_the_risk_from_which_a_pause_refuses(
    board: dict[str, Pause], request: CheckRequest, now_us: int, risk: float
) -> None:
    by_risk = [pause for pause in enforced(board.values()) if pause.scope.risk_from is not None]

    from_ = refusing_risk(index_of(by_risk, now_us), request, "new", now_us)

    refusing = [pause for pause in by_risk if pause.action is not Action.REVIEW]
    assert (from_ is not None and risk >= from_) == (holding(refusing, request, "new", now_us, risk) is not None)


@given(boards, pauses(), uploads, moments, risks)
def test_one_more_pause_never_loosens_whatever_its_percent_ramp_or_exemption(
    board: dict[str, Pause], extra: Pause, request: CheckRequest, now_us: int, risk: float | None
) -> None:
    before = holding(board.values(), request, "new", now_us, risk)
    after = strictest(index_of([*board.values(), replace(extra, id="p-extra")], now_us), request, "new", now_us, risk)

    if before is not None:
        assert after is not None
        assert STRICTNESS[after.pause.action] >= STRICTNESS[before.action]


@given(pauses())
def test_every_field_of_a_pause_survives_its_bytes(pause: Pause) -> None:
    released = pause.released_at_us
    whole = replace(
        pause, starts_at_us=None, released_by=None if released is None else "bob", incident="https://x/1",
        salt="p-9", identity="1000@ops-1",
    )  # fmt: skip

    assert decode_pause(encode_pause(whole)) == whole


def test_an_account_has_one_place_in_each_pause_and_places_are_spread() -> None:
    places = [position("p-1", f"a-{n}") for n in range(1_000)]

    assert position("p-1", "a-1") == places[1]
    assert position("p-2", "a-1") != places[1]
    assert all(0 <= place < 1 for place in places)
    assert [sum(n / 10 <= place < (n + 1) / 10 for place in places) > 60 for n in range(10)] == [True] * 10
