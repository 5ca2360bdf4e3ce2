"""Files of overrides that staff write by hand or save from a spreadsheet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gate.cli.main import run
from gate.cli.new_override import MOST_NAMED, overrides_in
from gate.cli.override import as_json
from gate.core.override import Override
from gate.errors import OperatorError

NOW_US = 1_800_000_000_000_000
JSON_LINE = '{"account":"a-1","for":"7d","reason":"press","allow":true}'


def written(tmp_path: Path, text: str, name: str = "list") -> Path:
    file = tmp_path / name
    file.write_bytes(text.encode())
    return file


def test_every_wrong_line_of_a_file_is_named_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = {
        '{"account":"a-2","for":"7d","reason":"x","allow":true,"deny":true}': "Give allow, deny or limits",
        '{"account":"a-3","for":"7 days","reason":"x","deny":true}': "for: '7 days' is not a span of time",
        '{"account":"a-4","for":"7d","deny":true}': "reason is missing",
        '{"account":4,"for":"7d","reason":"x","deny":true}': "account is no text; write it in quotes",
        '{"account":"a-5","for":"7d","reason":"x","deny":"yes"}': "deny is true, or is left out",
        "a-6": "is not JSON; each line is one override, such as {",
        '{"account":"a-1","for":"1d","reason":"x","deny":true}': "a-1 occurs twice, first in line 1",
    }
    file = written(tmp_path, "\n".join([JSON_LINE, *wrong]))

    code = run(["override", "import", str(file), "--dry-run"])

    *told, last = capsys.readouterr().err.splitlines()
    assert code == 2
    assert len(told) == len(wrong)
    for number, (line, expected) in enumerate(zip(told, wrong.values(), strict=True), 2):
        assert f"list:{number}: " in line
        assert expected in line
        assert "--" not in line
    assert last == "nothing was set; correct the file"


def test_of_many_wrong_lines_the_first_are_named_and_the_rest_counted(tmp_path: Path) -> None:
    file = written(tmp_path, "{\n" * 5_000)

    with pytest.raises(OperatorError) as caught:
        overrides_in(file, "ada", NOW_US)

    lines = str(caught.value).split("\n")
    assert len(lines) == MOST_NAMED + 2
    assert lines[-2] == f"and {5_000 - MOST_NAMED:,} more lines are wrong"


@pytest.mark.parametrize(
    "text",
    [
        'account,for,reason,allow,limits\na-1,7d,"moves, her archive",yes,\na-2,2d,press,,Trusted\n',
        '\ufeffAccount;For;Reason;Allow;Limits\r\na-1;7d;"moves, her archive";TRUE;\r\n\r\na-2;2d;press;;trusted\r\n',
        "account\tfor\treason\tallow\tlimits\na-1\t7d\tmoves, her archive\tx\na-2\t2d\tpress\tno\ttrusted\n",
    ],
)
def test_a_table_from_a_spreadsheet_is_read_by_the_names_of_its_columns(tmp_path: Path, text: str) -> None:
    (first, one), (second, two) = overrides_in(written(tmp_path, text), "ada", NOW_US)

    assert (first, one.allow, one.limits, one.reason, one.owner) == ("a-1", True, None, "moves, her archive", "ada")
    assert (second, two.allow, two.limits, two.reason) == ("a-2", False, "trusted", "press")
    assert one.expires_at_us > two.expires_at_us


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a-1,7d,press,true\n", ":1: the first line of a table names its columns, which are some of: account, for"),
        ("account,for,reason,deny\na-1,7d,moves, her archive,true\n", ":2: has 5 cells for 4 columns; quote a text"),
        ("account,for,reason,deny\na-1,7d,x,perhaps\n", ":2: deny is true or empty"),
        (
            "account,for,reason,action\na-1,7d,x,deny\n",
            ":1: the first line of a table names its columns, which are some of: account",
        ),
        ('account,for,reason,deny\na-1,7d,"two\nlines",true\na-2,,x,true\n', ":4: for is missing"),
        ("account,for,reason,deny\n", "has 0 overrides"),
    ],
)
def test_a_mistake_in_a_table_names_its_line(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(OperatorError) as caught:
        overrides_in(written(tmp_path, text, "list.csv"), "ada", NOW_US)

    assert expected in str(caught.value)


def test_what_the_command_listed_is_set_again_without_what_has_expired(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = {
        "a-1": Override(True, "press", "ada", NOW_US + 3_600_000_000),
        "a-2": Override(False, "farm", "ada", NOW_US + 7_200_000_000),
        "a-3": Override(False, "archive", "ada", NOW_US + 9_000_000_000, "trusted"),
        "a-4": Override(False, "old", "ada", NOW_US - 5_000_000),
    }
    listing = {"overrides": [as_json(account, override) for account, override in kept.items()]}

    found = dict(overrides_in(written(tmp_path, json.dumps(listing, indent=2)), "kim", NOW_US))

    assert list(found) == ["a-1", "a-2", "a-3"]
    assert "left out, as expired: 1 override" in capsys.readouterr().err
    for account, override in found.items():
        before = kept[account]
        assert (override.allow, override.limits, override.reason) == (before.allow, before.limits, before.reason)
        assert override.owner == "kim"
        assert 0 <= before.expires_at_us - override.expires_at_us <= 60_000_000


def test_a_listing_of_something_else_is_named(tmp_path: Path) -> None:
    wrong = [
        {"account": "a-1"},
        "a-2",
        {"account": "a-3", "reason": "x", "override": "ban", "expires_at": "2999-01-01T00:00:00Z"},
    ]

    with pytest.raises(OperatorError) as caught:
        overrides_in(written(tmp_path, json.dumps({"overrides": wrong})), "kim", NOW_US)

    assert [line.partition(": ")[2] for line in str(caught.value).split("\n")[:2]] == [
        "is no override as `override list -o json` prints it"
    ] * 2
    assert "unknown fields: ban" in str(caught.value)


def test_a_class_that_the_policy_lacks_is_named_before_a_file_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], redis_url: str
) -> None:
    monkeypatch.setenv("UPLOAD_GATE_STATE", str(tmp_path))
    monkeypatch.setenv("UPLOAD_GATE_REDIS", redis_url)
    lines = [{"account": f"a-{n}", "for": "1d", "reason": "x", "limits": "trussted"} for n in range(3)]
    file = written(tmp_path, "\n".join(map(json.dumps, lines)))

    code = run(["override", "import", str(file), "--dry-run"])

    told = capsys.readouterr().err
    assert code == 0
    assert told.count("warning: the class trussted is not in") == 1
    assert "Did you mean trusted?" in told
