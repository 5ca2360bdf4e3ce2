"""The live view: what it reads from a metrics page, and what it says of it."""

from __future__ import annotations

from rich.console import Console

from gate.local.live import History, draw, line, time_left
from gate.local.sample import PauseSeen, Snapshot, parse

PAGE = """# HELP upload_gate_decisions_total Decisions.
# TYPE upload_gate_decisions_total counter
upload_gate_decisions_total{decision="allow",class="new",stage="default",reason="allow"} 12.0
upload_gate_decisions_total{decision="paused",class="new",stage="pause",reason="pause.raid"} 3.0
upload_gate_board_age_seconds 0.25
"""
NOW_US = 1_800_000_000_000_000
PAUSE = PauseSeen("p-1", "stop", "class new", "raid", "bots", "kim", 552)


def test_a_metrics_page_is_read_with_its_labels() -> None:
    samples = parse(PAGE)

    assert samples[0][1]["decision"] == "allow"
    assert samples[0][2] == 12.0
    assert samples[-1] == ("upload_gate_board_age_seconds", {}, 0.25)


def test_rates_are_counted_over_the_window_and_a_restart_is_no_negative_rate() -> None:
    history = History()
    history.add(Snapshot(NOW_US, decisions={"allow": 10.0, "deny": 5.0}, scores=1.0, events=0.0))
    history.add(Snapshot(NOW_US + 2_000_000, decisions={"allow": 30.0, "deny": 0.0}, scores=5.0, events=0.0))

    assert history.decision_rates() == {"allow": 10.0, "deny": 0.0}
    assert history.score_rate() == 2.0


def test_the_screen_names_a_pause_with_owner_and_time_left_and_a_part_that_is_down() -> None:
    history = History()
    history.add(Snapshot(NOW_US, decisions={"paused": 10.0}, scores=1.0, events=2.0, lag=4.0, pauses=(PAUSE,)))
    console = Console(width=140)

    with console.capture() as screen:
        console.print(draw(history, ["worker"], [("gate", "http://127.0.0.1:1/v1/check")], ["worker ended"]))
    shown = screen.get()

    for expected in (
        "p-1",
        "kim",
        "raid: bots",
        "9m 12s left",
        "class new",
        "not running: worker",
        "http://127.0.0.1:1/v1/check",
    ):
        assert expected in shown


def test_one_line_says_the_same_where_no_screen_can_be_drawn() -> None:
    history = History()
    history.add(Snapshot(NOW_US, decisions={"allow": 10.0}, scores=1.0, events=2.0, lag=4.0))
    history.add(
        Snapshot(NOW_US + 1_000_000, decisions={"allow": 30.0}, scores=5.0, events=2.0, lag=7.0, pauses=(PAUSE,))
    )

    said = line(history, ["kafka"])

    assert said == "uploads/s: allow 20.0 · scores/s: 4.0 · lag: 7 · pauses: p-1 (class new) · DOWN: kafka"


def test_a_silent_gate_and_worker_are_said_not_hidden() -> None:
    history = History()
    history.add(Snapshot(NOW_US))
    console = Console(width=140)

    with console.capture() as screen:
        console.print(draw(history, [], [], []))
    shown = screen.get()

    assert "the gate does not answer" in shown
    assert "the worker does not answer" in shown


def test_time_left_is_in_words() -> None:
    assert time_left(552) == "9m 12s left"
    assert time_left(59) == "59s left"
    assert time_left(0) == "0s left"
