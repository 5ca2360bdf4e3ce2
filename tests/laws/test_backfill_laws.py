"""Laws of scoring accounts again: it changes no state, ends, is bounded, and leaves every account with its last risk."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.crowd import CEILING
from streams.core.facts import unpack
from streams.core.features import features
from streams.pipeline.effects import Scores
from streams.pipeline.step import surroundings
from tests.unit.test_backfill import SHIPPED, Partition, upload

Upload = tuple[int, int]
"""An account and a device."""
uploads = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 2)), min_size=1, max_size=40)


def folded(one: Partition, shown: list[Upload], size: int) -> None:
    records = [upload(n, f"a-{account}", f"d-{device}") for n, (account, device) in enumerate(shown)]
    for start in range(0, len(records), size):
        effects = one.batch(*records[start : start + size])
        assert effects.part(Scores).backfilled <= 3 * CEILING


@given(uploads, st.integers(1, 10))
@settings(max_examples=60, deadline=None)
def test_it_changes_no_state_and_ends(shown: list[Upload], size: int) -> None:
    one, plain = Partition(), Partition()
    plain.backfill.take = lambda partition, most, scored=(): []  # type: ignore[method-assign]
    folded(one, shown, size)
    folded(plain, shown, size)
    before = dict(one.states)

    turns = 0
    while one.backfill.waiting(0):
        assert one.turn().states == {}
        turns += 1

    assert one.states == before == plain.states
    assert turns <= 1
    assert one.turn().scores == []


@given(uploads, st.integers(1, 10))
@settings(max_examples=60, deadline=None)
def test_an_account_s_last_score_is_at_most_one_step_behind_its_surroundings(shown: list[Upload], size: int) -> None:
    one = Partition()
    folded(one, shown, size)

    for account, state in one.states.items():
        facts = unpack(state)
        around = surroundings(one.crowd, facts)
        now = SHIPPED.score(account, features(facts, around), 0, 0, one.stamps.stamp(account, 0)).risk
        if around.device_accounts in (1, 2, 3, 4, 6, 8, 12):  # counts that are a step themselves
            assert one.risks[account] >= now - 1e-9
