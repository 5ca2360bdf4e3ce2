"""What commands say: who obeys, what a pause would have met, what a gate shows, why an account scored as it did."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gate.app.converge import Convergence, GateResult, GateState
from gate.cli import check, explain, policy, preview, status, status_view
from gate.cli import main as cli
from gate.cli.addresses import resolve_addresses
from gate.cli.board_access import new_pause_id
from gate.cli.direct import Direct
from gate.cli.obedience import convergence_json, not_obeyed, obeyed_sentence
from gate.cli.pause_text import lines_of, pause_lines
from gate.cli.release import released_sentence, still_paused
from gate.core.duration import HOUR_US
from gate.core.pause.board import Board
from gate.core.pause.entry import Pause
from gate.core.pause.ramp import position
from gate.core.pause.scope import Action, Exemption, PauseMode, Scope
from gate.core.policy import Unit
from gate.core.score import Reason, Score, Stamp
from gate.errors import StateUnreadable, StoreUnavailable
from gate.local.free_port import free_port
from gate.policyfile.reason_texts import load_reason_texts
from gate.ports.boards import Acknowledgement, Gates
from gate.records.board_document import board_digest
from gate.records.board_page import board_page, decode_board_page
from gate.records.pause import pause_document
from gate.stores.redis.boards import RedisBoardStore
from tests.pages import page

NOON_US = 1_800_000_000_000_000
NEW = Scope(classes=frozenset(("new",)), kinds=frozenset(("image", "video")))
PAUSE = Pause("p-1", 7, NEW, Action.STOP, "raid", "bots", "ann", NOON_US, NOON_US + 600_000_000)
STATS = {
    "rows": [
        {"decision": "allow", "class": "new", "stage": "default", "reason": "allow", "count": 30},
        {"decision": "review", "class": "new", "stage": "score", "reason": "score", "count": 10},
        {"decision": "deny", "class": "new", "stage": "score", "reason": "score", "count": 500},
        {"decision": "allow", "class": "regular", "stage": "default", "reason": "allow", "count": 60},
    ],
    "uptime_s": 600.0,
}


@pytest.fixture(autouse=True)
def in_helsinki(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """People read times in the zone of their terminal."""
    monkeypatch.setenv("TZ", "Europe/Helsinki")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def only(class_: str) -> Scope:
    return Scope(classes=frozenset((class_,)))


def obeying(name: str, rev: int, seconds: float | None) -> GateResult:
    state = GateState.LATE if seconds is None else GateState.OBEYS
    return GateResult(Acknowledgement(name, f"http://{name}", rev, NOON_US), state, seconds)


CHANGE = replace(PAUSE, rev=42)
HERE = resolve_addresses(Path("/var/gate"), redis="redis://10.0.0.5:6379/0", environ={})


def test_all_gates_obeying_is_one_sentence_with_the_time_it_took() -> None:
    result = Convergence(CHANGE, (obeying("g-1", 42, 0.031),), seconds=0.04)

    said = obeyed_sentence("pause p-1", result)

    assert not_obeyed("pause p-1", result, [], HERE) is None
    assert said == "pause p-1 is obeyed by 1 of 1 gates (rev 42, 0.04 s after Redis accepted it)"
    shown = convergence_json(result, [])
    assert shown["gates"] == [
        {"gate": "g-1", "url": "http://g-1", "rev": 42, "obeys": True, "on_disk": True, "seconds": 0.031}
    ]
    assert shown["accepted_to_obeyed_seconds"] == 0.04


def test_a_pause_that_begins_later_says_when_and_which_store_took_it() -> None:
    later = replace(CHANGE, starts_at_us=NOON_US + 120_000_000)
    result = Convergence(later, (obeying("g-1", 42, 0.031),), seconds=0.04)

    said = obeyed_sentence("pause p-1", result, "Kafka", NOON_US)

    assert "after Kafka accepted it); it begins at 10:02 +02:00 (in 2m)" in said
    assert "begins" not in obeyed_sentence("pause p-1", result, "Kafka", NOON_US + 120_000_000)


def test_a_gate_that_does_not_obey_is_named_with_its_revision() -> None:
    result = Convergence(CHANGE, (obeying("g-1", 42, 0.1), obeying("g-2", 41, None)), seconds=5.0)

    error = not_obeyed("pause p-1", result, [], HERE)

    assert error is not None
    assert re.search(r"1 of 2 gates.*not: g-2 at http://g-2 \(rev 41\)", str(error))
    assert error.exit_code == 3
    assert convergence_json(result, [])["accepted_to_obeyed_seconds"] is None


@pytest.mark.parametrize(("gates", "said"), [(1, "the only gate does not obey it"), (3, "none of 3 gates obeys it")])
def test_where_no_gate_obeys_that_is_said_in_plain_words(gates: int, said: str) -> None:
    late = tuple(obeying(f"g-{number}", 41, None) for number in range(gates))

    error = not_obeyed("pause p-1", Convergence(CHANGE, late, seconds=5.0), [], HERE)

    assert f"pause p-1 is written (rev 42), but {said} after 5.0 s; not: g-0" in str(error)


def test_a_gate_that_nobody_hears_is_not_accounted_for() -> None:
    result = Convergence(CHANGE, (obeying("g-1", 42, 0.1),), seconds=0.1)
    unheard = [Acknowledgement("g-2", "http://g-2", 41, NOON_US)]

    error = not_obeyed("pause p-1", result, unheard, HERE)

    assert error is not None
    assert re.search(r"1 of 2 gates.*gate g-2 at http://g-2 was heard of", str(error))
    assert convergence_json(result, unheard)["accepted_to_obeyed_seconds"] is None


def test_a_gate_that_no_longer_answers_is_told_until_when_it_counts_and_how_to_end_that() -> None:
    unheard = [Acknowledgement("g-2", "http://g-2", 41, NOON_US)]

    error = not_obeyed("pause p-1", Convergence(CHANGE, (obeying("g-1", 42, 0.1),)), unheard, HERE)

    assert error is not None
    assert "it counts until 10:05:00 +02:00" in str(error)
    assert "`upload-gate status --forget g-2 --state /var/gate --redis redis://10.0.0.5:6379/0`" in str(error)
    assert "/var/gate/break-glass.json on this one" in str(error)


def test_where_half_a_data_centre_is_cut_off_a_few_gates_are_named_and_the_others_counted() -> None:
    silent = [Acknowledgement(f"g-{number}", "http://g", 41, NOON_US) for number in range(1_000)]
    late = tuple(obeying(f"late-{number}", 41, None) for number in range(1_000))

    error = str(not_obeyed("pause p-1", Convergence(CHANGE, late, seconds=5.0), silent, HERE))

    assert len(error) < 6_000
    assert "none of 2000 gates obeys it" in error
    assert "late-9 at " in error
    assert ", and 990 more; gate g-0 at " in error
    assert "; and 990 more gates no longer answer" in error
    assert "`upload-gate status -o json --state /var/gate --redis redis://10.0.0.5:6379/0` names all gates" in error


def test_a_gate_that_does_not_obey_a_release_is_not_told_to_pause_by_file() -> None:
    released = replace(CHANGE, released_at_us=NOON_US)
    result = Convergence(released, (obeying("g-1", 42, 0.1), obeying("g-2", 41, None)), seconds=5.0)

    error = not_obeyed("release of p-1", result, [], HERE)

    assert error is not None
    assert "break-glass" not in str(error)
    assert (
        "each keeps the pause until it reaches Redis again, or until it expires at 2027-01-15 10:10:00 +02:00"
        in str(error)
    )


def test_a_decision_names_what_was_ignored() -> None:
    answer: dict[str, object] = {
        "decision": "allow",
        "stage": "default",
        "reason": "allow",
        "ignored": ["ip", "device"],
    }

    assert check.decision_sentence("a-1", answer).endswith("; ignored: ip, device")


@pytest.mark.parametrize(
    ("degraded", "ends"), [([], "allow)"), (["store"], "; the gate decided without Redis"), ("x", "allow)")]
)
def test_a_decision_names_the_server_without_which_it_was_made(degraded: object, ends: str) -> None:
    answer: dict[str, object] = {"decision": "allow", "stage": "default", "reason": "allow", "degraded": degraded}

    assert check.decision_sentence("a-1", answer).endswith(ends)


def test_no_live_gate_is_not_obedience() -> None:
    error = not_obeyed("pause p-1", Convergence(CHANGE), [], HERE)

    assert error is not None
    assert "no gate is live" in str(error)


def test_a_pause_is_told_in_one_line_and_as_json() -> None:
    (words,) = pause_lines(PAUSE, NOON_US + 60_000_000, 80)

    assert words == 'p-1  stop  class new and kind image|video  raid "bots"  by ann  9m left'
    shown = pause_document(PAUSE, NOON_US + 60_000_000)
    assert shown["scope"] == {"classes": ["new"], "kinds": ["image", "video"]}
    assert (shown["seconds_left"], shown["expires_at"]) == (540.0, "2027-01-15T08:10:00Z")


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_pause_with_a_long_story_goes_on_in_indented_lines_and_nothing_is_lost(width: int) -> None:
    scope = Scope(countries=frozenset(f"C{number}" for number in range(40)))
    long = replace(PAUSE, scope=scope, text="bots from everywhere " * 8, owner="o" * 100)

    lines = pause_lines(long, NOON_US, width)

    assert max(map(len, lines)) <= width
    assert all(line.startswith("    ") for line in lines[1:])
    together = "".join(line.strip() for line in lines)
    assert all(expected in together for expected in ("p-1", "C39", "o" * 100, "10m left"))


def test_fields_stand_beside_each_other_while_they_fit() -> None:
    assert lines_of(["one", "two", "three"], 40) == ["one  two  three"]
    assert lines_of(["a" * 30, "b" * 20], 40) == ["a" * 30, "    " + "b" * 20]


def test_a_release_says_what_it_released() -> None:
    released = replace(PAUSE, set_at_us=NOON_US, released_at_us=NOON_US + 120_000_000, released_by="kim")

    said = released_sentence(released)

    assert said == 'released p-1: stop uploads of class new and kind image|video, raid "bots", by ann, set 2m ago'


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (Scope(), "note: those uploads stay under pause p-2 (stop platform-wide, raid, by ann, 10m left)"),
        (Scope(classes=frozenset(("new", "regular"))), "note: those uploads stay under pause p-2"),
        (Scope(countries=frozenset(("DE",))), "note: some of those uploads stay under pause p-2"),
        (Scope(classes=frozenset(("regular",))), None),
        (Scope(kinds=frozenset(("document",))), None),
    ],
)
def test_a_release_says_which_other_pauses_still_match_those_uploads(scope: Scope, expected: str | None) -> None:
    other = replace(PAUSE, id="p-2", scope=scope)
    ended = replace(PAUSE, id="p-3", scope=Scope(), released_at_us=NOON_US)

    said = still_paused(PAUSE, Board({"p-1": PAUSE, "p-2": other, "p-3": ended}), NOON_US)

    assert len(said) == (expected is not None)
    assert all(one.startswith(expected or "") for one in said)


def test_a_pause_that_lets_verified_accounts_in_keeps_a_part_of_the_released_uploads() -> None:
    other = replace(PAUSE, id="p-2", action=Action.ALLOW_ONLY)

    (said,) = still_paused(PAUSE, Board({"p-1": PAUSE, "p-2": other}), NOON_US)

    assert said.startswith("note: some of those uploads stay under pause p-2")


def test_a_release_does_not_name_as_still_pausing_what_only_counts_or_is_lifted_here() -> None:
    counts = replace(PAUSE, id="p-2", mode=PauseMode.DRY_RUN)
    lifted, glass = replace(PAUSE, id="p-3"), replace(PAUSE, id="file-1")
    over = replace(PAUSE, id="file-2", expires_at_us=NOON_US)
    ramping = replace(lifted, id="p-4", released_at_us=NOON_US, ramp_us=60_000_000)
    pauses = {pause.id: pause for pause in (PAUSE, counts, lifted, ramping)}

    said = still_paused(PAUSE, Board(pauses, (glass, over), lifted=frozenset(("p-3", "p-4"))), NOON_US)

    assert [sentence.split(" under ")[1].split(" (")[0] for sentence in said] == ["pause file-1"]


def test_a_field_of_blanks_at_the_end_of_a_full_line_is_no_fault() -> None:
    assert lines_of(["a" * 79, "  ", "b"], 80) == ["a" * 79, "b"]
    assert lines_of(["a" * 80, ""], 80) == ["a" * 80]


def test_pause_ids_are_short_and_differ() -> None:
    ids = {new_pause_id() for _ in range(1_000)}

    assert len(ids) == 1_000
    assert all(len(id_) == 10 and id_.startswith("p-") for id_ in ids)


def test_the_preview_counts_what_was_let_in_of_the_scope() -> None:
    said = preview.preview_sentence(STATS, only("new"), Action.STOP)

    assert said == "in the last 10m it would have stopped 40 of 100 uploads let in (40%), as this gate counted"


def test_the_preview_of_a_gate_that_ran_for_long_is_its_average() -> None:
    said = preview.preview_sentence({**STATS, "uptime_s": 1800.0}, Scope(), Action.CHALLENGE)

    assert "challenged about 50 of 50 uploads let in (100%), by this gate's average over the last 30m" in said


@pytest.mark.parametrize(
    ("stats", "scope", "why"),
    [
        (STATS, Scope(kinds=frozenset(("image",))), "by class alone"),
        (STATS, Scope(accounts=frozenset(("a-1",))), "by class alone"),
        (STATS, Scope(frozenset(("new",)), younger_than_us=86_400_000_000), "by class alone"),
        (STATS, Scope(risk_from=0.8), "by class alone"),
        ({}, Scope(), "cannot be read"),
        ([], Scope(), "cannot be read"),
        ({"rows": [{"count": "many"}], "uptime_s": 1}, Scope(), "cannot be read"),
    ],
)
def test_a_preview_that_cannot_be_known_says_so(stats: object, scope: Scope, why: str) -> None:
    said = preview.preview_sentence(stats, scope, Action.STOP)

    assert said.startswith("what it would have met in the last 15 minutes is unknown")
    assert why in said


def test_nothing_let_in_is_a_preview_too() -> None:
    said = preview.preview_sentence({"rows": [], "uptime_s": 0.0}, Scope(), Action.STOP)

    assert said == "in the last 0s it would have stopped 0 of 0 uploads let in, as this gate counted"


def test_a_class_of_which_the_gate_saw_no_upload_is_warned_about() -> None:
    (said,) = preview.unmet_warnings(STATS, Scope(classes=frozenset(("new", "vip"))))

    assert said == "warning: no upload of class vip reached this gate in the last 10m; is the class spelled right?"
    assert preview.unmet_warnings({"rows": [], "uptime_s": 1.0}, only("vip")) == []
    assert preview.unmet_warnings({}, only("vip")) == []


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

    assert check.decision_sentence("a-1", answer) == (
        "paused: the upload of a-1 is refused, uploads are paused by pause p-1 "
        "(stage pause, reason pause.raid, try again in 12 s)"
    )


def test_a_score_is_explained_by_what_weighed_most() -> None:
    reasons = (Reason("tempo.burst", 0.5, 0.4), Reason("network.device_accounts.freshness", 31.0, 2.5, None))
    score = Score("a-1", 0.7, 0.1, 0.72, reasons, NOON_US, NOON_US, Stamp("e", 3), "card")

    first, heaviest, other, last = explain.score_lines(score, load_reason_texts(None), NOON_US)

    assert first == "a-1: risk 0.72 (bot 0.70, scam 0.10)"
    assert heaviest.split()[:2] == ["+2.50", "network.device_accounts.freshness"]
    assert heaviest.endswith("31 accounts share its device; unknown whether the account is new")
    assert other.split()[1] == "tempo.burst"
    assert last.endswith("scorecard card")


def test_an_account_is_told_which_pauses_may_hold_it() -> None:
    new = replace(PAUSE, scope=Scope(classes=frozenset({"new"})))
    listed = replace(PAUSE, scope=Scope(accounts=frozenset({"a-1"})), exempt=Exemption(classes=frozenset({"trusted"})))
    risky = replace(PAUSE, scope=Scope(risk_from=0.5))

    assert [explain.may_hold(pause, "a-1", "NEW", 0.6) for pause in (new, listed, risky)] == [True, True, True]
    assert [explain.may_hold(pause, "a-2", "trusted", 0.4) for pause in (new, listed, risky)] == [False, False, False]
    assert [explain.may_hold(pause, "a-1", None, None) for pause in (new, listed, risky)] == [True, True, False]
    assert not explain.may_hold(listed, "a-1", "trusted", None)


def test_an_account_that_an_ended_pause_has_not_let_back_yet_is_told_of_it() -> None:
    ended = replace(PAUSE, released_at_us=NOON_US, ramp_us=600_000_000)
    place = position(ended.id, "a-1")
    back_us = NOON_US + int(600_000_000 * (1 - place))

    assert explain.may_hold(ended, "a-1", None, None, back_us - 1_000)
    assert not explain.may_hold(ended, "a-1", None, None, back_us + 1_000)


def test_without_redis_explain_shows_the_pauses_that_the_gate_at_hand_obeys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now_us = time.time_ns() // 1_000
    lasting = replace(PAUSE, set_at_us=now_us, starts_at_us=None, expires_at_us=now_us + 600_000_000)
    glass = replace(lasting, id="file-1", scope=Scope())
    lifted = replace(lasting, id="p-2")
    by_score = replace(lasting, id="p-3", scope=Scope(risk_from=0.9))
    board = Board({pause.id: pause for pause in (lasting, lifted, by_score)}, (glass,), lifted=frozenset(("p-2",)))
    shown = board_page(board, now_us, {"lifted": ["p-2"]}, now_us)

    with page(lambda _: (200, shown)) as admin:
        away = ["--redis", f"redis://127.0.0.1:{free_port()}/0"]
        ended = cli.run(["explain", "a-1", "--state", str(tmp_path), "--admin", admin, *away])

    out, err = capsys.readouterr()
    assert ended == 1
    assert [line.split(":")[0] for line in out.splitlines()] == [
        "may be held by file-1",
        "may be held by p-1",
        "may be held by p-3",
    ]
    assert "from the host's break-glass file" in out.splitlines()[0]
    assert "cannot be reached" in err


def test_explain_names_pauses_by_score_that_hold_an_account_only_on_a_hot_device(
    tmp_path: Path, redis_url: str, unique: Callable[[], str], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    now_us = time.time_ns() // 1_000
    monkeypatch.setenv("UPLOAD_GATE_PREFIX", f"{unique()}:")
    by_score = replace(
        PAUSE,
        id="p-3",
        set_at_us=now_us,
        starts_at_us=None,
        expires_at_us=now_us + 600_000_000,
        scope=Scope(risk_from=0.9),
    )
    of_others = replace(by_score, id="p-4", scope=Scope(risk_from=0.9, accounts=frozenset({"b"})))

    async def store() -> None:
        boards = RedisBoardStore(redis_url, prefix=os.environ["UPLOAD_GATE_PREFIX"])
        assert await boards.replace(0, Board({pause.id: pause for pause in (by_score, of_others)}))
        await boards.close()

    asyncio.run(store())
    ended = cli.run(["explain", "a-1", "--state", str(tmp_path), "--redis", redis_url])

    out, _ = capsys.readouterr()
    (line,) = [line for line in out.splitlines() if line.startswith("may be held")]
    assert ended == 0
    assert line.startswith("may be held by p-3: ")
    assert line.endswith(explain.ONLY_WHERE_HOT)


def test_explain_names_the_override_that_decides_before_the_score(
    tmp_path: Path, redis_url: str, unique: Callable[[], str], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("UPLOAD_GATE_PREFIX", f"{unique()}:")
    system = ["--state", str(tmp_path), "--redis", redis_url]
    details = ["--for", "7d", "--reason", "spam ring", "--by", "ann", "--yes"]
    assert cli.run(["override", "set", "a-1", "--deny", *details, *system]) == 0
    capsys.readouterr()

    ended = cli.run(["explain", "a-1", *system]), cli.run(["explain", "a-2", *system])
    lines = capsys.readouterr().out.splitlines()
    cli.run(["explain", "a-1", *system, "-o", "json"])
    shown = json.loads(capsys.readouterr().out)

    assert ended == (0, 0)
    (line,) = [line for line in lines if line.startswith("override: ")]
    assert line.startswith("override: a-1 is refused for ")
    assert line.endswith(", by ann: spam ring")
    assert (shown["score"], shown["override"]["override"], shown["override"]["owner"]) == (None, "deny", "ann")


def test_an_explained_score_is_the_decayed_one_that_checks_judge_by() -> None:
    day_us = 86_400_000_000
    score = Score("a-1", 0.7, 0.1, 0.8, (), NOON_US, NOON_US, Stamp("e", 3), "card", half_life_us=day_us, base=0.1)

    first, nothing, _ = explain.score_lines(score, load_reason_texts(None), NOON_US + day_us)

    assert first == "a-1: risk 0.40, decayed from 0.80 since its last event (bot 0.70, scam 0.10)"
    assert nothing == "  no signal weighs for or against it: this is the risk of every such account"
    assert explain.riskiest_lines([score], load_reason_texts(None), NOON_US + day_us) == ["risk 0.40  a-1"]


@pytest.mark.parametrize(
    ("count", "unit", "text"),
    [
        (1, Unit.UPLOADS, "1 upload"),
        (3, Unit.UPLOADS, "3 uploads"),
        (60_000, Unit.UPLOADS, "60,000 uploads"),
        (2 << 30, Unit.BYTES, "2 GiB"),
        (3 << 29, Unit.BYTES, "1.5 GiB"),
        (1 << 40, Unit.BYTES, "1 TiB"),
        (1023, Unit.BYTES, "1023 bytes"),
    ],
)
def test_sizes_are_told_in_the_unit_people_write(count: int, unit: Unit, text: str) -> None:
    assert policy.amount_text(count, unit) == text


def test_status_fits_its_terminal_and_tells_gates_apart(tmp_path: Path) -> None:
    addresses = resolve_addresses(tmp_path, redis="redis://:s3cret@10.0.0.5:6379/0", environ={})
    pauses = {f"p-{number}": replace(PAUSE, id=f"p-{number}", text="bots " * 30) for number in range(5)}
    glass = replace(PAUSE, id="glass")
    digest = board_digest(Board(pauses))
    gates = (
        Acknowledgement("g-1:81:b00t", "http://g-1.example:8390", 7, NOON_US, digest=digest, policy="aaaa"),
        Acknowledgement("g-2:81:b00t", "http://g-2.example:8390", 7, NOON_US, digest="other", policy="bbbb"),
        Acknowledgement(
            "g-3:81:b00t", "http://g-3.example:8390", 7, NOON_US - 60_000_000, digest=digest, on_disk=False
        ),
    )

    lines = status.status_lines(
        status_view.StatusView("redis", Board(pauses, (glass,)), 7, gates, NOON_US), "aaaa", addresses, 80
    )

    assert max(map(len, lines)) <= 80
    shown = "\n".join(lines)
    for expected in ("5 active pauses (rev 7)", "redis://:***@10.0.0.5:6379/0 (--redis)", "p-4", "BREAK-GLASS FILE"):
        assert expected in shown
    first, second, third = (shown.index(f"gate g-{number}") for number in (1, 2, 3))
    assert "BEHIND" not in shown[first:second]
    assert "policy aaaa" in shown[first:second]
    assert "BEHIND rev 7" in shown[second:third]
    assert "policy bbbb" in shown[second:third]
    assert "SILENT" in shown[third:]
    assert "NOT ON DISK" in shown[third:]


def test_without_redis_status_goes_by_the_gates_time_and_shows_the_gates_that_kafka_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = replace(PAUSE, id="p-0", rev=1, released_at_us=NOON_US, released_by="ann")
    board = Board({"p-0": ended, "p-1": PAUSE})
    shown = board_page(board, NOON_US, {"controls_age_s": 0.2}, NOON_US)
    behind = Acknowledgement("g-2", "http://g-2", 1, NOON_US + HOUR_US - 500_000, digest="old")
    obeys = Acknowledgement("g-1", "http://g-1", 7, NOON_US + HOUR_US, digest=board_digest(board))
    # the broker's clock is an hour ahead of Redis', by which pauses end
    kafka = status_view.StatusView("kafka", board, 7, (obeys, behind), NOON_US + HOUR_US)
    monkeypatch.setattr(status_view, "_from_kafka", lambda _: kafka)

    with page(lambda _: (200, shown)) as admin:
        away = ["--redis", f"redis://127.0.0.1:{free_port()}/0"]
        cli.run(["status", "--state", str(tmp_path), "--admin", admin, *away])

    out = " ".join(capsys.readouterr().out.split())
    assert "1 active pause (rev 7)" in out
    assert "10m left until 10:10 +02:00 (in 10m)" in out
    assert "gate g-1 at http://g-1: rev 7, heard 0.0 s ago gate" in out
    assert "gate g-2 at http://g-2: rev 1, heard 0.5 s ago, BEHIND rev 7" in out
    assert "LACKS" not in out


def test_a_gates_clock_agrees_also_where_status_has_waited_for_redis_and_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    board, waited_us = Board({"p-1": PAUSE}), 3_000_000
    said = Acknowledgement(
        "g-1", "http://g-1", 7, NOON_US + waited_us, digest=board_digest(board), store_us=NOON_US + waited_us
    )
    kafka = status_view.StatusView("kafka", board, 7, (said,), NOON_US + waited_us)
    monkeypatch.setattr(status_view, "_from_kafka", lambda _: kafka)
    read_s = time.monotonic() - waited_us / 1e6
    page = status_view.GatePage(board, 7, NOON_US, read_s, board_digest(board), hears_kafka=True)

    view = status_view._without_redis(HERE, StoreUnavailable("away"), page)
    lines = status.status_lines(view, None, HERE, 200)

    assert view.now_us >= NOON_US + waited_us
    assert not any("CLOCK" in line for line in lines)


def test_status_names_the_pauses_that_a_gates_host_lifts() -> None:
    board = Board({"p-1": PAUSE})
    lifts = Acknowledgement(
        "g-1", "http://g-1", 7, NOON_US, digest=board_digest(board), lifted=("p-1", "p-over"), policy="aaaa"
    )

    lines = status.status_lines(status_view.StatusView("redis", board, 7, (lifts,), NOON_US), "aaaa", HERE, 200)

    assert any("LIFTS p-1 BY ITS HOST'S FILE, policy aaaa" in line for line in lines)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ({"salt": "aa", "workers_salt": "bb"}, "SALT DIFFERS FROM THE WORKERS', policy aaaa"),
        ({"salt": "aa", "workers_salt": "aa"}, "heard 0.0 s ago, policy aaaa"),
        ({"salt": "aa"}, "heard 0.0 s ago, policy aaaa"),
        ({"workers_salt": "bb"}, "heard 0.0 s ago, policy aaaa"),
        ({"pauses_known": False}, "KNOWS NO PAUSES, policy aaaa"),
    ],
)
def test_status_names_each_gate_with_another_salt_than_the_workers_or_without_pauses(
    said: dict[str, object], shown: str
) -> None:
    board = Board({"p-1": PAUSE})
    gate = Acknowledgement("g-1", "http://g-1", 7, NOON_US, digest=board_digest(board), policy="aaaa")
    gate = replace(gate, **said)  # type: ignore[arg-type]
    view = status_view.StatusView("redis", board, 7, (gate,), NOON_US)

    (line,) = (line for line in status.status_lines(view, "aaaa", HERE, 200) if line.startswith("gate g-1"))
    (told,) = status._json(view, "aaaa", HERE)["gates"]  # type: ignore[misc]  # the JSON's parts have no types

    assert line.endswith(shown)
    assert told["salt_differs"] is ("SALT" in shown)
    assert told["pauses_known"] is ("KNOWS" not in shown)


def test_status_says_that_gates_have_different_salts_and_names_some() -> None:
    gates = [
        Acknowledgement(f"g-{n}", "http://g", 7, NOON_US, salt=salt) for n, salt in enumerate(("aa", "", "bb", "aa"))
    ]

    (note,) = status_view._other_salts(gates)

    assert "such as g-2, g-3:" in note
    assert status_view._other_salts(gates[:2]) == ()


@pytest.mark.parametrize(
    ("ahead_us", "shown", "not_held"),
    [
        (HOUR_US, "CLOCK 1h AHEAD, DOES NOT HOLD p-1 BY ITS CLOCK, policy aaaa", ["p-1"]),
        (120_000_000, "CLOCK 2m AHEAD, policy aaaa", []),
        (-120_000_000, "CLOCK 2m BEHIND, DOES NOT HOLD p-2 BY ITS CLOCK, policy aaaa", ["p-2"]),
        (-5_000_000, "heard 0.0 s ago, policy aaaa", []),  # the acknowledgement was under way
        (500_000, "heard 0.0 s ago, policy aaaa", []),
    ],
)
def test_status_names_the_pauses_that_a_gate_does_not_hold_by_its_clock(
    ahead_us: int, shown: str, not_held: list[str]
) -> None:
    begun = replace(PAUSE, id="p-2", starts_at_us=NOON_US - 60_000_000, expires_at_us=NOON_US + 8 * HOUR_US)
    board = Board({"p-1": replace(PAUSE, starts_at_us=None), "p-2": begun})
    said = Acknowledgement(
        "g-1", "http://g-1", 7, NOON_US, digest=board_digest(board), store_us=NOON_US + ahead_us, policy="aaaa"
    )
    view = status_view.StatusView("redis", board, 7, (said,), NOON_US)

    (line,) = (line for line in status.status_lines(view, "aaaa", HERE, 200) if line.startswith("gate g-1"))
    (told,) = status._json(view, "aaaa", HERE)["gates"]  # type: ignore[misc]  # the JSON's parts have no types

    assert line.endswith(shown)
    assert told["not_held_by_clock"] == not_held  # type: ignore[index]
    assert told["obeys"] is not bool(not_held)  # type: ignore[index]


def test_status_shows_a_restarted_gate_once_and_a_gone_one_with_its_end() -> None:
    digest = board_digest(Board())
    live, before, first, gone = (
        Acknowledgement(name, "http://g:1", 1, NOON_US - ago_s * 1_000_000, boot=boot, digest=digest)
        for name, boot, ago_s in (("g-1", "c", 0), ("g-1", "b", 60), ("g-1", "a", 90), ("g-2", "d", 100))
    )
    view = status_view.StatusView("redis", Board(), 1, (first, before, live, gone), NOON_US)

    lines = status.status_lines(view, "aaaa", HERE, 200)

    assert status.one_a_name(view) == [(live, 2), (gone, 0)]
    (one,) = (line for line in lines if "gate g-1" in line)
    assert "(an earlier process of it stopped without saying so)" in one
    assert any("gate g-2" in line and "SILENT, counts until 10:03:20 +02:00" in line for line in lines)


def test_status_fails_unless_each_gate_is_heard_and_obeys() -> None:
    board = Board({"p-1": PAUSE})
    obeys = Acknowledgement("g-1", "http://g-1", 7, NOON_US, digest=board_digest(board), on_disk=False)
    silent = replace(obeys, gate="g-2", acknowledged_at_us=NOON_US - 60_000_000)
    behind, lifts = replace(obeys, gate="g-3", digest="old"), replace(obeys, gate="g-4", lifted=frozenset(("p-1",)))

    def failed(source: str, *gates: Acknowledgement, unread: tuple[str, ...] = ()) -> str | None:
        view = status_view.StatusView(source, board, 7, gates, NOON_US, unread_gates=unread)
        error = status.not_all_obey(view)
        return None if error is None else error.problem

    assert failed("redis", obeys) is None
    assert failed("redis", obeys, silent, behind, lifts) == "not every gate is known to obey: g-2, g-3, g-4"
    assert failed("redis", obeys, unread=("g-5",)) == "not every gate is known to obey: g-5"
    assert failed("redis") == "no gate is heard"
    assert failed("gate") == "whether the other gates obey is unknown without Redis and Kafka"


def test_the_riskiest_accounts_are_listed_one_a_line_with_what_weighed_most() -> None:
    reasons = (Reason("tempo.burst", 0.5, 0.4), Reason("crowd.ip", 1.0, 0.3))
    scores = [Score("a-1", 0.7, 0.1, 0.72, reasons, NOON_US, NOON_US, Stamp("e", 3), "card")]

    texts = load_reason_texts(None)

    lines = explain.riskiest_lines(scores, texts, NOON_US)

    assert lines == ["risk 0.72  a-1  more uploads at once than people do (0.50 of 1)"]
    assert explain.riskiest_lines([], texts, NOON_US) == ["no account has a score"]


def test_without_redis_and_a_gate_status_ends_pauses_by_the_gates_clock_and_not_the_brokers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Operating:
        """What Kafka tells whose broker's clock is an hour ahead of the one by which pauses end."""

        async def board(self) -> Board:
            return Board({"p-1": PAUSE})

        async def now_us(self) -> int:
            return NOON_US

        async def gates(self, within_us: int) -> Gates:
            said = Acknowledgement("g-1", "http://g-1", 7, NOON_US + HOUR_US - 300_000)
            return Gates(NOON_US + HOUR_US, (said,))

    @asynccontextmanager
    async def operating(*_: object, **__: object) -> AsyncIterator[Operating]:
        yield Operating()

    monkeypatch.setattr(status_view, "operating", operating)

    there = resolve_addresses(Path("/var/gate"), redis="redis://10.0.0.5:6379/0", kafka="10.0.0.6:9092", environ={})

    view = asyncio.run(status_view._stored(there, Direct.KAFKA, both=False))

    first, *_ = status.status_lines(view, "aaaa", there, 200)
    assert first.startswith("1 active pause")
    assert view.now_us - view.gates[0].acknowledged_at_us == 300_000
