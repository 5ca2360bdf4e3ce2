"""A scorecard file: what it may hold, and complaints that name the file, the line, the term, the key and the remedy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gate.errors import PolicyInvalid
from streams.core.scorecard import AbuseKind, Monotone, Speaks, Term
from streams.files.scorecard_text import scorecard_text
from streams.files.scorecards import check_scorecard, load_scorecard, parse_scorecard

LOADED = """
import sys
from pathlib import Path
from streams.files.scorecards import load_scorecard
print(load_scorecard(Path(sys.argv[1])).hash)
"""
TOP = "version = 2\nbase_rate = 0.02\ntraining_share = 0.5\n"
BURST = '[[terms]]\nfeature = "burst"\nspeaks = "against"\nmonotone = "up"\ncuts = [0.1, 0.3]\npoints = [0, 0.4, 1.4]\n'
SHARED = """[[terms]]
features = ["device_accounts", "freshness"]
kind = "bot"
speaks = "both"
monotone = ["up", ""]
cuts = [[2], [0.1, 0.5]]
points = [[0, 0, -0.1], [0.1, 0.2, 0.4]]
missing_second = [0, 0.5]
"""
REST = 'slope = 0.9\noffset = -0.2\nalone_at_most = 0.4\n[decay]\nhalf_life = "36h"\n[caps]\ntempo = 1.0\n'
EXAMPLE = TOP + REST + BURST + SHARED


def refusal(text: str) -> PolicyInvalid:
    with pytest.raises(PolicyInvalid) as caught:
        parse_scorecard(text, "card.toml")
    return caught.value


def with_burst(**given: str | None) -> str:
    """The file with one term over `burst`, of which some keys are given or, as None, left out."""
    keys: dict[str, str | None] = {
        "feature": '"burst"', "speaks": '"against"', "monotone": '"up"', "cuts": "[0.1, 0.3]", "points": "[0, 0.4, 1.4]",
    } | given  # fmt: skip
    return TOP + "[[terms]]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items() if value is not None)


def test_a_file_says_all_that_a_scorecard_is_made_of() -> None:
    card = parse_scorecard(EXAMPLE, "card.toml")

    shared, burst = card.terms
    assert (card.base_rate, card.training_share, card.slope, card.offset, card.alone_at_most) == (
        0.02,
        0.5,
        0.9,
        -0.2,
        0.4,
    )
    assert card.half_life_us == 36 * 3_600_000_000
    assert card.lower_caps == {"tempo": 1.0}
    assert burst == Term(
        ("burst",), "tempo", ((0.1, 0.3),), (0, 4_000, 14_000, 0), AbuseKind.BOTH, Speaks.AGAINST, (Monotone.UP,)
    )
    assert shared == Term(
        ("device_accounts", "freshness"), "network", ((2.0,), (0.1, 0.5)),
        (0, 0, -1_000, 0, 1_000, 2_000, 4_000, 5_000, 0, 0, 0, 0), AbuseKind.BOT, Speaks.BOTH, (Monotone.UP, Monotone.EITHER),
    )  # fmt: skip
    assert [term.name for term in card.terms] == ["network.device_accounts.freshness", "tempo.burst"]


def test_the_hash_follows_the_numbers_and_neither_comments_nor_the_order_of_terms(tmp_path: Path) -> None:
    file = tmp_path / "card.toml"
    file.write_text("# a comment\n" + TOP + SHARED + BURST)

    same, other = (
        parse_scorecard(TOP + BURST + SHARED, "x"),
        parse_scorecard(TOP + BURST.replace("0.4", "0.5") + SHARED, "x"),
    )

    assert load_scorecard(file).hash == same.hash
    assert len({same.hash, other.hash, load_scorecard(None).hash}) == 3


def test_a_file_is_utf_8_in_every_locale_and_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "card.toml"
    file.write_bytes(b"\xef\xbb\xbf" + ("# M\u00fcnchen\n" + TOP + BURST).encode())
    environment = os.environ | {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}

    said = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", LOADED, str(file)], capture_output=True, text=True, env=environment
    )

    assert said.stdout == parse_scorecard(TOP + BURST, "x").hash + "\n", said.stderr


@pytest.mark.parametrize("name", ["a\nbase_rate = 0.4", "a\x07b", "a\udcffb", "a\u2028b", "M\u00fcnchen"])
def test_a_comment_that_names_a_file_changes_nothing_whatever_its_name(tmp_path: Path, name: str) -> None:
    card, file = parse_scorecard(TOP + BURST, "x"), tmp_path / "card.toml"

    file.write_text(scorecard_text(card, [f"Fitted to {name}."]), encoding="utf-8")

    assert load_scorecard(file).hash == card.hash


def test_a_file_of_the_first_version_is_refused_with_what_to_do() -> None:
    error = refusal("version = 1\nbias = -4.5\n[caps]\ntempo = 2.0\n")

    assert str(error).startswith("card.toml:1: version: is 1, the format of weights")
    assert "upload-gate fit accounts" in str(error)


def test_a_file_of_another_version_that_is_no_toml_or_not_there_is_refused(tmp_path: Path) -> None:
    assert str(refusal(EXAMPLE.replace("version = 2", "version = 3"))).startswith("card.toml:1: version: must be 2")
    assert str(refusal(EXAMPLE.replace("[caps]", "[caps"))).startswith("card.toml: not TOML")
    with pytest.raises(PolicyInvalid, match=r"gone\.toml"):
        load_scorecard(tmp_path / "gone.toml")


@pytest.mark.parametrize(
    ("old", "new", "key", "said"),
    [
        ("base_rate", "baserate", "baserate", "did you mean base_rate?"),
        ("base_rate = 0.02", "base_rate = 0", "base_rate", "must be a number from 1e-06"),
        ("base_rate = 0.02\n", "", "base_rate", "is missing"),
        ("slope = 0.9", "slope = -1", "slope", "must be a number from 0.01"),
        ("offset = -0.2", "offset = 9", "alone_at_most", "raise it, or lower the offset"),
        ("alone_at_most = 0.4", "alone_at_most = 0.01", "alone_at_most", "not below 0.01"),
        ('half_life = "36h"', 'half_life = "soon"', "decay.half_life", ""),
        ('half_life = "36h"', 'half_life = "1m"', "decay.half_life", "must be 1h or longer"),
        ('half_life = "36h"', 'halflife = "36h"', "decay.halflife", "did you mean half_life?"),
        ("tempo = 1.0", "temp = 1.0", "caps.temp", "did you mean tempo?"),
        ("tempo = 1.0", "age = 1.0", "caps.age", "a family without terms; leave it out"),
        ("tempo = 1.0", "tempo = -1.0", "caps.tempo", "must be a number from 0"),
    ],
)
def test_what_is_wrong_at_the_top_is_named_with_its_line_and_the_remedy(
    old: str, new: str, key: str, said: str
) -> None:
    error = refusal(EXAMPLE.replace(old, new))

    assert error.key == key
    assert said in str(error)
    if new:
        assert error.line is not None
        assert key.rpartition(".")[2] in EXAMPLE.replace(old, new).splitlines()[error.line - 1]


@pytest.mark.parametrize(
    ("given", "key", "said"),
    [
        ({"feature": '"brust"'}, "terms[1]: feature", "did you mean burst?"),
        ({"featur": '"burst"'}, "terms[1]: featur", "did you mean feature?"),
        ({"family": '"age"'}, "terms[1] burst: family", "must be tempo"),
        ({"kind": '"spam"'}, "terms[1] burst: kind", "must be one of bot, scam, both"),
        ({"speaks": None}, "terms[1] burst: speaks", "is missing"),
        ({"monotone": '"upwards"'}, "terms[1] burst: monotone", "must be one of up, down"),
        ({"cuts": "[]"}, "terms[1] burst: cuts", "1 to 64 numbers"),
        ({"cuts": "[0.3, 0.3]"}, "terms[1] burst: cuts", "must rise"),
        ({"cuts": "[0.1, nan]"}, "terms[1] burst: cuts", "must be a number"),
        ({"points": "[0, 1]"}, "terms[1] burst: points", "must be a list of 3 numbers"),
        ({"points": "[0, 1, 21]"}, "terms[1] burst: points", "must be a number from -20 to 20"),
        ({"points": "[0, 1, true]"}, "terms[1] burst: points", "must be a number"),
        ({"points": "[0, 1, 1.00005]"}, "terms[1] burst: points", "more than four decimals; round it"),
        ({"missing": "0"}, "terms[1] burst: missing", "must be left out, as burst is always known"),
        ({"points": "[0, 2, 1]"}, "terms[1] tempo.burst: points", "goes up with burst and falls from 2 to 1 at 0.3"),
        ({"points": "[-1, 0, 1]"}, "terms[1] tempo.burst: points", "speaks against the account and has points below 0"),
        ({"speaks": '"for"'}, "terms[1] tempo.burst: points", "speaks for the account and has points above 0 (1.4)"),
        ({"feature": '"age_days"'}, "terms[1] age_days: missing", "give the points where age_days is not known"),
        ({"feature": '"age_days"', "missing": "-1"}, "terms[1] age.age_days: points", "points below 0 (-1)"),
    ],
)
def test_what_is_wrong_with_a_term_is_named_with_the_remedy(given: dict[str, str | None], key: str, said: str) -> None:
    error = refusal(with_burst(**given))

    assert (error.file, error.key) == ("card.toml", key)
    assert said in str(error)
    assert error.line is not None


@pytest.mark.parametrize(
    ("old", "new", "key", "said"),
    [
        ('"freshness"]', '"device_accounts"]', "terms[1]: features", "must be two features"),
        ('"device_accounts", "fresh', '"fresh', "terms[1]: features", "must be two features"),
        ("cuts = [[2], [0.1, 0.5]]", "cuts = [2, 3]", "terms[1] device_accounts+freshness: cuts", "a list of 1 to 64"),
        ("cuts = [[2], [0.1, 0.5]]", "cuts = [[2]]", "terms[1] device_accounts+freshness: cuts", "two lists"),
        (", [0.1, 0.2, 0.4]]", "]", "terms[1] device_accounts+freshness: points", "2 rows, one for each bin of device_acc"),
        ("[0.1, 0.2, 0.4]", "[0.1, 0.2]", "terms[1] device_accounts+freshness: points", "a list of 3 numbers"),
        ('["up", ""]', '"up"', "terms[1] device_accounts+freshness: monotone", "one for each feature"),
        ('["up", ""]', '["", "up"]', "terms[1] network.device_accounts.freshness: points",
         "goes up with freshness and falls from 0 to -0.1 at 0.5"),
        ("[0.1, 0.2, 0.4]", "[0.1, -1, 0.4]", "terms[1] network.device_accounts.freshness: points",
         "goes up with device_accounts and falls from 0 to -1 at 2"),
        ("missing_second = [0, 0.5]\n", "", "terms[1] device_accounts+freshness: missing_second",
         "give the points where freshness is not known"),
        ("missing_second", "missing", "terms[1]: missing", "did you mean missing_both?"),
        ("missing_second = [0, 0.5]", "missing_second = [0, 0.5]\nmissing_both = 0",
         "terms[1] device_accounts+freshness: missing_both", "as device_accounts is always known"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_pair_is_named_with_the_remedy(old: str, new: str, key: str, said: str) -> None:
    error = refusal(TOP + SHARED.replace(old, new))

    assert error.key == key
    assert said in str(error)


def test_all_that_is_wrong_with_a_file_is_told_at_once_with_its_lines() -> None:
    text = (
        EXAMPLE.replace("slope = 0.9", "slope = 0").replace('half_life = "36h"', 'half_life = "3 days"')
        + "[caps]\ntemp = 1\ntempo = -1.0\n"
    ).replace("[caps]\ntempo = 1.0\n", "", 1)

    card, found = check_scorecard(text.replace("base_rate", "baserate", 1), "card.toml")

    lines = text.splitlines()
    told = {complaint.key: complaint.line for complaint in found}
    assert card is None
    assert told == {
        "baserate": 1 + next(i for i, line in enumerate(lines) if line.startswith("base_rate")),
        "base_rate": None,
        "slope": 1 + lines.index("slope = 0"),
        "decay.half_life": 1 + lines.index('half_life = "3 days"'),
        "caps.temp": 1 + lines.index("temp = 1"),
        "caps.tempo": 1 + lines.index("tempo = -1.0"),
    }


def test_the_line_is_that_of_the_term_that_is_wrong() -> None:
    text = TOP + BURST + SHARED.replace('kind = "bot"', 'kind = "spam"')

    error = refusal(text)

    assert error.line is not None
    assert text.splitlines()[error.line - 1] == 'kind = "spam"'
    assert error.key.startswith("terms[2]")


def test_a_term_that_stands_twice_is_refused_also_the_other_way_round() -> None:
    turned = SHARED.replace('["device_accounts", "freshness"]', '["freshness", "device_accounts"]')
    turned = turned.replace("[[2], [0.1, 0.5]]", "[[0.1], [2, 3]]").replace('["up", ""]', '["", ""]')

    error = refusal(TOP + SHARED + turned.replace("missing_second = [0, 0.5]", "missing_first = [0, 0, 0.5]"))

    assert "stands twice" in str(error)


@pytest.mark.parametrize("terms", ["", "terms = []\n", "terms = 3\n", "[terms]\n"])
def test_a_file_without_terms_is_refused(terms: str) -> None:
    assert "at least one" in str(refusal(TOP + terms))
