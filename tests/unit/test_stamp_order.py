"""Which of two scores is kept: the order of their stamps, case by case."""

from __future__ import annotations

import pytest

from gate.core.score import Stamp, replaces

HOME = Stamp("c/t", 10, partition=1, partitions=4, generation=100)


@pytest.mark.parametrize(
    ("later", "earlier"),
    [
        (Stamp("c/t", 11, 1, 4, 100), HOME),
        (Stamp("c/t", 10, 1, 4, 101), HOME),
        (Stamp("c/t", 11, 1, 4, 90), HOME),
        (Stamp("c/t", 2, 5, 8, 90), HOME),
        (HOME, Stamp("c/t", 99, 3, 0, 200)),
        (HOME, Stamp("c/t", 99, 1, 0, 200)),
        (Stamp("c/t", 0, 3, 0, 90), Stamp("c/t", 99, 2, 0, 200)),
        (Stamp("c/u", 0, 0, 0, 101), HOME),
        (HOME, Stamp("c/s", 99, 1, 4, 99)),
        (HOME, Stamp("c/t", 99)),
        (HOME, Stamp("c/other", 99)),
        (Stamp("c/t", 11), Stamp("c/t", 10)),
        (Stamp("c/t", 9, 2, 4, 100), HOME),
        (Stamp("c/t", 9, 0, 8, 99), HOME),
        (Stamp("c/a", 0, 0, 0, 101), HOME),
        (Stamp("c/u", 0, 0, 0, 100), HOME),
        (Stamp("c/u", 0, 0, 0, 1), Stamp("c/t", 5, 0, 0, 1)),
        (Stamp("c/t", 0, 0, 0, 1), Stamp("c/t", 99, 9, 12, 0)),
        (Stamp("c/t", 0, 0, 0, 1), Stamp("c/u", 99, 9, 12, 0)),
    ],
    ids=[
        "a later event",
        "a newer scorecard at the same event",
        "a later event, though of an older generation",
        "the account's new home after partitions were added",
        "home against a foreign partition, whatever its offset and generation",
        "home against what was written there by another count",
        "of two foreign partitions the higher number",
        "a later topic",
        "a worker that still reads the topic of before",
        "any stamp with a generation against one without",
        "any stamp with a generation against one without, of another topic",
        "without generations the higher offset",
        "a higher partition of the same count",
        "a larger count, though of an older generation and a lower partition",
        "a later topic, whose name sorts before",
        "of two topics of one generation the one whose name sorts later",
        "the same without a home",
        "any stamp with a generation against one without, whatever its home",
        "the same of another topic",
    ],
)
def test_the_later_stamp_replaces_the_earlier_and_never_the_other_way(later: Stamp, earlier: Stamp) -> None:
    assert replaces(later, earlier)
    assert not replaces(earlier, later)


def test_no_stamp_replaces_itself() -> None:
    assert not replaces(HOME, HOME)
    assert not replaces(Stamp("e", 1), Stamp("e", 1))


def test_without_generations_a_stamp_of_another_epoch_replaces_any() -> None:
    assert replaces(Stamp("e", 1), Stamp("f", 9))
    assert replaces(Stamp("f", 9), Stamp("e", 1))
