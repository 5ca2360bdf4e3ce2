"""The audit log: a chain in which nothing can be changed or removed unnoticed, in a file that several commands write."""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from gate.cli import main as cli
from gate.cli.audit import copy_problems
from gate.cli.history import record_fields
from gate.core.pause.entry import Pause, PauseChange, Proposal
from gate.core.pause.scope import Action, Scope
from gate.errors import StateUnreadable
from gate.ports.audit import AuditEntry, AuditOutcome
from gate.records.audit import check_chain, decode_audit, encode_audit
from gate.stores.disk.audit_file import AuditFile

NOON_US = 1_800_000_000_000_000
PAUSE = Pause("p-1", 1, Scope(), Action.STOP, "raid", "bots", "ann", None, NOON_US + 60_000_000, set_at_us=NOON_US)


def entry(who: str = "ann") -> AuditEntry:
    return AuditEntry("pause", who, AuditOutcome.DONE, PAUSE.id, None, PAUSE)


def a_log(home: Path, said: list[str] | None = None) -> AuditFile:
    return AuditFile(home, "host-1", lambda: NOON_US, ([] if said is None else said).append)


def test_records_are_numbered_and_each_names_the_one_before(tmp_path: Path) -> None:
    for who in ("ann", "bob", "cid"):
        a_log(tmp_path).record(entry(who))

    records = [decode_audit(line) for line in a_log(tmp_path).lines()]

    assert [(one.seq, one.who, one.chain) for one in records] == [
        (1, "ann", "host-1"),
        (2, "bob", "host-1"),
        (3, "cid", "host-1"),
    ]
    assert [one.prev for one in records[1:]] == [one.hash for one in records[:-1]]
    assert records[0].after is not None
    assert records[0].after["id"] == "p-1"
    assert check_chain(a_log(tmp_path).lines()).problems == ()


@pytest.mark.parametrize("harm", ["alter", "remove", "swap", "insert"])
def test_whatever_is_done_to_a_record_is_found(tmp_path: Path, harm: str) -> None:
    for who in ("ann", "bob", "cid", "dan"):
        a_log(tmp_path).record(entry(who))
    lines = list(a_log(tmp_path).lines())

    match harm:
        case "alter":
            lines[1] = lines[1].replace(b'"who":"bob"', b'"who":"eve"')
        case "remove":
            del lines[1]
        case "swap":
            lines[1], lines[2] = lines[2], lines[1]
        case "insert":
            lines.insert(1, lines[0])

    assert check_chain(lines).problems


def test_commands_at_once_write_one_chain(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: a_log(tmp_path).record(entry(f"who-{n}")), range(40)))

    lines = list(a_log(tmp_path).lines())
    assert len(lines) == 40
    assert check_chain(lines).problems == ()


def test_after_a_torn_line_the_chain_goes_on_and_the_torn_line_is_named(tmp_path: Path) -> None:
    a_log(tmp_path).record(entry())
    with a_log(tmp_path).path.open("ab") as file:
        file.write(b'{"version":1,"cha')

    a_log(tmp_path).record(entry("bob"))

    assert [problem[:6] for problem in check_chain(a_log(tmp_path).lines()).problems] == ["line 2"]


def test_a_log_that_cannot_be_written_stops_nothing_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").mkdir()
    said: list[str] = []

    a_log(tmp_path, said).record(entry())

    assert len(said) == 1
    assert "cannot be written" in said[0]


def test_what_was_sent_is_not_sent_again_and_a_line_being_written_waits(tmp_path: Path) -> None:
    log = a_log(tmp_path)
    for who in ("ann", "bob", "cid"):
        log.record(entry(who))

    first, place = log.unsent(2)
    log.mark_sent(place)
    with log.path.open("ab") as file:
        file.write(b'{"half')
    rest, _ = a_log(tmp_path).unsent(2)

    assert [json.loads(line)["who"] for line in (*first, *rest)] == ["ann", "bob", "cid"]


def test_a_disk_that_keeps_no_place_has_nothing_sent_twice_by_one_process(tmp_path: Path) -> None:
    log = a_log(tmp_path)
    for who in ("ann", "bob", "cid"):
        log.record(entry(who))
    in_the_way = tmp_path / f".audit.sent.{os.getpid()}.draft"
    in_the_way.mkdir()

    first, place = log.unsent(2)
    with pytest.raises(OSError, match="directory"):
        log.mark_sent(place)
    rest, last = log.unsent(2)
    in_the_way.rmdir()
    log.mark_sent(last)

    assert [json.loads(line)["who"] for line in (*first, *rest)] == ["ann", "bob", "cid"]
    assert a_log(tmp_path).unsent(9)[0] == []


@pytest.mark.parametrize("typed", [("history",), ("audit", "verify")], ids=" ".join)
def test_a_log_that_cannot_be_read_is_named_with_what_to_look_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: tuple[str, ...]
) -> None:
    monkeypatch.setenv("UPLOAD_GATE_STATE", str(tmp_path))
    (tmp_path / "audit.jsonl").mkdir()

    ended = cli.run([*typed, "-o", "json"])
    shown = capsys.readouterr()

    assert (ended, shown.out) == (1, "")
    assert f"the audit log {tmp_path}/audit.jsonl cannot be used: Is a directory. Look at the file" in shown.err


def test_a_log_that_was_rotated_is_sent_to_its_end_and_the_new_one_from_its_beginning(tmp_path: Path) -> None:
    log = a_log(tmp_path)
    for who in ("ann", "bob"):
        log.record(entry(who))
    sent, place = log.unsent(1)
    log.mark_sent(place)

    log.path.rename(tmp_path / "audit.jsonl.1")
    for who in ("cid", "dot", "eve"):  # the new file grows beyond the old place
        log.record(entry(who))
    for _ in range(3):
        lines, place = log.unsent(2)
        log.mark_sent(place)
        sent += lines

    assert [json.loads(line)["who"] for line in sent] == ["ann", "bob", "cid", "dot", "eve"]


def test_a_log_that_was_emptied_in_its_place_is_sent_from_its_beginning(tmp_path: Path) -> None:
    log = a_log(tmp_path)
    log.record(entry("ann"))
    log.mark_sent(log.unsent(1)[1])

    os.truncate(log.path, 0)
    nothing = log.unsent(9)[0]
    for who in ("bob", "cid"):
        log.record(entry(who))
    lines, _ = log.unsent(9)

    assert nothing == []
    assert [json.loads(line)["who"] for line in lines] == ["bob", "cid"]


def test_the_place_that_an_earlier_release_kept_still_counts(tmp_path: Path) -> None:
    log = a_log(tmp_path)
    for who in ("ann", "bob"):
        log.record(entry(who))
    (tmp_path / "audit.sent").write_text(f"{len(next(log.lines())) + 1}\n")

    lines, _ = log.unsent(9)

    assert [json.loads(line)["who"] for line in lines] == ["bob"]


@pytest.mark.parametrize("line", [b"", b"{}", b"[" * 100_000, b'{"seq":1}', b"x" * (2 << 20)])
def test_garbage_is_no_record(line: bytes) -> None:
    with pytest.raises(StateUnreadable):
        decode_audit(line)


def test_a_log_that_was_deleted_or_cut_off_is_missed_by_its_copies(tmp_path: Path) -> None:
    for who in ("ann", "bob"):
        a_log(tmp_path).record(entry(who))
    lines = list(a_log(tmp_path).lines())
    copies = [decode_audit(line) for line in lines]

    whole, cut, deleted = (copy_problems(lines[:left], copies, "host-1") for left in (2, 1, 0))

    assert whole == []
    assert cut == ["record 2 of host-1 is in Kafka and not in the file"]
    assert [problem[:18] for problem in deleted] == ["record 1 of host-1", "record 2 of host-1"]


def test_a_record_of_which_the_disk_took_only_a_part_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    write = os.write
    monkeypatch.setattr(os, "write", lambda number, data: write(number, data[:40]))

    a_log(tmp_path, said).record(entry())

    assert len(said) == 1
    assert "only a part of the record" in said[0]


@pytest.mark.parametrize("number", [1, 2, 4])
def test_one_altered_line_is_one_problem_also_beside_its_copy(tmp_path: Path, number: int) -> None:
    for who in ("ann", "bob", "cid", "dan"):
        a_log(tmp_path).record(entry(who))
    lines = list(a_log(tmp_path).lines())
    copies = [decode_audit(line) for line in lines]

    for altered in (lines[number - 1].replace(b'"who":"', b'"who":"not '), b"no record"):
        checked = check_chain([*lines[: number - 1], altered, *lines[number:]])

        assert [problem.partition(":")[0] for problem in checked.problems] == [f"line {number}"]
        assert copy_problems(lines, copies, "host-1", checked.damaged) == []
        assert checked.damaged == {number}


def test_a_record_with_a_hash_made_anew_is_one_problem_of_its_own_line(tmp_path: Path) -> None:
    for who in ("ann", "bob", "cid"):
        a_log(tmp_path).record(entry(who))
    first, second, third = a_log(tmp_path).lines()
    copies = [decode_audit(line) for line in (first, second, third)]
    forged = encode_audit(entry("eve"), "host-1", 2, NOON_US, copies[0].hash)

    checked = check_chain([first, forged, third])

    assert [problem[:32] for problem in checked.problems] == ["line 2: record 2 was altered and"]
    assert copy_problems([first, forged, third], copies, "host-1", checked.damaged) == []


def test_a_record_that_was_removed_beside_an_altered_line_is_a_problem_of_its_own(tmp_path: Path) -> None:
    for who in ("ann", "bob", "cid", "dan"):
        a_log(tmp_path).record(entry(who))
    first, _, _, fourth = a_log(tmp_path).lines()

    problems = check_chain([first, b"no record", fourth]).problems

    assert [problem.partition(":")[0] for problem in problems] == ["line 2", "line 3"]


def test_two_logs_that_continue_one_chain_are_distinguished(tmp_path: Path) -> None:
    """A state directory was copied: both hosts then write records of the same numbers, and both logs are whole."""
    for who in ("ann", "bob"):
        a_log(tmp_path / "one").record(entry(who))
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    for who in ("ann", "cid"):
        a_log(tmp_path / "one").record(entry(who))
    for who in ("eve", "eve", "eve"):
        a_log(tmp_path / "two").record(entry(who))
    one, two = (list(a_log(tmp_path / name).lines()) for name in ("one", "two"))
    copies = [decode_audit(line) for line in (*one, *two[2:])]

    (fork,) = copy_problems(one, copies, "host-1")

    assert check_chain(one).problems == check_chain(two).problems == ()
    assert "record 3 of host-1 exists twice in Kafka: this file's by ann, and another one by eve" in fork


def test_an_approval_names_what_was_approved() -> None:
    waits = replace(PAUSE, proposal=Proposal(PauseChange.RELEASE, "bob", NOON_US))
    approval = AuditEntry("approve", "cid", AuditOutcome.DONE, "p-1", waits, PAUSE, approver="cid")

    fields = record_fields(decode_audit(encode_audit(approval, "host-1", 1, NOON_US, "0" * 64)))

    assert "approves the release that bob proposed" in fields
