"""The live view: what it reads from a metrics page, and what it says of it."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest
from rich.console import Console
from rich.text import Text

from gate.core.pause.board import Board
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, Scope
from gate.local.live import History, draw, line, time_left
from gate.local.sample import FRESH_FOR_S, MetricsPages, Sampler, Snapshot, parse
from gate.records.board_page import board_page
from tests.waiting import wait_until

PAGE = """# HELP upload_gate_decisions_total Decisions.
# TYPE upload_gate_decisions_total counter
upload_gate_decisions_total{decision="allow",class="new",stage="default",reason="allow"} 12.0
upload_gate_decisions_total{decision="paused",class="new",stage="pause",reason="pause.raid"} 3.0
upload_gate_board_age_seconds 0.25
"""
NOW_US = 1_800_000_000_000_000
NEW = Scope(classes=frozenset(("new",)))
PAUSE = Pause("p-1", 1, NEW, Action.STOP, "raid", "bots", "kim", None, NOW_US + 552_000_000)
QUIET = Board()


def board(*pauses: Pause) -> Board:
    return Board({pause.id: pause for pause in pauses})


def printed(screen: Text, width: int) -> list[str]:
    """The lines as a terminal of that width shows them; a line that is too long wraps."""
    console = Console(width=width)
    with console.capture() as capture:
        console.print(screen)
    return capture.get().splitlines()


def test_a_metrics_page_is_read_with_its_labels() -> None:
    samples = parse(PAGE)

    assert samples[0][1]["decision"] == "allow"
    assert samples[0][2] == 12.0
    assert samples[-1] == ("upload_gate_board_age_seconds", {}, 0.25)


def test_what_is_no_metrics_page_is_no_answer() -> None:
    pages = {"gate": "<html>", "board": "{}", "worker": PAGE}

    with Sampler(MetricsPages("gate", "board", "worker"), pages.get) as sampler:
        wait_until(lambda: sampler.snapshot().events is not None)
        shown = sampler.snapshot()

    assert shown.decisions is None
    assert shown.board is None


def test_rates_are_counted_over_the_window_and_a_restart_is_no_negative_rate() -> None:
    history = History()
    history.add(Snapshot(NOW_US, decisions={"allow": 10.0, "deny": 5.0}, scores=1.0, events=0.0))
    history.add(Snapshot(NOW_US + 2_000_000, decisions={"allow": 30.0, "deny": 0.0}, scores=5.0, events=0.0))

    assert history.decision_rates() == {"allow": 10.0, "deny": 0.0}
    assert history.score_rate() == 2.0


def test_the_screen_names_a_pause_with_owner_and_time_left_and_a_part_that_is_down() -> None:
    history = History()
    history.add(Snapshot(NOW_US, decisions={"paused": 10.0}, scores=1.0, events=2.0, lag=4.0, board=board(PAUSE)))
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
        Snapshot(NOW_US + 1_000_000, decisions={"allow": 30.0}, scores=5.0, events=2.0, lag=7.0, board=board(PAUSE))
    )

    said = line(history, ["kafka"])

    assert said == "uploads/s over 1 s: allow 20.0 · scores/s: 4.0 · lag: 7 · pauses: p-1 (class new) · DOWN: kafka"


def test_a_silent_gate_and_worker_are_said_not_hidden() -> None:
    history = History()
    history.add(Snapshot(NOW_US))
    console = Console(width=140)

    with console.capture() as screen:
        console.print(draw(history, [], [], []))
    shown = screen.get()

    assert "the gate does not answer" in shown
    assert "the worker does not answer" in shown
    assert line(history, []).startswith("uploads/s over 0 s: ? · ")
    assert "pauses: unknown · the gate does not answer · the worker does not answer" in line(history, [])


@pytest.mark.parametrize("answers", [True, False])
def test_a_redis_that_does_not_answer_is_told_on_the_screen_and_in_the_line(answers: bool) -> None:
    said = {"store_answers": answers}
    pages = {"gate": PAGE, "board": board_page(QUIET, NOW_US, said, NOW_US).decode()}
    history = History()

    with Sampler(MetricsPages("gate", "board"), pages.get) as sampler:
        wait_until(lambda: sampler.snapshot().board is not None)
        history.add(sampler.snapshot())

    for shown in ("\n".join(printed(draw(history, [], [], []), 120)), line(history, [])):
        assert ("Redis does not answer" in shown) is not answers


@pytest.mark.parametrize(("scores", "lag", "stuck"), [(7.0, 10.0, True), (8.0, 10.0, False), (7.0, 0.0, False)])
def test_the_screen_says_when_uploads_come_and_none_is_scored(scores: float, lag: float, stuck: bool) -> None:
    history = History()
    for at_s, uploads, scored in ((0, 10.0, 7.0), (5, 60.0, scores)):
        at_us = NOW_US + at_s * 1_000_000
        history.add(Snapshot(at_us, decisions={"allow": uploads}, scores=scored, events=9.0, lag=lag, board=QUIET))

    shown = draw(history, (), (), ())

    assert ("none is scored" in shown.plain) is stuck


def test_time_left_is_in_words() -> None:
    assert time_left(552) == "9m 12s left"
    assert time_left(59) == "59s left"
    assert time_left(0) == "0s left"


def crowded(pauses: int) -> tuple[History, list[str], list[tuple[str, str]], list[str]]:
    """A screen's content with everything in it."""
    texts = [replace(PAUSE, id=f"p-{number:04}", text="bots from everywhere, again " * 4) for number in range(pauses)]
    first = Snapshot(NOW_US - 5_000_000, {"allow": 1.0}, {}, 1.0, 1.0, store_errors=0.0, board=QUIET)
    last = Snapshot(
        NOW_US, dict.fromkeys(("allow", "review", "throttle", "challenge", "deny", "paused"), 1000000.0),
        {f"stage-{number}": 1e9 for number in range(7)}, 5.0, 5.0, 3.0, 4.0, 4.0, 9.0, board(*texts),
    )  # fmt: skip
    history = History()
    history.add(first)
    history.add(last)
    addresses = [
        (name, f"http://127.0.0.1:{8390 + n}/a/long/path" * 2) for n, name in enumerate(("gate", "admin", "redis"))
    ]
    return history, ["kafka"], addresses, ["12:00:00 kafka was killed by signal 9; starting it again in 0.5 s " * 2] * 3


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (60, 16)])
@pytest.mark.parametrize("pauses", [0, 1, 5, 15, 31])
def test_the_screen_fits_its_terminal_and_shows_every_pause_and_what_is_down(
    size: tuple[int, int], pauses: int
) -> None:
    lines = printed(draw(*crowded(pauses), size), size[0])

    assert len(lines) < size[1]
    assert max(map(len, lines)) <= size[0]
    shown = "\n".join(lines)
    assert [number for number in range(pauses) if f"p-{number:04}" not in shown] == []
    assert "not running: kafka" in shown


def test_pauses_for_which_there_is_no_room_at_all_are_counted() -> None:
    lines = printed(draw(*crowded(200), (80, 24)), 80)

    shown = sum(line.count("p-0") for line in lines)
    assert len(lines) < 24
    assert any(f"and {200 - shown} more" in line for line in lines)


def test_the_view_names_the_command_that_shows_every_pause_of_this_system() -> None:
    lines = printed(draw(*crowded(200), (80, 24), "upload-gate status --state /x"), 80)

    assert any("see `upload-gate status --state /x`" in line for line in lines)


def test_a_rate_says_over_which_time_it_is_a_mean() -> None:
    shown = "\n".join(printed(draw(*crowded(1), (120, 40)), 120))

    assert "uploads per second by decision, over 5 s" in shown
    assert "scores per second over 5 s" in shown
    assert "1.8 per second over 5 s, 9 in all" in shown


def test_foreign_text_cannot_steer_the_terminal() -> None:
    history = History()
    hostile = replace(PAUSE, text="\x1b[2J\rfine\u202eenif\x9b1m", owner="a\nb")
    history.add(Snapshot(NOW_US, decisions={}, board=board(hostile)))

    screen = draw(history, [], [], ["said \x1b[31m"]).plain + line(history, [])

    assert not set("\x1b\r\u202e\x9b") & set(screen)
    assert "\\e[2J\\rfine\\u202e" in screen


def test_a_part_that_hangs_holds_up_no_other_and_is_shown_as_not_answering() -> None:
    goes_on = threading.Event()

    def read(page: str) -> str | None:
        if page == "worker":
            goes_on.wait()
        return PAGE if page == "gate" else None

    with Sampler(MetricsPages("gate", "board", "worker"), read) as sampler:
        wait_until(lambda: sampler.snapshot().decisions is not None)
        shown = sampler.snapshot()
        goes_on.set()

    assert shown.decisions == {"allow": 12.0, "paused": 3.0}
    assert shown.events is None


def test_an_answer_that_is_overdue_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, goes_on = threading.Event(), threading.Event()

    def read(page: str) -> str | None:
        if page == "gate" and asked.is_set():
            goes_on.wait()
        asked.set()
        return PAGE

    with Sampler(MetricsPages("gate", "board"), read) as sampler:
        wait_until(lambda: sampler.snapshot().decisions is not None)
        now_s = time.monotonic()
        monkeypatch.setattr("gate.local.sample.time.monotonic", lambda: now_s + FRESH_FOR_S + 1)
        overdue = sampler.snapshot()
        goes_on.set()

    assert overdue.decisions is None


ADDRESSES = [
    ("gate", "http://127.0.0.1:8390/v1/check"), ("admin", "http://127.0.0.1:8391"), ("redis", "redis://127.0.0.1:6390/0"),
    ("kafka", "127.0.0.1:9392"), ("logs", "/home/kim/.local/state/upload-gate/log"),
    ("metrics", "http://127.0.0.1:8390/metrics"), ("metrics", "http://127.0.0.1:8392/metrics"),
]  # fmt: skip


def running(pauses: int, refused: float = 0.0, uploads: float = 20.0) -> History:
    """A system as `up` runs it, five seconds apart; `refused` requests per second meet a 401."""
    verdicts = ("allow", "review", "challenge", "deny", "paused")
    texts = [replace(PAUSE, id=f"p-{number:04}", expires_at_us=NOW_US + 14_330_000_000) for number in range(pauses)]
    history = History()
    for at_us, count in ((NOW_US - 5_000_000, 0.0), (NOW_US, 5 * uploads)):
        history.add(Snapshot(
            at_us, dict.fromkeys(verdicts, 100.0 + count), {"default": 9.0, "score": 7.0, "pause": 5.0}, 5.0 + count,
            5.0 + count, 0.0, 4.0, 4.0, 0.0, board(*texts), without_token=refused * (0.0 if at_us < NOW_US else 5.0),
            board_rev=7,
        ))  # fmt: skip
    return history


@pytest.mark.parametrize("pauses", [0, 1, 4])
def test_an_ordinary_screen_of_80_by_24_leaves_out_nothing(pauses: int) -> None:
    shown = "\n".join(printed(draw(running(pauses), [], ADDRESSES, ["try: status", "one", "two"], (80, 24)), 80))

    wanted = (
        "allow", "review", "challenge", "deny", "paused", "scores per second", "lag, records behind", "events folded",
        "dead letters", "decided by stage", "Ctrl-C", "try: status", "two", *dict(ADDRESSES),
        *(f"p-{number:04}" for number in range(pauses)),
    )  # fmt: skip
    assert [expected for expected in wanted if expected not in shown] == []


def test_many_pauses_leave_room_for_what_is_uploaded() -> None:
    shown = "\n".join(printed(draw(running(12), [], ADDRESSES, [], (80, 24)), 80))

    assert [number for number in range(12) if f"p-{number:04}" not in shown] == []
    assert "allow" in shown
    assert "scores per second" in shown


def test_a_long_pause_is_told_in_hours_and_counted_as_status_counts() -> None:
    lines = printed(draw(running(1), [], ADDRESSES, [], (80, 24)), 80)

    assert lines[0] == "1 active pause (rev 7)"
    assert "3h 59m left" in lines[1]


def test_traffic_of_its_own_that_has_no_token_is_told_with_the_command_in_full() -> None:
    command = "upload-gate token new traffic --state /var/lib/upload-gate > /var/lib/upload-gate/traffic.token"

    lines = printed(draw(running(0, 9.8, 0.0), [], ADDRESSES, [], (80, 24), give_token=command), 80)

    assert lines[0].startswith("the gate refuses the simulated traffic (401)")
    assert command in " ".join(line.strip() for line in lines[:4])
    assert "401 without a valid token: 9.8 requests/s" in line(running(0, 9.8, 0.0), [])


def test_requests_of_others_without_a_token_are_told_as_such() -> None:
    lines = printed(draw(running(0, 2.0), [], ADDRESSES, [], (80, 24), give_token="upload-gate token new"), 80)

    assert lines[0] == "the gate answers 2.0 requests per second with 401: they carry no valid token"
    assert "401" not in "\n".join(printed(draw(running(0), [], ADDRESSES, [], (80, 24)), 80))


def test_a_policy_file_with_mistakes_is_told_with_the_command_that_names_them() -> None:
    page = PAGE + "upload_gate_policy_file_refused 1.0\n"
    history = History()
    with Sampler(MetricsPages("gate", "board"), {"gate": page}.get) as sampler:
        wait_until(lambda: sampler.snapshot().decisions is not None)
        history.add(sampler.snapshot())

    shown = " ".join(row.strip() for row in printed(draw(history, [], [], [], (80, 24), "upload-gate status -s"), 80))

    assert (
        "the policy file has mistakes, and the last good one stays in force: `upload-gate status -s` names them"
        in shown
    )
    assert "the policy file has mistakes" in line(history, [])
