"""What an account's standing says at a moment: override, decayed risk and hot fact, and how long a gate remembers it."""

from __future__ import annotations

import pytest

from gate.core.hot_facts import MetFact
from gate.core.override import Override
from gate.core.standing import LAST_KNOWN, UNKNOWN, LastKnown, Standing

NOW_US = 1_800_000_000_000_000
HOUR_US = 3_600_000_000
ALLOW = Override(True, "known", "ann", NOW_US)
DENY = Override(False, "farm", "ann", NOW_US)
LIMITS = Override(True, "festival", "ann", NOW_US, limits="trusted")
HOT = MetFact(0.9, "device:d", True)
HOT_FOR_NEW = MetFact(0.9, "device:d", False)


def test_nothing_is_known_of_an_account_until_it_is_told() -> None:
    assert Standing() == UNKNOWN == Standing(None, None, None, 0, 0.0, None, True, None)


def test_an_override_is_in_force_until_it_expires_and_one_of_limits_decides_nothing() -> None:
    assert Standing(override=DENY).override_in_force(NOW_US - 1) is DENY
    assert Standing(override=ALLOW).override_in_force(NOW_US) is None
    assert Standing(override=LIMITS).override_in_force(NOW_US - 1) is None
    assert Standing().override_in_force(NOW_US) is None


def test_an_override_of_limits_gives_them_until_it_expires() -> None:
    assert Standing(override=LIMITS).limits_of(NOW_US - 1) == "trusted"
    assert Standing(override=LIMITS).limits_of(NOW_US) is None
    assert Standing(override=ALLOW).limits_of(NOW_US - 1) is None
    assert Standing().limits_of(NOW_US) is None


@pytest.mark.parametrize(
    ("standing", "risk"),
    [
        (Standing(), None),
        (Standing(0.8, None, half_life_us=HOUR_US), 0.8),
        (Standing(0.8, NOW_US - HOUR_US), 0.8),
        (Standing(0.8, NOW_US - HOUR_US, half_life_us=HOUR_US, base=0.5), 2 / 3),
        (Standing(0.8, NOW_US - HOUR_US, half_life_us=HOUR_US, base=0.5, as_of_us=NOW_US), 0.8),
        (Standing(0.8, 0, half_life_us=HOUR_US, base=0.5, as_of_us=NOW_US - HOUR_US), 2 / 3),
        (Standing(0.8, NOW_US + HOUR_US, half_life_us=HOUR_US, base=0.5), 0.8),
        (Standing(None, NOW_US - HOUR_US, half_life_us=HOUR_US, base=0.5), None),
        (Standing(0.8, NOW_US - 1, half_life_us=1, base=0.5), 2 / 3),
    ],
)
def test_the_odds_of_a_risk_above_its_base_halve_with_each_half_life_from_when_it_was_told(
    standing: Standing, risk: float | None
) -> None:
    assert standing.risk_now(NOW_US) == (None if risk is None else pytest.approx(risk, abs=1e-12))


@pytest.mark.parametrize(("age_us", "risk"), [(HOUR_US, 0.8), (HOUR_US + 1, None), (-5, 0.8)])
def test_a_score_counts_up_to_its_greatest_age(age_us: int, risk: float | None) -> None:
    assert Standing(0.8, NOW_US - age_us).counted_risk(NOW_US, HOUR_US) == risk
    assert Standing(0.8).counted_risk(NOW_US, HOUR_US) is None


@pytest.mark.parametrize(
    ("standing", "risk"),
    [
        (Standing(), None),
        (Standing(0.5, NOW_US), 0.5),
        (Standing(0.5, NOW_US, acts=False), None),
        (Standing(0.5, NOW_US - HOUR_US - 1), None),
        (Standing(hot=HOT), 0.9),
        (Standing(hot=HOT_FOR_NEW), 0.9),
        (Standing(0.5, NOW_US, hot=HOT), 0.9),
        (Standing(0.95, NOW_US, hot=HOT), 0.95),
        (Standing(0.5, NOW_US, hot=HOT_FOR_NEW), 0.5),
        (Standing(0.5, NOW_US, acts=False, hot=HOT_FOR_NEW), None),
        (Standing(0.95, NOW_US, acts=False, hot=HOT), 0.9),
        (Standing(0.5, NOW_US, Override(True, "known", "ann", NOW_US + 1), hot=HOT), None),
        (Standing(0.5, NOW_US, Override(False, "farm", "ann", NOW_US + 1)), None),
        (Standing(0.5, NOW_US, ALLOW, hot=HOT), 0.9),
    ],
)
def test_a_pause_by_risk_reads_the_score_that_counts_or_a_higher_hot_fact_and_no_account_with_an_override(
    standing: Standing, risk: float | None
) -> None:
    assert standing.acting_risk(NOW_US, HOUR_US) == risk


def test_a_standing_meets_a_hot_fact_beside_all_else_that_is_known() -> None:
    standing = Standing(0.5, NOW_US, DENY)

    assert standing.meeting(HOT) == Standing(0.5, NOW_US, DENY, hot=HOT)
    assert standing.meeting(HOT).meeting(None) == standing
    assert standing.meeting(None) is standing


def remembered(accounts: int, *names: str) -> LastKnown:
    known = LastKnown(accounts)
    for name in names:
        known.remember(name, Standing(0.5, NOW_US))
    return known


def test_a_gate_remembers_50_000_accounts_unless_told_otherwise() -> None:
    known = LastKnown()
    for n in range(LAST_KNOWN + 1):
        known.remember(str(n), Standing(0.5, NOW_US))

    assert LAST_KNOWN == 50_000
    assert len(known) == 25_001
    assert known.of("25000").risk == 0.5
    assert known.of("24999") is UNKNOWN


@pytest.mark.parametrize(
    ("names", "kept", "forgotten"),
    [
        ("a", "a", ""),
        ("ab", "ab", ""),
        ("abc", "abc", ""),
        ("abcd", "abcd", ""),
        ("abcde", "cde", "ab"),
        ("abab", "ab", ""),
        ("abca", "abc", ""),
        ("abcad", "cad", "b"),
    ],
)
def test_the_last_accounts_are_remembered_at_least_half_as_many_as_may_be(
    names: str, kept: str, forgotten: str
) -> None:
    known = remembered(4, *names)

    assert [known.of(name).risk for name in kept] == [0.5] * len(kept)
    assert [known.of(name) for name in forgotten] == [UNKNOWN] * len(forgotten)


@pytest.mark.parametrize("accounts", [0, 1, 2, 3])
def test_a_gate_that_remembers_hardly_anybody_remembers_the_last_two(accounts: int) -> None:
    known = remembered(accounts, "a", "b", "c")

    assert len(known) == 2
    assert [known.of(name).risk for name in "abc"] == [None, 0.5, 0.5]


def test_the_later_standing_of_an_account_counts() -> None:
    known = remembered(4, "a", "b", "c")
    known.remember("a", Standing(0.7, NOW_US))

    assert known.of("a").risk == 0.7


@pytest.mark.parametrize("nothing", [UNKNOWN, Standing(at_us=NOW_US), Standing(hot=HOT)])
def test_a_standing_that_says_nothing_makes_a_gate_forget_what_it_knew(nothing: Standing) -> None:
    known = remembered(4, "a", "b", "c")

    for name in ("a", "c", "z"):
        known.remember(name, nothing)

    assert [known.of(name).risk for name in "abcz"] == [None, 0.5, None, None]
    assert len(known) == 1


def test_an_override_alone_is_remembered() -> None:
    known = LastKnown(4)

    known.remember("a", Standing(override=DENY))

    assert known.of("a").override is DENY
