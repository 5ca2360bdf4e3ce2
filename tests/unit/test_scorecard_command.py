"""`upload-gate scorecard check`: exit codes, all complaints at once, and what each family may say."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner, Result

from gate.cli.main import build

TERM = '[[terms]]\nfeature = "{0}"\nspeaks = "against"\nmonotone = "up"\ncuts = [0.5]\npoints = [0, {1}]\n'
TOP = "version = 2\nbase_rate = 0.02\ntraining_share = 0.5\n"
SHIPPED = Path(__file__).parents[2] / "config" / "scorecard.toml"


def checked(file: Path, *options: str) -> Result:
    return CliRunner().invoke(build(["scorecard"]), ["scorecard", "check", str(file), *options])


def test_the_shipped_scorecard_is_valid_and_shows_what_each_family_adds_at_most() -> None:
    done = checked(SHIPPED, "-o", "json")

    told = json.loads(done.stdout)
    assert (done.exit_code, told["valid"], told["complaints"]) == (0, True, [])
    assert told["base_risk"] == 0.02
    assert all(0.02 < family["risk_alone"] <= 0.5 for name, family in told["families"].items())
    assert sum(family["terms"] for family in told["families"].values()) == told["terms"]


def test_a_valid_scorecard_is_told_in_lines(tmp_path: Path) -> None:
    file = tmp_path / "card.toml"
    file.write_text(TOP + TERM.format("burst", 9) + TERM.format("spam", 1) + TERM.format("texts", 1))

    lines = checked(file).stdout.splitlines()

    assert "3 terms, risk 0.020 without evidence" in lines[0]
    assert lines[1].split() == "tempo 1 term adds 3.89 at most, which alone leads to a risk of 0.500".split()  # noqa: SIM905
    assert lines[2].split() == "text 2 terms adds 2.00 at most, which alone leads to a risk of 0.131".split()  # noqa: SIM905


def test_a_small_risk_is_told_with_digits_that_are_not_zero(tmp_path: Path) -> None:
    file = tmp_path / "card.toml"
    file.write_text(TOP.replace("0.02", "0.000123") + TERM.format("burst", 1))

    first, tempo = checked(file).stdout.splitlines()
    told = json.loads(checked(file, "-o", "json").stdout)

    assert first.endswith("1 terms, risk 0.00012 without evidence")
    assert tempo.endswith("leads to a risk of 0.00033")
    assert told["families"]["tempo"]["risk_alone"] == 0.000334


def test_every_term_that_is_wrong_is_named_at_once(tmp_path: Path) -> None:
    file = tmp_path / "card.toml"
    file.write_text(TOP + TERM.format("burst", -1) + TERM.format("spam", 1) + TERM.format("brust", 1))

    done, told = checked(file), json.loads(checked(file, "-o", "json").stdout)

    assert done.exit_code == 2
    assert (told["valid"], told["hash"]) == (False, None)
    assert [(one["line"], one["key"]) for one in told["complaints"]] == [
        (9, "terms[1] tempo.burst: points"),
        (17, "terms[3]: feature"),
    ]
    assert str(file) in done.stderr


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = checked(tmp_path / "gone.toml")

    assert done.exit_code != 0
    assert "gone.toml" in str(done.exception)
