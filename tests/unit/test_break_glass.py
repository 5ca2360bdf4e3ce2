"""The break-glass file: what people may leave out, what is not obeyed, and when the file is read again."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from gate.core.pause.scope import Action, Scope
from gate.errors import StateUnreadable
from gate.records.break_glass_document import BreakGlass, decode_break_glass
from gate.records.complaints import plain_complaint
from gate.stores.disk.break_glass import BreakGlassFile

ROOT = Path(__file__).parents[2]
NOON_US = 1_764_158_400_000_000
HOUR_US = 3_600_000_000
LEAST = {"scope": {"classes": ["new"]}, "action": "stop", "reason": "raid", "for": "4h"}


def document(*pauses: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({**more, "pauses": pauses}).encode()


def test_the_least_that_people_must_write_is_scope_action_reason_and_an_end() -> None:
    (pause,) = decode_break_glass(document(LEAST), NOON_US).pauses

    assert (pause.id, pause.rev, pause.owner) == ("break-glass-1", 1, "break-glass file")
    assert (pause.scope, pause.action) == (Scope(classes=frozenset({"new"})), Action.STOP)
    assert (pause.set_at_us, pause.starts_at_us, pause.expires_at_us) == (NOON_US, None, NOON_US + 4 * HOUR_US)


def test_times_are_written_as_people_write_them() -> None:
    given = {**LEAST, "expires_at": "2025-11-26T17:00:00+01:00"}
    del given["for"]

    (pause,) = decode_break_glass(document(given), NOON_US).pauses

    assert pause.expires_at_us == NOON_US + 4 * HOUR_US


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"scope": None}, "scope"),
        ({"for": "4 hours"}, "span of time"),
        ({"for": 4}, "for"),
        ({"expires_at": "2025-11-26T17:00:00Z"}, "both"),
        ({"clases": ["new"]}, "clases"),
        ({"action": "halt"}, "halt"),
        ({"id": "p-1"}, "twice"),
    ],
)
def test_an_entry_with_a_slip_of_the_pen_is_named_and_the_others_are_obeyed(change: dict[str, Any], why: str) -> None:
    good = {**LEAST, "id": "p-1"}

    read = decode_break_glass(document(good, {**LEAST, **change}), NOON_US)

    assert [pause.id for pause in read.pauses] == ["p-1"]
    assert why in read.refused[0]


def test_an_unknown_field_in_the_file_of_a_newer_release_is_no_slip_of_the_pen() -> None:
    read = decode_break_glass(document({**LEAST, "incident": "INC-1"}, version=2), NOON_US)

    assert len(read.pauses) == 1
    assert read.refused == ()


def test_the_runbooks_example_is_in_force_when_it_is_written() -> None:
    runbook = (ROOT / "deploy" / "runbooks" / "pause-uploads.md").read_text()
    found = re.search(r'^    (\{"pauses".*?\]\})$', runbook, re.DOTALL | re.MULTILINE)
    assert found is not None

    read = decode_break_glass(found[1].encode(), NOON_US)

    assert read.refused == ()
    assert [pause.active(NOON_US) for pause in read.pauses] == [True]


def test_the_file_is_read_when_it_has_changed_and_not_otherwise(tmp_path: Path) -> None:
    file = BreakGlassFile(tmp_path / "glass.json")
    nothing = file.changed()
    file.path.write_bytes(document(LEAST))

    first, second = file.changed(), file.changed()
    file.path.unlink()
    after = [file.changed() for _ in range(4)]

    assert nothing is None
    assert first is not None
    assert len(first.pauses) == 1
    assert second is None
    assert after == [None, BreakGlass(), None, None]


def test_a_file_that_an_editor_renames_for_a_moment_is_not_removed(tmp_path: Path) -> None:
    file = BreakGlassFile(tmp_path / "glass.json")
    file.path.write_bytes(document(LEAST))
    file.changed()

    backup = file.path.rename(tmp_path / "glass.json~")
    in_between = file.changed()
    backup.rename(file.path)
    back = file.changed()
    file.path.rename(backup)
    again = file.changed()

    assert in_between is None
    assert back is not None  # a rename changes its stamp
    assert len(back.pauses) == 1
    assert again is None


def test_a_folder_in_place_of_the_file_is_refused_and_leaves_no_descriptor_open(tmp_path: Path) -> None:
    file = BreakGlassFile(tmp_path / "glass.json")
    file.path.mkdir()
    before = len(list(Path("/proc/self/fd").iterdir()))

    for _ in range(5):
        with pytest.raises(IsADirectoryError):
            file.changed()
    left = len(list(Path("/proc/self/fd").iterdir()))
    file.path.rmdir()
    after = [file.changed() for _ in range(3)]

    assert left == before
    assert after == [None, BreakGlass(), None]  # so that nobody goes on saying that it cannot be read


def test_a_change_of_the_same_size_and_time_is_noticed(tmp_path: Path) -> None:
    file = BreakGlassFile(tmp_path / "glass.json")
    file.path.write_bytes(document(LEAST))
    before = file.path.stat()
    file.changed()

    other = tmp_path / "other.json"
    other.write_bytes(document({**LEAST, "for": "9h"}))
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(file.path)
    read = file.changed()

    assert file.path.stat().st_size == before.st_size
    assert read is not None
    assert read.pauses[0].expires_at_us == before.st_mtime_ns // 1_000 + 9 * HOUR_US


def test_a_file_that_could_not_be_opened_is_read_once_it_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = BreakGlassFile(tmp_path / "glass.json")
    file.path.write_bytes(document(LEAST))

    def refused(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refused)
        with pytest.raises(PermissionError):
            file.changed()
    read = file.changed()

    assert read is not None
    assert len(read.pauses) == 1


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"pauses": [1]}', b'{"pauses": [], "paus": []}', b" " * 300_000])
def test_other_content_is_refused_once_until_it_changes(tmp_path: Path, data: bytes) -> None:
    file = BreakGlassFile(tmp_path / "glass.json")
    file.path.write_bytes(data)

    with pytest.raises(StateUnreadable):
        file.changed()

    assert file.changed() is None


@pytest.mark.parametrize(
    ("complaint", "words"),
    [
        ("Expected `int | null`, got `str` - at `$.t`", "must be a whole number or null, not text (at `t`)"),
        ("Expected `object`, got `array`", "must be an object, not a list"),
        ("Object missing required field `pauses`", "`pauses` is missing"),
        ("Object contains unknown field `pause`", "`pause` is not a field of it"),
        ("JSON is malformed: invalid character (byte 3)", "JSON is malformed: invalid character (byte 3)"),
        ("Input data was truncated", "it ends too early"),
    ],
)
def test_the_decoders_complaints_are_put_into_words(complaint: str, words: str) -> None:
    assert plain_complaint(complaint) == words


def test_a_ruined_file_is_not_said_to_be_missing() -> None:
    with pytest.raises(StateUnreadable, match="its content is not what a break-glass file holds: `pauses` is missing"):
        decode_break_glass(b"{}", NOON_US)
