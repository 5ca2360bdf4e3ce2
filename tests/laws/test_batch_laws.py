"""A law of folding: how records are cut into batches cannot matter."""

from __future__ import annotations

import json
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.crowd import Crowd
from streams.files.public_suffixes import load_web_links
from streams.files.scorecards import load_scorecard
from streams.pipeline.hashes import Hashes
from streams.pipeline.step import Record, process

SHIPPED = load_scorecard(None)
WEB = load_web_links()
accounts = st.sampled_from(["a", "b", "c"])
events = st.builds(
    lambda account, at, kind, extra: (
        account,
        json.dumps(
            {
                "type": kind,
                "id": f"e-{at % 2_000}",
                "at": f"2026-11-2{at % 10}T10:{at % 60:02d}:00Z",
                "account": {"id": account},
                **extra,
            }
        ).encode(),
    ),
    accounts,
    st.integers(0, 10_000),
    st.sampled_from(["attempted", "completed", "removed", "reported"]),
    st.fixed_dictionaries(
        {},
        optional={
            "text": st.text(max_size=40),
            "links": st.lists(st.text(max_size=20), max_size=3),
            "ip": st.text(max_size=9),
        },
    ),
)
garbage = st.tuples(accounts, st.binary(max_size=60))


def records(given_: list[tuple[str, bytes]]) -> list[Record]:
    return [Record(i, account.encode(), value, (), 0) for i, (account, value) in enumerate(given_)]


def run(batches: list[list[Record]]) -> tuple[dict[str, bytes], int]:
    states: dict[str, bytes] = {}
    dead = 0
    for batch in batches:
        if batch:
            effects = process(batch, states, Crowd(), SHIPPED, Hashes(b"salt"), WEB, ("t", 0), "e", 0)
            states.update(effects.states)
            dead += len(effects.dead)
            assert all(0.0 <= part <= 1.0 for s, _ in effects.scores for part in (s.bot, s.scam, s.risk))
    return states, dead


@given(st.lists(st.one_of(events, garbage), max_size=30), st.lists(st.integers(0, 30), max_size=5))
@settings(max_examples=150, deadline=None)
def test_any_cut_into_batches_gives_the_same_states_and_dead_letters(
    given_: list[tuple[str, bytes]], cuts: list[int]
) -> None:
    stream = records(given_)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]

    whole = run([stream])
    cut = run([stream[low:high] for low, high in pairwise(edges)])

    assert cut == whole
