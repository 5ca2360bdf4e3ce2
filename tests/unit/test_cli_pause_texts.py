"""What commands say of a pause: the same words for a scope and a count everywhere, and all of it before it is set."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gate.app.operate import Details
from gate.cli import main as cli
from gate.cli.addresses import resolve_addresses
from gate.cli.authority import proposed
from gate.cli.history import record_fields
from gate.cli.output import Output, say_error
from gate.cli.pause_intention import dry_run_document, intention_lines
from gate.cli.pause_text import pause_fields
from gate.cli.release import released_sentence
from gate.core.pause.board import Board
from gate.core.pause.entry import Pause, PauseChange, Proposal
from gate.core.pause.scope import Action, Exemption, InFlight, PauseMode, Scope
from gate.core.pause.wording import effect_on, pause_counts
from gate.errors import ControlRefused
from gate.local.free_port import free_port
from gate.ports.audit import AuditEntry, AuditOutcome
from gate.records.audit import decode_audit, encode_audit
from gate.records.board_page import board_page, decode_board_page
from tests.pages import page

NOON_US = 1_800_000_000_000_000
HOUR_US = 3_600_000_000
SCOPE = Scope(frozenset(("new", "unverified")), younger_than_us=7 * 24 * HOUR_US)
PAUSE = Pause(
    "p-1", 7, SCOPE, Action.STOP, "raid", "bots", "ann", None, NOON_US + HOUR_US, set_at_us=NOON_US, percent=20,
    exempt=Exemption(verified=True),
)  # fmt: skip
WANTED = (SCOPE, Action.STOP, "raid", "bots", "ann", 4 * HOUR_US)


def test_history_and_status_word_a_scope_alike() -> None:
    line = encode_audit(AuditEntry("pause", "ann", AuditOutcome.DONE, "p-1", None, PAUSE), "h", 1, NOON_US, "0" * 64)

    past, now = record_fields(decode_audit(line)), pause_fields(PAUSE, NOON_US)

    for said in ("class new|unverified and accounts younger than 7d", "20% of accounts", "except verified accounts"):
        assert said in " ".join(past)
        assert said in " ".join(now)
    assert "younger_than_seconds" not in " ".join(past)


def test_a_record_of_a_newer_release_is_shown_as_far_as_it_is_understood() -> None:
    line = encode_audit(AuditEntry("pause", "ann", AuditOutcome.DONE, "p-1", None, PAUSE), "h", 1, NOON_US, "0" * 64)
    record = decode_audit(line)
    assert record.after is not None

    fields = record_fields(type(record)(**{
        **{name: getattr(record, name) for name in record.__struct_fields__},
        "after": record.after | {"scope": {"planets": ["mars"]}},
    }))  # fmt: skip

    assert "stop, raid, of uploads that cannot be read here" in " ".join(fields)


def test_everything_that_a_pause_will_do_is_said_before_it_is_set() -> None:
    details = Details(
        percent=20, exempt=Exemption(frozenset(("trusted",)), verified=True), in_flight=InFlight.ABORT,
        ramp_us=300_000_000, incident="https://inc.example/1", public="We are under attack", machine=True,
        public_link="https://status.example", starts_in_us=60_000_000,
    )  # fmt: skip

    lines = intention_lines(WANTED, details, "in Redis at redis://h:1")

    said = "\n".join(lines)
    assert lines[0] == (
        "stop uploads of class new|unverified and accounts younger than 7d, 20% of accounts, except class trusted, "
        "verified accounts, for 4h, beginning in 1m, reason raid, by ann as a machine, in Redis at redis://h:1"
    )
    for expected in (
        "held too", "come back over 5m", '"bots"', 'tells uploaders "We are under attack" https://status.example',
        "incident https://inc.example/1",
    ):  # fmt: skip
        assert expected in said
    written = dry_run_document(WANTED, details)
    assert (written["percent"], written["public"], written["ramp_seconds"], written["in_flight"]) == (
        20, "We are under attack", 300, "abort",
    )  # fmt: skip
    assert written["exempt"] == {"classes": ["trusted"], "verified": True}


def test_a_pause_without_options_says_how_it_ends() -> None:
    lines = intention_lines(WANTED, Details(), "in Redis at redis://h:1")

    assert lines == [
        "stop uploads of class new|unverified and accounts younger than 7d for 4h, reason raid, by ann, in Redis at "
        "redis://h:1",
        "  uploads that began before it may end; after it accounts come back over 10m",
        '  message "bots"',
    ]
    counted = intention_lines(WANTED, Details(mode=PauseMode.DRY_RUN), "here")
    assert counted[0].startswith(
        "only count uploads of class new|unverified and accounts younger than 7d (would stop them) for 4h"
    )
    assert counted[1] == "  it holds no upload before `extend ID --enforce`"


def test_the_release_of_a_pause_tells_of_a_ramp_only_where_it_held_somebody() -> None:
    ended = replace(PAUSE, released_at_us=NOON_US, released_by="ann", ramp_us=60_000_000)

    assert "accounts come back over 1m" in released_sentence(ended)
    assert "come back" not in released_sentence(replace(ended, mode=PauseMode.DRY_RUN))


def test_counts_name_what_is_active_and_what_is_not() -> None:
    later = replace(PAUSE, id="p-2", starts_at_us=NOON_US + 60_000_000)
    ended = replace(PAUSE, id="p-3", released_at_us=NOON_US - 1, released_by="ann", ramp_us=60_000_000)
    board = Board({pause.id: pause for pause in (PAUSE, later, ended)}, (replace(PAUSE, id="glass"),))

    assert pause_counts(board, NOON_US, 7) == [
        "1 active pause (rev 7)", "1 from the host's break-glass file", "1 waiting", "1 ended, accounts come back",
    ]  # fmt: skip
    assert pause_counts(Board(), NOON_US, 0) == ["0 active pauses (rev 0)"]


def test_a_proposed_change_is_no_error_and_has_the_exit_code_of_what_waits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    waits = replace(PAUSE, proposal=Proposal(PauseChange.SET, "ann", NOON_US))
    addresses = resolve_addresses(tmp_path, redis="redis://127.0.0.1:1/0", environ={})

    problem = proposed(waits, addresses, Output.JSON, NOON_US)
    say_error(problem)
    say_error(ControlRefused("it is refused"))

    out, err = capsys.readouterr()
    assert problem.exit_code == 3
    assert json.loads(out)["id"] == "p-1"
    first, second = err.splitlines()
    assert first.startswith(
        "proposed: pause p-1 is not in force until a second person approves. They type `upload-gate"
    )
    assert second == "error: it is refused"


def test_several_mistakes_in_a_policy_are_several_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("foo = 1\n[bar]\n")

    ended = cli.run(["policy", "try", str(policy), "--admin", f"http://127.0.0.1:{free_port()}"])

    err = capsys.readouterr().err
    assert ended == 2
    assert "\\n" not in err
    assert any(line.startswith(f"{policy}:1: foo:") for line in err.splitlines())


@pytest.mark.parametrize("last", ["0", "-3"])
def test_no_number_of_records_is_refused(last: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ended = cli.run(["history", f"--last={last}", "--state", str(tmp_path), "--kafka", "127.0.0.1:1"])

    assert ended == 2
    assert "--last" in capsys.readouterr().err


def test_ctrl_c_ends_a_watched_status_in_peace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gate.cli.status.time.sleep", interrupted)
    with page(lambda _: (200, board_page(Board(), NOON_US, {}, NOON_US))) as admin:
        ended = cli.run(
            [
                "status",
                "-w",
                "--state",
                str(tmp_path),
                "--admin",
                admin,
                "--redis",
                f"redis://127.0.0.1:{free_port()}/0",
            ]
        )

    out, err = capsys.readouterr()
    assert ended == 0
    assert "0 active pauses" in out
    assert "cancelled" not in err


def test_a_watched_status_waits_for_the_end_of_an_outage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slept: list[float] = []

    def interrupted_later(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("gate.cli.status.time.sleep", interrupted_later)
    nowhere = ["--admin", f"http://127.0.0.1:{free_port()}", "--redis", f"redis://127.0.0.1:{free_port()}/0"]

    ended = cli.run(["status", "-w", "--state", str(tmp_path), *nowhere])

    assert ended == 0
    assert capsys.readouterr().err.count("error: neither Redis") == 2


def test_a_gate_shows_what_waits_for_a_second_person_and_what_ramps_as_its_board_has_it() -> None:
    waits = replace(PAUSE, id="p-2", proposal=Proposal(PauseChange.SET, "ann", NOON_US))
    ended = replace(PAUSE, id="p-3", released_at_us=NOON_US - 1, released_by="ann", ramp_us=60_000_000)
    board = Board({pause.id: pause for pause in (PAUSE, waits, ended)})

    shown, rev = decode_board_page(board_page(board, NOON_US, {}, NOON_US))

    assert pause_counts(shown, NOON_US, rev) == pause_counts(board, NOON_US, rev)
    assert pause_counts(shown, NOON_US, rev)[1:] == ["1 waiting", "1 ended, accounts come back"]


def test_status_names_the_mistakes_of_a_policy_file_that_is_not_in_force(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = {"rev": 0, "pauses": [], "hash": "abc", "problem": "p.toml:1: foo: unknown key\np.toml:2: bar: unknown key"}
    with page(lambda _: (200, json.dumps(both).encode())) as admin:
        where = ["--state", str(tmp_path), "--admin", admin, "--redis", f"redis://127.0.0.1:{free_port()}/0"]
        ended = cli.run(["status", *where])
        text = capsys.readouterr()
        cli.run(["status", "-o", "json", *where])

    assert ended == 3
    assert "whether the other gates obey is unknown" in text.err
    assert (
        "warning: the policy file has mistakes, and the last good one stays in force: p.toml:1: foo: unknown key; "
        in text.err
    )
    assert json.loads(capsys.readouterr().out)["policy_problem"] == both["problem"]


@pytest.mark.parametrize(
    ("action", "mode", "said"),
    [
        (Action.STOP, PauseMode.ENFORCE, "stop uploads"),
        (Action.THROTTLE, PauseMode.ENFORCE, "throttle uploads to 10% of minutes"),
        (Action.THROTTLE, PauseMode.DRY_RUN, "only count uploads (would throttle them to 10% of minutes)"),
    ],
)
def test_what_a_pause_does_is_said_of_its_uploads(action: Action, mode: PauseMode, said: str) -> None:
    assert effect_on("uploads", action, 0.1, mode) == said
