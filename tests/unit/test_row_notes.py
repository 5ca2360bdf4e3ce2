"""Fields of labelled rows that have another name than the reader expects."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gate.cli.main import run
from streams.lab.row_notes import MOST_COUNTED, RowNotes
from streams.lab.rows import FIELDS, read

ROW = {"account_id": "a-1", "t": 1764151200, "text": "earn money fast", "urls": ["https://w.example/x"], "label": 1}


def renamed(tmp_path: Path, names: dict[str, str]) -> Path:
    file = tmp_path / "rows.jsonl"
    rows = [
        {names.get(name, name): value for name, value in (ROW | {"account_id": f"a-{n}"}).items()} for n in range(3)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_a_field_of_another_name_is_named_where_no_row_has_the_one_that_is_meant(tmp_path: Path) -> None:
    file = renamed(tmp_path, {"text": "caption", "urls": "Links", "label": "lable"})

    assert read(file).notes == (
        "3 rows have a field Links, which is not read; did you mean urls?",
        "3 rows have a field caption, which is not read; did you mean text?",
        "3 rows have a field lable, which is not read; did you mean label?",
    )


def test_fields_of_the_senders_own_need_no_word_nor_one_beside_the_field_that_is_meant() -> None:
    fields = RowNotes(FIELDS)

    fields.add({"account_id": "a-1", "followers": 3, "caption": "x", "text": "x"}, b"")

    assert fields.notes() == []
    assert fields.hint() == ""


def test_names_are_counted_up_to_a_bound() -> None:
    fields = RowNotes(FIELDS)

    for number in range(2 * MOST_COUNTED):
        fields.add({f"labe{number}": 1, "lable": 1}, b"")

    assert len(fields._others) == MOST_COUNTED
    assert any("lable" in note for note in fields.notes())


@pytest.mark.parametrize(
    "command",
    [
        ("fit", "captions"), ("fit", "links"), ("fit", "events"), ("fit", "accounts"),
        ("evaluate", "--what", "captions"), ("replay", "--kafka", "127.0.0.1:1"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_rows_of_another_encoding_are_counted_aloud_before_anything_is_made_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setattr("streams.lab.labelled_texts.require_labels", lambda _: None)  # the fit itself looks once more
    file = tmp_path / "rows.jsonl"
    honest, abusive = (
        json.dumps({**ROW, "label": label, "text": "gr\u00fc\u00dfe"}, ensure_ascii=False) for label in (0, 1)
    )
    file.write_bytes(f"{honest}\n".encode("latin-1") * 2 + f"{abusive}\n".encode())

    run([*command, str(file), *(["--out", str(tmp_path / "out")] if command[0] == "fit" else [])])

    err = " ".join(capsys.readouterr().err.split())
    assert "bytes which are not UTF-8: 2; each such letter is read as \ufffd" in err


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        (("fit", "captions"), "(rows have caption in place of text)"),
        (("fit", "links"), "(rows have link in place of urls"),
        (("fit", "events"), "lable in place of label"),
        (("evaluate", "--what", "accounts"), "3 rows have a field lable, which is not read; did you mean label?"),
    ],
    ids=" ".join,
)
def test_an_error_of_a_file_without_labelled_rows_says_which_field_is_misnamed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...], hint: str
) -> None:
    names = {"captions": {"text": "caption"}, "links": {"urls": "link"}}.get(command[1], {"label": "lable"})
    file = renamed(tmp_path, names)

    code = run([*command, str(file), *(["--out", str(tmp_path / "out")] if command[0] == "fit" else [])])

    assert code == 2
    assert hint in " ".join(capsys.readouterr().err.split())
