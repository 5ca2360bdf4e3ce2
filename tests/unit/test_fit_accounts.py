"""Fitting and judging a scorecard by the commands: deterministic, under the caps, calibrated, and refused without labels."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate.cli.main import run
from gate.errors import OperatorError
from streams.core.features import PLACE
from streams.core.models.alphabet import build_alphabet
from streams.core.models.captions import CaptionModel
from streams.core.models.ngrams import TABLE_BITS
from streams.files.model_directory import load_models
from streams.files.scorecards import load_scorecard
from streams.lab.boosting import Vectors
from streams.lab.calibration import Capped, choose_cap, fit_capped, most_alone
from streams.lab.cross_fitted import cross_fitted, share_known, sketch_of
from streams.lab.families import Shown, family_numbers
from streams.lab.fit_accounts import OF_ONE_FAMILY, READ_BY_CAPTIONS, SURER, as_met, calibration_weights
from streams.lab.fit_texts import Labelled
from streams.lab.rows import read
from streams.lab.snapshots import fold_stream
from tests.small_fits import shrink_account_fits

pytestmark = pytest.mark.long

pytest.importorskip("interpret")

WORDS = [
    "lake",
    "bread",
    "rain",
    "bike",
    "tea",
    "cat",
    "walk",
    "sun",
    "hill",
    "song",
    "train",
    "book",
    "soup",
    "garden",
    "film",
]
PITCHES = ("claim your bonus now", "join for free signals", "double your coins", "cheap followers fast")


def rows_of(seed: int, accounts: int = 64, uploads: int = 6) -> list[dict[str, Any]]:
    """Half of the accounts repeat a pitch, the others write about anything."""
    rng = random.Random(seed)
    rows = []
    for number in range(accounts):
        label = number % 2
        pitch = rng.choice(PITCHES)
        for seq in range(uploads):
            plain = " ".join(rng.choices(WORDS, k=rng.randrange(3, 9)))
            text = f"{pitch} {rng.choice(WORDS)} {rng.randrange(99)}" if label else plain
            rows.append(
                {"account_id": f"s{seed}-{number}", "seq": seq, "t": None, "text": text, "label": label,
                 "content_key": f"c{seed}-{number}-{seq}"}
            )  # fmt: skip
    return rows


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module", autouse=True)
def small_machines() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        shrink_account_fits(patch)
        yield


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a file to fit to, one to judge by, and models fitted to the first."""
    folder = tmp_path_factory.mktemp("accounts")
    train = written(folder / "train.jsonl", rows_of(1))
    written(folder / "test.jsonl", rows_of(2))
    assert run(["fit", "captions", str(train), "--out", str(folder / "models")]) == 0
    assert (
        run(["fit", "accounts", str(train), "--captions", str(folder / "models"), "--out", str(folder / "models")]) == 0
    )
    return folder


def evaluated(folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    capsys.readouterr()
    words = ["evaluate", str(folder / "test.jsonl"), "--what", "accounts", "-o", "json", *more]
    assert run(words) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_directory_is_complete_and_names_where_it_comes_from(fitted: Path) -> None:
    models = load_models(fitted / "models")

    about = json.loads((fitted / "models" / "accounts.json").read_text())
    assert models.captions is not None
    assert about["hash"] == models.scorecard.hash
    assert about["files"] == {"train.jsonl": 384}
    assert about["accounts"] == 64
    assert {"grouped", "random"} <= about["figures"].keys()


def test_a_fitted_scorecard_tells_accounts_apart_that_it_did_not_see(
    fitted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = evaluated(fitted, capsys, "--models", str(fitted / "models"), "--after", "3,6")

    assert figures["accounts"] == 64
    assert figures["positives"] == 32
    assert figures["auc"] > 0.95
    assert figures["recall_at_1pct_fpr"] > 0.8
    assert set(figures["after"]) == {"3", "6"}
    assert figures["after"]["6"]["auc"] >= figures["after"]["3"]["auc"] - 0.05
    assert figures["benign_at_least"].keys() == figures["abusive_at_least"].keys() == {"0.5", "0.7", "0.85"}
    assert figures["state_bytes"]["most"] < 1024
    assert figures["us_per_event"] > 0
    assert all(0 <= share <= 1 for moved in figures["families"].values() for share in moved.values())


def test_the_default_scorecard_is_judged_without_models(fitted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = evaluated(fitted, capsys)

    assert figures["scorecard"] == load_scorecard(None).hash


def test_what_is_left_out_says_nothing(fitted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = load_scorecard(fitted / "models" / "scorecard.toml")
    families = sorted({term.family for term in card.terms})

    figures = evaluated(fitted, capsys, "--models", str(fitted / "models"), "--without", families[0])

    assert families[0] not in figures["families"]
    assert len(families) > 1


def test_plots_are_written_as_png_and_svg(fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")

    evaluated(fitted, capsys, "--models", str(fitted / "models"), "--after", "3,6", "--plots", str(tmp_path / "plots"))

    names = {file.name for file in (tmp_path / "plots").iterdir()}
    kinds = ("roc", "calibration", "delay", "contributions")
    assert names == {f"accounts-{kind}.{suffix}" for kind in kinds for suffix in ("png", "svg")}
    assert all(file.stat().st_size > 1_000 for file in (tmp_path / "plots").iterdir())


def test_no_family_alone_lifts_an_account_of_the_base_rate_above_one_half(fitted: Path) -> None:
    card = load_scorecard(fitted / "models" / "scorecard.toml")

    assert card.alone_at_most == 0.5
    for family in {term.family for term in card.terms}:
        odds = card.most_alone(family) + np.log(card.base_rate / (1 - card.base_rate))
        assert 1 / (1 + np.exp(-odds)) <= 0.5


def test_a_fit_leaves_out_what_only_tells_bots_of_one_family_apart(tmp_path: Path) -> None:
    layouts = ("", "@ann ", "#sun ")
    rows = rows_of(5)
    for row in rows:
        row["text"] = layouts[0 if row["label"] else row["seq"] % 3] + row["text"]
    file, out = written(tmp_path / "layouts.jsonl", rows), tmp_path / "models"

    run(["fit", "accounts", str(file), "--out", str(out), "-o", "json"])

    used = {feature for term in load_scorecard(out / "scorecard.toml").terms for feature in term.features}
    assert used
    assert not used & OF_ONE_FAMILY


def test_beside_a_caption_model_a_fit_leaves_out_what_the_model_reads_in_each_caption(fitted: Path) -> None:
    card = load_scorecard(fitted / "models" / "scorecard.toml")

    used = {feature for term in card.terms for feature in term.features}

    assert "caption_odds" in used
    assert not used & READ_BY_CAPTIONS


def test_the_same_rows_and_seed_give_the_same_scorecard(fitted: Path, tmp_path: Path) -> None:
    train, captions = str(fitted / "train.jsonl"), str(fitted / "models")

    code = run(["fit", "accounts", train, "--captions", captions, "--out", str(tmp_path / "again")])

    assert code == 0
    first, again = fitted / "models" / "scorecard.toml", tmp_path / "again" / "scorecard.toml"
    assert first.read_bytes() == again.read_bytes()
    assert (tmp_path / "again" / "captions.npz").read_bytes() == (fitted / "models" / "captions.npz").read_bytes()


def test_a_fit_says_how_many_accounts_it_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path / "few.jsonl", rows_of(3, accounts=40, uploads=2))

    code = run(["fit", "accounts", str(file), "--out", str(tmp_path / "models")])

    assert code == OperatorError.exit_code
    assert "too few abusive accounts: 20, " in capsys.readouterr().err
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("words", [["--without", "nonsense"], ["--after", "x"]])
def test_a_name_or_number_that_means_nothing_is_refused(
    fitted: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    code = run(["evaluate", str(fitted / "test.jsonl"), "--what", "accounts", *words])

    assert code == OperatorError.exit_code
    assert words[1] in capsys.readouterr().err


def test_odd_rows_are_judged_or_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = [
        {"account_id": "unknown", "text": "x", "label": 1},
        {"account_id": "a", "text": None, "label": -1, "t": None, "seq": 3},
        {"account_id": "a", "text": "hi", "label": 0, "t": 1_700_000_000, "kind": "TP1", "amount": 3.5},
        {"account_id": "b", "label": 1, "t": 1_700_000_009.5, "urls": None},
    ]
    file = written(tmp_path / "test.jsonl", odd)

    figures = evaluated(file.parent, capsys)

    assert (figures["accounts"], figures["positives"]) == (2, 1)
    assert "cannot be known" in capsys.readouterr().err or figures["after"]["5"]["accounts"] == 0


def test_snapshots_are_taken_after_the_events_that_are_asked_for_and_after_the_last(tmp_path: Path) -> None:
    uploads = read(written(tmp_path / "rows.jsonl", rows_of(4, accounts=6, uploads=7))).uploads

    folded = fold_stream(uploads, load_scorecard(None), None, (2, 5))

    taken: dict[str, list[int]] = {}
    for one in folded.snapshots:
        taken.setdefault(one.account, []).append(one.events)
        assert one.vector[PLACE["uploads"]] == one.events
    assert len(taken) == 6
    assert all(events == [2, 5, 7] for events in taken.values())


def test_accounts_that_share_devices_contents_or_wording_are_one_family() -> None:
    def shows(account: str, device: str | None = None, content: str | None = None, text: str | None = None) -> Shown:
        return Shown(account, device, None, content, text)

    uploads = [
        shows("a", device="d"), shows("b", device="d"),
        *[shows(name, content=f"k{n}") for name in ("c", "d") for n in range(3)],
        shows("e", content="meme"), shows("f", content="meme"),
        *[shows(name, text=f"our channel gives signals to member number {n} of {name}") for name in "gh" for n in range(6)],
        *[shows("i", text=f"{word} and tea by the {word}") for word in WORDS[:6]],
    ]  # fmt: skip
    accounts = list("abcdefghi")

    number = dict(zip(accounts, family_numbers(accounts, uploads, build_alphabet()).tolist(), strict=True))

    assert number["a"] == number["b"]
    assert number["c"] == number["d"]
    assert number["e"] != number["f"]
    assert len({number["a"], number["c"], number["e"], number["i"]}) == 4


def test_a_sketch_knows_the_texts_it_was_made_of() -> None:
    texts = [f"caption number {n}" for n in range(3_000)]
    sketch = sketch_of(texts)

    assert len(sketch) == 256
    assert share_known(sketch, texts) == 1.0
    assert share_known(sketch, [f"other {n}" for n in range(3_000)]) == 0.0
    assert 0.3 < share_known(sketch, texts[:1500] + [f"other {n}" for n in range(1_500)]) < 0.7


def test_a_training_caption_is_read_by_a_model_that_did_not_learn_it() -> None:
    rng = random.Random(5)
    texts = [f"{rng.choice(PITCHES if n % 2 else WORDS)} {rng.choice(WORDS)} {n}" for n in range(80)]
    labels, groups = np.arange(80) % 2, np.arange(80)
    whole = CaptionModel(np.zeros(1 << TABLE_BITS, np.int16), 1.0, 0.25, 0.0, "whole")

    reader = cross_fitted(Labelled(texts, labels, groups, groups), build_alphabet(), whole, 1, lambda share: None)

    assert len(set(reader.folds.values())) == 4
    assert reader.read(["never met before"])[0].odds == 16
    mixed = reader.read([texts[0], "never met before", texts[7]])
    assert [numbers.odds for numbers in mixed] == [
        reader.read([t])[0].odds for t in (texts[0], "never met before", texts[7])
    ]


def test_calibration_under_a_cap_finds_the_frequencies_that_are_observed() -> None:
    rng = np.random.default_rng(2)
    sums = rng.normal(0.0, 2.0, (4_000, 2))
    labels = (rng.random(4_000) < 1 / (1 + np.exp(-np.clip(0.5 * sums, -1.0, 1.0).sum(1) + 0.4))).astype(np.int64)

    capped = fit_capped(sums, labels, np.ones(4_000), 1.0)

    risks = 1 / (1 + np.exp(-capped.log_odds(sums)))
    assert capped.slope == pytest.approx(0.5, abs=0.1)
    assert capped.offset == pytest.approx(-0.4, abs=0.1)
    assert abs(risks.mean() - labels.mean()) < 0.01


def test_risks_are_calibrated_on_the_last_row_of_each_account_and_families_weigh_the_same() -> None:
    accounts = [f"one{n % 16}" for n in range(32)] + ["other"]
    groups = np.array([0] * 32 + [1])
    nothing, events = np.zeros(33, np.int64), np.array([1] * 16 + [2] * 16 + [1])
    rows = Vectors(("burst",), nothing[:, None].astype(float), nothing, np.ones(33), groups, events, np.array(accounts))

    weights = calibration_weights(rows)

    assert weights.tolist() == [0.0] * 16 + [1 / 16] * 16 + [1.0]


def test_risks_are_steeper_than_those_of_rows_whose_captions_were_read_by_models_of_other_families() -> None:
    fitted = Capped(0.8, -0.5, 3.0)

    crossed, plain = as_met(fitted, True), as_met(fitted, False)

    assert crossed == Capped(0.8 * SURER, -0.5, 3.0)
    assert SURER > 1.0
    assert plain == fitted


def test_the_cap_that_is_chosen_never_exceeds_what_one_family_may_say() -> None:
    rng = np.random.default_rng(3)
    labels = np.arange(600) % 2
    sums = rng.normal(0.0, 1.0, (600, 3)) + 2.0 * labels[:, None]
    most = most_alone(0.02)

    capped = choose_cap(sums, labels, np.ones(600), [np.ones(600, np.bool_)], most)

    assert most == pytest.approx(3.8918, abs=1e-3)
    assert 0.0 < capped.cap <= most


@pytest.mark.parametrize(("mistaken", "is_lower"), [(0.0, False), (0.01, False), (0.05, True)])
def test_a_lower_cap_is_chosen_only_where_it_ranks_clearly_better(mistaken: float, is_lower: bool) -> None:
    rng = np.random.default_rng(6)
    labels = (rng.random(2_000) < 0.5).astype(np.int64)
    sums = np.column_stack([0.6 * (2.0 * labels - 1.0) + rng.normal(0.0, 1.5, 2_000) for _ in range(3)])
    sums[(labels == 0) & (rng.random(2_000) < mistaken), 0] = 9.0
    most = most_alone(0.02)

    capped = choose_cap(sums, labels, np.ones(2_000), [np.ones(2_000, np.bool_)], most)

    assert (capped.cap < most) is is_lower
    assert capped.cap >= 3.0
