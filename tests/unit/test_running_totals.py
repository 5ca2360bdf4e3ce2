"""The totals of the live view go on when a process that counts is started again."""

from gate.local.live import History
from gate.local.sample import Snapshot


def shown(*pages: dict[str, float] | None, store_errors: float = 0.0) -> list[dict[str, float] | None]:
    """What the view shows of the decisions that one page after the other tells."""
    history, found = History(), list[dict[str, float] | None]()
    for number, decisions in enumerate(pages):
        history.add(Snapshot(number * 500_000, decisions, store_errors=store_errors))
        assert history.last is not None
        found.append(history.last.decisions)
    return found


def test_a_gate_that_was_started_again_counts_on_from_what_it_had_reached() -> None:
    pages = ({"allow": 100.0, "deny": 4.0}, {"allow": 3.0}, {"allow": 9.0, "deny": 1.0}, {}, {"allow": 1.0})

    assert shown(*pages) == [
        {"allow": 100, "deny": 4},
        {"allow": 103, "deny": 4},
        {"allow": 109, "deny": 5},
        {"allow": 109, "deny": 5},
        {"allow": 110, "deny": 5},
    ]


def test_a_gate_that_does_not_answer_for_a_while_has_lost_nothing() -> None:
    assert shown({"allow": 100.0}, None, None, {"allow": 120.0}) == [{"allow": 100}, None, None, {"allow": 120}]


def test_a_worker_that_does_not_answer_is_not_taken_for_one_that_begins_again() -> None:
    history = History()
    for number, page in enumerate(
        (
            Snapshot(0, scores=50.0, events=60.0, dead_letters=7.0),
            Snapshot(0, scores=None, events=None, dead_letters=0.0),
            Snapshot(0, scores=51.0, events=61.0, dead_letters=7.0),
            Snapshot(0, scores=2.0, events=2.0, dead_letters=1.0),
        )
    ):
        history.add(Snapshot(number * 500_000, None, {}, page.scores, page.events, page.dead_letters))

    assert history.last is not None
    assert (history.last.scores, history.last.events, history.last.dead_letters) == (53, 63, 8)


def test_the_rate_after_a_restart_is_that_of_the_new_process() -> None:
    history = History()
    history.add(Snapshot(0, {"allow": 1_000.0}))
    history.add(Snapshot(1_000_000, {"allow": 30.0}))

    assert history.decision_rates() == {"allow": 30.0}
