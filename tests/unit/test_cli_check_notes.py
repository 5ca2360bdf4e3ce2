"""What `check` and `peek` say about fields that the gate does not use, and about kinds that no policy lists."""

from __future__ import annotations

from pathlib import Path

from gate.cli.addresses import Addresses, resolve_addresses
from gate.cli.check import upload_of
from gate.cli.check_notes import check_notes

ALLOWED: dict[str, object] = {"decision": "allow"}


def _addresses(state: Path) -> Addresses:
    """A system whose admin port nobody names, so that the packaged policy says which names there are."""
    return resolve_addresses(state, gate="http://127.0.0.1:1", environ={})


def _upload(
    kind: str = "image", class_: str | None = None, surface: str | None = None, ip: str | None = None
) -> dict[str, object]:
    return upload_of("u-1", "a-17", kind, class_, None, surface, ip, None, None)


def test_a_misspelt_kind_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    (note,) = check_notes(_upload("imgae"), ALLOWED, _addresses(tmp_path))

    assert "lists no kind imgae" in note
    assert "Did you mean image?" in note


def test_a_kind_and_a_surface_that_the_policy_lists_need_no_word(tmp_path: Path) -> None:
    assert check_notes(_upload("IMAGE", surface="post"), ALLOWED, _addresses(tmp_path)) == []


def test_each_field_that_the_gate_ignored_is_named_with_its_reason(tmp_path: Path) -> None:
    upload = _upload(class_="establishd", surface="null", ip="999.1.1.1")
    decision = ALLOWED | {"ignored": ["account.class", "surface", "ip"]}

    notes = check_notes(upload, decision, _addresses(tmp_path))

    assert len(notes) == 3
    assert "no class establishd. It has: new, " in notes[0]
    assert notes[1].endswith("ignores surface: it is empty or a word for unknown; that is no fault")
    assert notes[2].endswith("ignores ip: it is none of what the field may hold")
