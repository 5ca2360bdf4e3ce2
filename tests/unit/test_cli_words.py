"""What commands say: who obeys, what a pause would have met, what a gate shows, why an account scored as it did."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from gate.app.converge import Convergence, GateResult, GateState
from gate.cli import check, explain, preview
from gate.cli.pause_output import (
    convergence_json,
    new_pause_id,
    obeyed,
    pause_json,
    pause_words,
)
from gate.core.pause.board import Pause
from gate.core.pause.scope import Action, Scope
from gate.core.score import Reason, Score, Stamp
from gate.errors import NotConverged, StateUnreadable
from gate.ports.boards import Acknowledgement
from gate.records.board_page import decode_board_page

NOON_US = 1_800_000_000_000_000
NEW = Scope(classes=frozenset(("new",)), kinds=frozenset(("image", "video")))
PAUSE = Pause("p-1", 7, NEW, Action.STOP, "raid", "bots", "ann", NOON_US, NOON_US + 600_000_000)
CHANGE = replace(PAUSE, rev=42)
STATS = {
    "rows": [
        {"decision": "allow", "class": "new", "stage": "default", "reason": "allow", "count": 30},
        {"decision": "review", "class": "new", "stage": "score", "reason": "score", "count": 10},
        {"decision": "deny", "class": "new", "stage": "score", "reason": "score", "count": 500},
        {"decision": "allow", "class": "regular", "stage": "default", "reason": "allow", "count": 60},
    ],
    "uptime_s": 600.0,
}


def gate(name: str, rev: int, seconds: float | None) -> GateResult:
    state = GateState.LATE if seconds is None else GateState.OBEYS
    return GateResult(Acknowledgement(name, f"http://{name}", rev, NOON_US), state, seconds)


def only(class_: str) -> Scope:
    return Scope(classes=frozenset((class_,)))


def test_all_gates_obeying_is_one_sentence_with_the_time_it_took() -> None:
    result = Convergence(CHANGE, (gate("g-1", 42, 0.031),), seconds=0.04)

    said = obeyed("pause p-1", result)

    assert said == "pause p-1 is obeyed by 1 of 1 gates (rev 42, 0.04 s after Redis accepted it)"
    assert convergence_json(result) == {
        "gates": [{"gate": "g-1", "url": "http://g-1", "rev": 42, "obeys": True, "seconds": 0.031}],
        "accepted_to_obeyed_seconds": 0.04,
    }


def test_a_gate_that_does_not_obey_is_named_with_its_revision() -> None:
    gates = (gate("g-1", 42, 0.1), gate("g-2", 41, None))

    with pytest.raises(NotConverged, match=r"1 of 2 gates.*not: g-2 at http://g-2 \(rev 41\)") as caught:
        obeyed("pause p-1", Convergence(CHANGE, gates, seconds=5.0))

    assert caught.value.exit_code == 3
    assert convergence_json(Convergence(CHANGE, gates, seconds=5.0))["accepted_to_obeyed_seconds"] is None


def test_no_live_gate_is_not_obedience() -> None:
    with pytest.raises(NotConverged, match="no gate is live"):
        obeyed("pause p-1", Convergence(CHANGE))


def test_a_pause_is_told_in_one_line_and_as_json() -> None:
    words = pause_words(PAUSE, NOON_US + 60_000_000)

    assert words == 'p-1  stop  class new and kind image|video  raid "bots"  by ann  9m left'
    shown = pause_json(PAUSE, NOON_US + 60_000_000)
    assert shown["scope"] == {"classes": ["new"], "kinds": ["image", "video"]}
    assert (shown["seconds_left"], shown["expires_at"]) == (540.0, "2027-01-15T08:10:00.000Z")


def test_pause_ids_are_short_and_differ() -> None:
    ids = {new_pause_id() for _ in range(1_000)}

    assert len(ids) == 1_000
    assert all(len(id_) == 10 and id_.startswith("p-") for id_ in ids)


def test_the_radius_counts_what_was_let_in_of_the_scope() -> None:
    said = preview.words(STATS, only("new"), Action.STOP)

    assert said == "in the last 10m it would have stopped 40 of 100 uploads let in (40%), seen by this gate"


def test_the_radius_of_a_gate_that_ran_for_long_is_its_average() -> None:
    said = preview.words({**STATS, "uptime_s": 1800.0}, Scope(), Action.CHALLENGE)

    assert "challenged about 50 of 50 uploads let in (100%), by this gate's average over the last 30m" in said


@pytest.mark.parametrize(
    ("stats", "scope", "why"),
    [
        (STATS, Scope(kinds=frozenset(("image",))), "by class alone"),
        ({}, Scope(), "cannot be read"),
        ([], Scope(), "cannot be read"),
        ({"rows": [{"count": "many"}], "uptime_s": 1}, Scope(), "cannot be read"),
    ],
)
def test_a_radius_that_cannot_be_known_says_so(stats: object, scope: Scope, why: str) -> None:
    said = preview.words(stats, scope, Action.STOP)

    assert said.startswith("what it would have met in the last 15 minutes is unknown")
    assert why in said


def test_nothing_let_in_is_a_radius_too() -> None:
    said = preview.words({"rows": [], "uptime_s": 0.0}, Scope(), Action.STOP)

    assert said == "in the last 0s it would have stopped 0 of 0 uploads let in, seen by this gate"


def shown_pause(id_: str, active: bool = True, break_glass: bool = False) -> dict[str, object]:
    return {
        "id": id_,
        "rev": 7,
        "active": active,
        "break_glass": break_glass,
        "covers": "class new",
        "scope": {"classes": ["new"]},
        "action": "stop",
        "reason": "raid",
        "text": "",
        "owner": "ann",
        "starts_at": "2027-01-15T08:00:00Z",
        "expires_at": "2027-01-15T08:00:00.000001Z",
        "seconds_left": 0,
    }


def test_what_a_gate_shows_is_read_with_the_hosts_own_pauses_apart() -> None:
    shown = [shown_pause("p-1"), shown_pause("p-3", break_glass=True)]
    over = [shown_pause("p-2", active=False)]

    board, rev = decode_board_page(json.dumps({"rev": 9, "pauses": shown, "ended": over}).encode())

    assert rev == 9
    assert list(board.pauses) == ["p-1"]
    assert [pause.id for pause in board.break_glass] == ["p-3"]
    assert board.pauses["p-1"].scope == only("new")


@pytest.mark.parametrize("answer", [None, [], {}, {"rev": 1, "pauses": [{"id": "p-1"}]}])
def test_what_a_gate_shows_and_nobody_can_read_is_refused(answer: object) -> None:
    with pytest.raises(StateUnreadable):
        decode_board_page(json.dumps(answer).encode())


def test_a_decision_is_told_in_words() -> None:
    answer: dict[str, object] = {
        "decision": "paused", "stage": "pause", "reason": "pause.raid", "retry_after": 12.4, "pause": "p-1",
    }  # fmt: skip

    assert check.words("a-1", answer) == (
        "paused: the upload of a-1 is refused, uploads are paused by pause p-1 "
        "(stage pause, reason pause.raid, try again in 12 s)"
    )


def test_a_score_is_explained_by_what_weighed_most() -> None:
    reasons = (Reason("tempo.burst", 0.5, 0.4), Reason("crowd.ip", 1.0, 0.3))
    score = Score("a-1", 0.7, 0.1, 0.72, reasons, NOON_US, NOON_US, Stamp("e", 3), "card")

    first, heaviest, other, last = explain.words(score).splitlines()

    assert first == "a-1: risk 0.72 (bot 0.70, scam 0.10)"
    assert heaviest.split() == ["crowd.ip", "1.00", "×", "0.3", "=", "0.30"]
    assert other.split()[0] == "tempo.burst"
    assert last.endswith("scorecard card")
