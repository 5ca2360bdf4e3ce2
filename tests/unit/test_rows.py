"""Labelled rows: what is read, in which order, and how each mistake is named."""

import gzip
import itertools
import json
from pathlib import Path

import pytest

from gate.cli.main import run
from streams.lab.rows import (
    MAX_ROW_BYTES,
    WEEK_US,
    Recorded,
    RowInvalid,
    at,
    attempted,
    not_after,
    read,
    shifted,
)


def written(path: Path, *rows: object, packed: bool = False) -> Path:
    lines = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(lines) if packed else lines)
    return path


def row(**given: object) -> dict[str, object]:
    return {"account_id": "a-1", "t": 100, "seq": 0, "label": 0, **given}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rows.jsonl"


def test_a_row_becomes_a_check_at_its_time(file: Path) -> None:
    full = row(
        account_created_at=50, device="d", ip="192.0.2.7", content_key="c", text="hi", urls=["https://x.example"]
    )

    (upload,) = read(written(file, full)).uploads

    request = upload.request
    assert upload.at_us == 100_000_000
    assert request.account.id == "a-1"
    assert request.account.created_at == at(50_000_000)
    assert (request.media.kind, request.media.sha256) == ("image", "c")
    assert (request.device, request.ip, request.text, request.links) == (
        "d", "192.0.2.7", "hi", ("https://x.example",),
    )  # fmt: skip


@pytest.mark.parametrize("packed", [True, False])
def test_packed_and_plain_files_are_told_apart_by_content(file: Path, packed: bool) -> None:
    assert len(read(written(file, row(), row(t=101), packed=packed)).uploads) == 2


@pytest.mark.parametrize("packed", [True, False])
def test_a_file_may_begin_with_a_byte_order_mark_and_its_lines_end_as_on_windows(file: Path, packed: bool) -> None:
    lines = b"\xef\xbb\xbf" + b"".join(json.dumps(one).encode() + b"\r\n" for one in (row(), row(t=101)))
    file.write_bytes(gzip.compress(lines) if packed else lines)

    assert len(read(file).uploads) == 2


def test_rows_are_ordered_by_time_and_stay_in_the_order_of_the_file_within_one_moment(file: Path) -> None:
    stream = read(written(file, row(account_id="c", t=2), row(account_id="a", t=1), row(account_id="b", t=1)))

    assert [upload.request.account.id for upload in stream.uploads] == ["a", "b", "c"]
    assert not stream.synthetic_times


def test_times_may_begin_at_zero(file: Path) -> None:
    assert [u.at_us for u in read(written(file, row(t=0), row(t=1))).uploads] == [0, 1_000_000]


def test_rows_without_times_get_some_in_the_order_of_seq_and_it_is_said(file: Path) -> None:
    rows = [row(t=None, seq=seq, content_key=str(seq)) for seq in (2, 0, 1)]

    stream = read(written(file, *rows))

    assert stream.synthetic_times
    assert [upload.request.media.sha256 for upload in stream.uploads] == ["0", "1", "2"]
    gaps = [b.at_us - a.at_us for a, b in zip(stream.uploads, stream.uploads[1:], strict=False)]
    assert min(gaps) > 0
    assert gaps[0] != gaps[1]
    assert read(file) == stream


def test_a_time_that_only_counts_the_rows_is_none_and_keeps_their_order(file: Path) -> None:
    stream = read(written(file, *[row(t=number, seq=number, account_id=f"a-{number % 2}") for number in range(4)]))

    assert stream.synthetic_times
    assert [b.at_us - a.at_us for a, b in itertools.pairwise(stream.uploads)] == [60_000_000] * 3
    assert any("row's number" in note for note in stream.notes)


def test_a_limit_takes_the_first_in_time(file: Path) -> None:
    stream = read(written(file, row(account_id="late", t=9), row(account_id="early", t=1)), limit=1)

    assert [upload.request.account.id for upload in stream.uploads] == ["early"]


def test_an_address_that_is_none_is_left_out_and_counted(file: Path) -> None:
    stream = read(written(file, row(ip="unknown"), row(ip="")))

    assert [upload.request.ip for upload in stream.uploads] == [None, None]
    assert stream.notes == ("2 rows: field ip is dropped (value.unknown)",)


def test_a_long_text_and_many_links_are_cut_and_counted(file: Path) -> None:
    stream = read(written(file, row(text="x" * 8_001), row(urls=["https://x.example"] * 51), row(text="y")))

    assert [len(upload.request.text or "") for upload in stream.uploads] == [8_000, 0, 1]
    assert [len(upload.request.links) for upload in stream.uploads] == [0, 50, 0]
    assert stream.notes == (
        "1 rows: field text is cut, to 8,000 characters of text and 50 links (value.cut)",
        "1 rows: field urls is cut, to 8,000 characters of text and 50 links (value.cut)",
    )


def test_rows_without_a_time_are_taken_between_their_neighbours_and_it_is_said(file: Path) -> None:
    moments = [None, 100, None, None, 400, 500, None]

    stream = read(written(file, *(row(t=moment, content_key=f"c{i}") for i, moment in enumerate(moments))))

    assert [upload.at_us // 1_000_000 for upload in stream.uploads] == [100, 100, 200, 300, 400, 500, 500]
    assert [upload.request.media.sha256 for upload in stream.uploads] == [f"c{i}" for i in range(7)]
    assert stream.notes == ("4 rows have no time; they are taken between those of their neighbours in the file",)
    assert not stream.synthetic_times


def test_a_bad_optional_field_of_a_row_is_dropped_and_counted(file: Path) -> None:
    bad = '{"account_id":"a-1","t":1,"label":0,"text":"cut \\ud83d","urls":[1,"https://x.example"],"device":7}'

    (upload,) = read(written(file, bad)).uploads
    notes = read(file).notes

    assert (upload.request.text, upload.request.links, upload.request.device) == (
        "cut \ufffd", ("https://x.example",), None,
    )  # fmt: skip
    assert notes == (
        "1 rows: field device is dropped (type.wrong)",
        "1 rows: field text held half a character, which is replaced (text.repaired)",
        "1 rows: field urls holds what is no string; the rest is taken (list.items)",
    )


def test_a_stream_from_the_future_is_moved_back_by_whole_weeks_and_it_is_said(file: Path) -> None:
    stream = read(written(file, row(t=1_800_000_000), row(t=1_800_000_060)))
    now_us = 1_799_000_000 * 1_000_000

    moved = not_after(stream, now_us)

    back_us = stream.uploads[1].at_us - moved.uploads[1].at_us
    assert back_us % WEEK_US == 0
    assert 0 <= now_us - moved.uploads[1].at_us < WEEK_US
    assert moved.uploads[1].at_us - moved.uploads[0].at_us == 60_000_000
    assert moved.notes == ("the stream reaches into the future and was moved back by 2 weeks",)
    assert not_after(moved, now_us) is moved


def test_blank_lines_are_passed_over(file: Path) -> None:
    assert len(read(written(file, row(), "", row())).uploads) == 2


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("{not json", "is not JSON"),
        ("[]", "must be an object, not a list"),
        ({"t": 1, "label": 0}, "field account_id: is missing"),
        (row(account_id=""), "field account_id: is empty"),
        (row(account_id=7), "field account_id: must be text, not a whole number"),
        (row(account_id="x" * 257), "field account_id: has at most 256 bytes"),
        (row(t="noon"), "field t: must be a number or null, not text: seconds since 1970"),
        (row(t=-1), "field t: -1 is not a time"),
        (row(t=1_700_000_000_000), "field t: 1700000000000 is not a time in seconds"),
        (row(account_created_at=1e300), "field account_created_at"),
        (row(label=3), "field label: 3 is none of 0 (honest), 1 (abusive)"),
        (row(label=True), "field label: must be a whole number, not true or false: 0 for honest, 1 for abusive"),
        (row(label="\ud800"), "field label: holds half a character"),
        (row(account_id="undefined"), "field account_id: is empty or a word for unknown"),
        (row(account_id="a\u200b"), "field account_id: holds an invisible character"),
    ],
)
def test_a_bad_row_is_named_by_file_line_and_field(file: Path, bad: object, said: str) -> None:
    with pytest.raises(RowInvalid) as caught:
        read(written(file, row(), bad))

    assert str(caught.value).startswith(f"{file}:2: ")
    assert said in str(caught.value)
    assert caught.value.exit_code == 2


def test_csv_is_named_once_and_not_line_by_line(file: Path) -> None:
    with pytest.raises(RowInvalid) as caught:
        read(written(file, "account_id,t,label", "a-1,3,0", "a-2,4,1"))

    assert str(caught.value) == (
        f"{file}:1: names columns, as CSV does; write each row as a JSON object on a line of its own"
    )


def test_the_first_five_bad_rows_are_named_at_once_and_the_others_are_counted(file: Path) -> None:
    bad = [row(label=3), "{not json", row(t=-1)]

    with pytest.raises(RowInvalid) as few:
        read(written(file, row(), *bad, row()))
    with pytest.raises(RowInvalid) as many:
        read(written(file, row(), *bad, row(), *bad, row()))

    lines = str(few.value).splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"{file}:{number}" for number in (2, 3, 4)]
    assert "field label" in lines[0]
    assert "is not JSON" in lines[1]
    assert "field t" in lines[2]
    *named, last = str(many.value).splitlines()
    assert [line.split(": ")[0] for line in named] == [f"{file}:{number}" for number in (2, 3, 4, 6, 7)]
    assert last == f"and 1 more of the rows of {file} that cannot be used"
    assert few.value.line == many.value.line == 2


def test_a_row_that_is_too_long_is_refused_without_reading_it_whole(file: Path) -> None:
    with pytest.raises(RowInvalid, match=r":2: the row is longer than 1,048,576 bytes"):
        read(written(file, row(), row(text="x" * MAX_ROW_BYTES)))


def test_a_file_that_is_not_there_is_named(file: Path) -> None:
    with pytest.raises(RowInvalid, match=r"rows\.jsonl: cannot be read: No such file"):
        read(file)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(RowInvalid, match="cannot be read: Is a directory"):
        read(tmp_path)


def test_an_empty_file_is_refused(file: Path) -> None:
    with pytest.raises(RowInvalid, match="holds no rows"):
        read(written(file))


@pytest.mark.parametrize("command", [("fit", "captions"), ("evaluate",), ("fit", "events")], ids=" ".join)
@pytest.mark.parametrize("content", ["", "\n \n"])
def test_every_command_says_of_an_empty_file_that_it_is_empty(
    command: tuple[str, ...], content: str, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(content)

    code = run([*command, str(file), *(["--out", str(tmp_path)] if command[0] == "fit" else [])])

    assert code == 2
    assert "rows.jsonl: holds no rows" in capsys.readouterr().err


@pytest.mark.parametrize("keep", [0.5, 0.9])
def test_a_packed_file_that_was_cut_off_is_refused(file: Path, keep: float) -> None:
    whole = gzip.compress("".join(json.dumps(row(t=i)) + "\n" for i in range(2000)).encode())
    file.write_bytes(whole[: int(len(whole) * keep)])

    with pytest.raises(RowInvalid, match="cannot be read"):
        read(file)


def test_a_packed_file_that_was_damaged_is_refused(file: Path) -> None:
    whole = bytearray(gzip.compress("".join(json.dumps(row(t=i)) + "\n" for i in range(2000)).encode()))
    whole[len(whole) // 2] ^= 0xFF
    file.write_bytes(bytes(whole))

    with pytest.raises(RowInvalid, match=r"cannot be read|is not JSON"):
        read(file)


def test_a_shifted_stream_begins_now_and_goes_faster_and_accounts_keep_their_age(file: Path) -> None:
    uploads = read(written(file, row(t=1000, account_created_at=900), row(t=1060, account_created_at=900))).uploads
    start_us = 1_800_000_000_000_000

    first, second = shifted(uploads, start_us, speed=60)

    assert (first.at_us, second.at_us) == (start_us, start_us + 1_000_000)
    created = [u.request.account.created_at for u in (first, second)]
    assert created == [at(start_us - 100_000_000), at(start_us + 1_000_000 - 160_000_000)]


def test_an_event_tells_what_the_check_asked_and_was_answered(file: Path) -> None:
    (upload,) = read(written(file, row(device="d"))).uploads
    assert isinstance(upload, Recorded)

    event = attempted(upload.request, upload.at_us, "deny")

    assert (event.decision, event.device, event.at) == ("deny", "d", at(100_000_000))
