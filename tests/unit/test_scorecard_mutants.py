"""Planted mutants: each changes one place in the code of scorecards, and the laws of a few fixed scores catch it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from math import exp, log
from types import ModuleType
from typing import Any

import pytest

from gate.core.score import Score, Stamp
from streams.core.features import UNKNOWN
from tests.mutants import loaded_with
from tests.scorecards import vector

PACKAGE = "streams.core.scorecard"
STAMP = Stamp("epoch", 1)
BASE = log(0.02 / 0.98)

MUTANTS = (
    ("one", "hit = bins[bisect_right(cuts, value)]", "hit = bins[bisect_right(cuts, value - 1e-9)]"),
    ("one", "max(0, points), family", "points, family"),
    ("one", "* width + bisect_right", "* (width - 1) + bisect_right"),
    ("one", "points if -cap <= points <= cap else", "points if points <= cap else"),
    ("one", "points if -cap <= points <= cap else", "points if points >= -cap else"),
    ("one", "if is_quiet and not value:  # most", "if not value:  # most"),
    ("one", "if key < 0]", "if key > 0]"),
    ("one", "MAX_REASONS: Final = 5", "MAX_REASONS: Final = 4"),
    ("many", 'bins = cuts[0].searchsorted(columns[place], "right")', 'bins = cuts[0].searchsorted(columns[place], "left")'),
    ("many", 'columns[second], "right")', 'columns[second], "left")'),
    ("many", "bins *= len(cuts[1]) + 1", "bins *= len(cuts[1])"),
    ("many", "np.maximum(families, -self._caps)", "families"),
    ("many", "self._kinds @ np.maximum(points, 0.0)", "self._kinds @ points"),
    ("many", "below = _HIGHEST - points", "below = _HIGHEST + points"),
    ("many", "< MAX_REASONS", "<= MAX_REASONS"),
    ("many", "least_term = points.argmin(axis=0)", "least_term = points.argmax(axis=0)"),
    ("scale", "(bot + both) * self.point", "bot * self.point"),
    ("scale", "as_bot if as_bot > as_scam else as_scam", "as_bot"),
    ("scale", "risk = probability(points * self.point + self.start)", "risk = probability(points * self.point)"),
    ("card", "start = offset - log_odds_of(training_share)", "start = offset + log_odds_of(training_share)"),
    ("card", "highest = max(start, log_odds_of(base_rate))", "highest = log_odds_of(base_rate)"),
    ("card", "floor(UNIT * most / slope)", "floor(UNIT * most / slope / 2)"),
    ("card", "min(most, lower.get(f, most))", "most"),
    ("term", "term.speaks is Speaks.AGAINST and min(term.points) < 0", "term.speaks is Speaks.AGAINST and max(term.points) < 0"),
    ("term", "(high < low) if monotone is Monotone.UP", "(high > low) if monotone is Monotone.UP"),
    ("term", "if number == 0:\n            rows", "if number == 1:\n            rows"),
    ("term", "row[:-1] for row in term.rows", "row for row in term.rows"),
)  # fmt: skip


def package_with(*change: str) -> AbstractContextManager[ModuleType]:
    """The package of scorecards with the change in one of its modules."""
    return loaded_with(PACKAGE, (f"{PACKAGE}.{change[0]}", *change[1:]) if change else ())


def cards(of: Any) -> Iterator[tuple[Any, dict[str, float], float]]:
    """A scorecard, the values of a vector, and the log odds that they come to, computed by hand."""
    kind = of.AbuseKind
    burst = of.Term(("burst",), "tempo", ((0.25, 0.5),), (0, 1_000, 30_000, 0), kind.BOT)
    spam = of.Term(("spam",), "text", ((0.5,),), (0, 20_000, 0), kind.SCAM)
    late = of.Term(("late",), "history", ((1.0,),), (5_000, 0, 0), kind.BOTH)
    passed = of.Term(("passed",), "challenge", ((1.0, 2.0),), (0, -9_000, -70_000, 0), kind.BOT)
    age = of.Term(("age_days",), "age", ((1.0,),), (100, 200, 4_000), kind.BOTH)
    table = (0, 0, 0, 0, 0, 1_000, 2_000, 3_000, 0, 0, 0, 0)
    pair = of.Term(("device_accounts", "freshness"), "network", ((2.0,), (0.5, 0.9)), table, kind.BOTH)
    most = log(0.5 / 0.5) - BASE
    plain = of.made_of(
        [burst, spam, late, passed, age, pair], base_rate=0.02, training_share=0.5, caps={"challenge": 2.0}
    )
    old = {"late": 1.0, "age_days": 0.5}
    yield plain, old | {"burst": 0.25}, BASE + 0.1 + 0.01
    yield plain, old | {"burst": 0.5, "spam": 0.5}, BASE + 3.0 + 2.0 + 0.01
    yield plain, {"late": 1.0, "age_days": UNKNOWN}, BASE + 0.4
    yield plain, {"age_days": 1.0}, BASE + 0.5 + 0.02
    yield plain, old | {"passed": 2.0}, BASE - 2.0 + 0.01
    yield plain, old | {"device_accounts": 2.0, "freshness": 0.5}, BASE + 0.1 + 0.01
    yield plain, old | {"device_accounts": 2.0, "freshness": 0.9}, BASE + 0.2 + 0.01
    yield plain, old | {"device_accounts": 2.0}, BASE + 0.3 + 0.01
    shifted = of.made_of([burst, spam], base_rate=0.02, training_share=0.3, slope=2.0, offset=-0.5)
    start = BASE - 0.5 - log(0.3 / 0.7)
    yield shifted, {"burst": 0.25}, start + 0.2
    high = of.Term(("texts",), "text", ((1.0,),), (0, 190_000, 0))
    yield of.made_of([high], base_rate=0.02, training_share=0.5, slope=2.0), {"texts": 1.0}, BASE + most
    yield of.made_of([high], base_rate=0.02, training_share=0.5, offset=1.0), {"texts": 1.0}, 0.0
    yield of.made_of([high], base_rate=0.02, training_share=0.5, caps={"text": 9.0}), {"texts": 1.0}, 0.0


def check_scores(of: Any) -> None:
    """One by one and in a batch, scores have the log odds, the split and the reasons that they should."""
    for card, values, log_odds in cards(of):
        row = vector(**values)
        one = card.score("a", row, 5, 7, STAMP)
        many = list(card.scores(["a"] * 40, [row] * 40, [5] * 40, 7, [STAMP] * 40))

        assert one.risk == pytest.approx(1 / (1 + exp(-log_odds)), abs=5e-5)
        assert one.risk <= 0.5 or len(card.caps) > 1
        assert [score == one for score in many] == [True] * 40  # of scores themselves the message would take a minute
        assert one.risk == max(one.bot, one.scam)
        assert_reasons(one)
    names = ("minute", "hour", "day", "gaps", "burst", "rhythm")
    six = of.made_of([of.Term((name,), "tempo", ((1.0,),), (0, 100 + n, 0)) for n, name in enumerate(names)],
                     base_rate=0.02, training_share=0.5)  # fmt: skip
    score = six.score("a", vector(**dict.fromkeys(names, 1.0)), 5, 7, STAMP)
    assert [reason.signal for reason in score.reasons] == [f"tempo.{name}" for name in reversed(names[1:])]
    assert next(six.scores(["a"] * 40, [vector(**dict.fromkeys(names, 1.0))] * 40, [5] * 40, 7, [STAMP] * 40)) == score


def assert_reasons(score: Score) -> None:
    weights = [reason.weight for reason in score.reasons]
    assert weights == sorted(weights, reverse=True)
    assert sum(weight < 0 for weight in weights) <= 1


def check_split(of: Any) -> None:
    """The kind with more evidence has the whole risk, the other one its part."""
    card = next(cards(of))[0]
    bot = card.score("a", vector(burst=0.5, late=1.0, age_days=0.5), 5, 7, STAMP)
    scam = card.score("a", vector(spam=0.5, late=0.0, age_days=0.5), 5, 7, STAMP)

    assert (bot.bot, bot.scam) == (bot.risk, pytest.approx(bot.risk * 1.01 / 4.01))
    assert (scam.scam, scam.bot) == (scam.risk, pytest.approx(scam.risk * 1.51 / 3.51))


def check_statements(of: Any) -> None:
    """Terms that contradict what they state have faults, and others have none."""
    up, either, against = of.Monotone.UP, of.Monotone.EITHER, of.Speaks.AGAINST
    names, cuts = ("device_accounts", "freshness"), ((2.0,), (0.5,))
    down_the_rows = (0, 3, 0, 1, 2, 0, 0, 0, 0)
    assert of.faults(of.Term(("burst",), "tempo", ((0.5,),), (0, 1, 0), speaks=against, monotone=(up,))) == []
    assert of.faults(of.Term(("burst",), "tempo", ((0.5,),), (1, 0, 0), monotone=(up,)))
    assert of.faults(of.Term(("burst",), "tempo", ((0.5,),), (-1, 1, 0), speaks=against))
    assert of.faults(of.Term(names, "network", cuts, down_the_rows, monotone=(up, either)))
    assert of.faults(of.Term(names, "network", cuts, down_the_rows, monotone=(either, up))) == []


def check(of: Any) -> None:
    check_scores(of)
    check_split(of)
    check_statements(of)


def test_the_code_as_it_is_passes() -> None:
    with package_with() as package:
        check(package)


@pytest.mark.parametrize("mutant", MUTANTS, ids=[f"{module}: {new[:40]}" for module, _, new in MUTANTS])
def test_a_planted_mutant_is_caught(mutant: tuple[str, str, str]) -> None:
    with package_with(*mutant) as package, pytest.raises((AssertionError, IndexError, ValueError)):
        check(package)
