"""`fit accounts` fits the cards of events beside the scorecard, and reads links with a link model that it finds."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gate.cli.main import run
from gate.errors import OperatorError
from streams.core.models.ngrams import NAME_BITS, TABLE_BITS
from streams.files.event_cards import read_event_model
from streams.files.link_models import link_model, write_link_model
from streams.files.model_directory import load_models
from streams.files.models import Provenance
from streams.files.name_models import write_name_model
from streams.files.public_suffixes import load_web_links
from streams.lab.fit_names import counted
from streams.lab.fit_texts import require_labels
from streams.lab.honest_links import honest_hosts
from streams.lab.link_rows import labelled_link
from tests.small_fits import shrink_account_fits, shrink_event_fits

pytestmark = pytest.mark.long

pytest.importorskip("interpret", reason="the extra `fit` is not installed")


@pytest.fixture(autouse=True)
def small_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink_event_fits(monkeypatch)
    shrink_account_fits(monkeypatch)
    for name, value in {"ROUNDS": 100, "MOST_PAIRS": 1}.items():
        monkeypatch.setattr(f"streams.lab.boosting.{name}", value)


def payments(path: Path, thieves: int = 40, seed: int = 3, first: int = 0) -> Path:
    """People pay shops; each thief takes equal sums from few targets in a burst."""
    rng = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for number in range(40 * thieves if thieves > 5 else 1_200):
        rows.append({"account_id": f"person{rng.randrange(60)}", "device": rng.choice("ab"), "kind": "transfer",
                     "content_key": f"shop{rng.randrange(20)}", "amount": round(rng.uniform(1, 90), 2), "label": 0})  # fmt: skip
        if number % 40 == 0 and number // 40 < thieves:
            rows += [{"account_id": f"thief{first + number}", "device": "c", "kind": "transfer", "label": 1,
                      "content_key": f"mule{number % 3}", "amount": 500}] * 8  # fmt: skip
    text = [json.dumps({**row, "t": first + n, "seq": first + n}) + "\n" for n, row in enumerate(rows)]
    path.write_text("".join(text))
    return path


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert run([*words, "-o", "json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_rows_with_kinds_give_a_scorecard_and_cards_of_events_that_serve_all_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    early, late = payments(tmp_path / "early.jsonl"), payments(tmp_path / "late.jsonl", seed=4, first=5_000)
    models = tmp_path / "models"

    fit = printed(capsys, "fit", "accounts", str(early), "--out", str(models), "--labels", "none")

    judge = ("evaluate", str(late), "--what", "events", "--models", str(models), "--labels")
    judged = {labels: printed(capsys, *judge, labels) for labels in ("none", "immediate")}
    assert fit["hash"] == load_models(models).scorecard.hash
    assert fit["events"]["hash"] == read_event_model(models).plain.hash == judged["none"]["model"]
    assert judged["immediate"]["model"] == read_event_model(models).labelled.hash
    assert fit["events"]["auc"] > 0.9
    assert min(one["auc"] for one in judged.values()) > 0.9


def test_too_few_abusive_accounts_leave_the_cards_of_events(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = payments(tmp_path / "rows.jsonl", thieves=5)

    fit = printed(capsys, "fit", "accounts", str(file), "--out", str(tmp_path / "models"))

    assert "too few abusive accounts: 5, " in fit["not_fitted"]
    assert fit["events"]["hash"] == read_event_model(tmp_path / "models").plain.hash
    assert not (tmp_path / "models" / "scorecard.toml").exists()


def test_too_few_events_leave_the_scorecard(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def require_many(labels: NDArray[np.int64], what: str) -> None:
        with monkeypatch.context() as within:
            within.setattr("streams.lab.fit_texts.LEAST_LABELS", 10_000)
            require_labels(labels, what)

    monkeypatch.setattr("streams.lab.fit_events.require_labels", require_many)

    fit = printed(capsys, "fit", "accounts", str(payments(tmp_path / "rows.jsonl")), "--out", str(tmp_path / "models"))

    assert "too few abusive events" in fit["events"]["not_fitted"]
    assert fit["hash"] == load_models(tmp_path / "models").scorecard.hash
    assert not (tmp_path / "models" / "events.json").exists()


def test_where_neither_can_be_fitted_accounts_are_named_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = payments(tmp_path / "rows.jsonl", thieves=1)

    code = run(["fit", "accounts", str(file), "--out", str(tmp_path / "models")])

    assert code == OperatorError.exit_code
    assert "too few abusive accounts: 1, " in capsys.readouterr().err
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("labels", ["soon", "5 weeks ago"])
def test_a_delay_that_means_nothing_is_refused_before_anything_is_fitted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], labels: str
) -> None:
    file = payments(tmp_path / "rows.jsonl")

    code = run(["fit", "accounts", str(file), "--out", str(tmp_path / "models"), "--labels", labels])

    assert code == OperatorError.exit_code
    assert "--labels" in capsys.readouterr().err
    assert not (tmp_path / "models").exists()


def test_counters_and_features_are_left_out_by_one_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, models = payments(tmp_path / "rows.jsonl"), tmp_path / "models"

    printed(capsys, "fit", "accounts", str(file), "--out", str(models), "--without", "amount", "--without", "sameness")

    read = {name for term in read_event_model(models).plain.terms for name in term.features}
    assert read
    assert not {"amount", "amount_round"} & read
    assert "sameness" not in {term.family for term in load_models(models).scorecard.terms}


def posts(path: Path, seed: int, devices: bool = False) -> Path:
    """Bots and people post links of one shape; only the words in the names of their hosts tell them apart, and with
    `devices` that people change theirs."""
    rng = random.Random(seed)
    words = (("moon", "cloud", "garden"), ("lake", "bread", "train"))
    rows = []
    for account in range(120):
        label = account % 2
        for seq in range(4):
            part = 0 if label else seq
            rows.append({
                "account_id": f"s{seed}-{account}", "seq": seq, "t": None, "label": label,
                "urls": [f"https://{rng.choice(words[label])}{rng.randrange(9)}.example/"],
                "content_key": f"c{seed}-{account}-{seq}",
                "device": f"d{seed}-{account}-{part}" if devices else None,
            })  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def with_links(directory: Path, fitted_to: str = "list.csv") -> Path:
    weights = np.random.default_rng(3).integers(-9_000, 9_000, (1 << NAME_BITS) + (1 << TABLE_BITS), dtype=np.int16)
    model = link_model(weights[: 1 << NAME_BITS], weights[1 << NAME_BITS :], 2e-4, 0.0, 1.0, 0.0)
    write_link_model(model, Provenance({fitted_to: 9}, 1, {}), directory)
    return directory


@pytest.mark.parametrize("option", ["--links", "--captions"])
def test_a_link_model_is_used_and_copied(tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str) -> None:
    source, models = with_links(tmp_path / "links"), tmp_path / "models"
    if option == "--captions":
        for name in ("captions.npz", "captions.json"):
            (source / name).write_bytes((Path("config/models") / name).read_bytes())
    train, test = posts(tmp_path / "train.jsonl", 1), posts(tmp_path / "test.jsonl", 2)

    fit = printed(capsys, "fit", "accounts", str(train), option, str(source), "--out", str(models))

    found = load_models(models)
    figures = printed(capsys, "evaluate", str(test), "--what", "accounts", "--models", str(models))
    blind = printed(
        capsys, "evaluate", str(test), "--what", "accounts", "--models", str(models), "--without", "link_odds"
    )  # fmt: skip
    assert found.links is not None
    assert fit["link_model"] == found.links.hash
    assert "links.link_odds" in {term.name for term in found.scorecard.terms}
    assert figures["auc"] > max(0.8, blind["auc"] + 0.1)
    assert "events" not in fit


def test_links_that_the_link_model_was_fitted_to_are_no_evidence_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = with_links(tmp_path / "links", fitted_to="train.jsonl")
    words = ["fit", "accounts", str(posts(tmp_path / "train.jsonl", 1, devices=True)), "--links", str(source)]

    code = run([*words, "--out", str(tmp_path / "models")])

    said = capsys.readouterr().err
    assert code == 0
    assert "train.jsonl" in said
    assert "link_odds" not in (tmp_path / "models" / "scorecard.toml").read_text()
    assert load_models(tmp_path / "models").links is not None


def brands(path: Path, seed: int) -> Path:
    """Each account links once to a new site: bots to lookalikes of one brand, which only their number tells from
    the sites of people."""
    rng, honest = random.Random(seed), honest_hosts(for_fitting=False)
    rng.shuffle(honest)
    rows = []
    for account in range(140):
        label = account % 2
        host = f"{rng.choice(('my', 'get', 'the', 'go'))}{account}-zorblatz.example" if label else honest[account]
        rows.append({
            "account_id": f"s{seed}-{account}", "seq": 0, "t": 1_700_000_000 + 600 * account, "label": label,
            "urls": [f"https://{host}/"], "content_key": f"c{seed}-{account}",
            "device": f"d{rng.randrange(40)}",
        })  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def with_names(directory: Path, fitted_to: str = "list.csv") -> Path:
    web = load_web_links()
    hosts = honest_hosts(for_fitting=True)
    model = counted([row for host in hosts if (row := labelled_link(host, 0, None, web)) is not None], web, 0.4)
    write_name_model(model, Provenance({fitted_to: 9}, 1, {}), directory)
    return with_links(directory)


def test_a_name_model_is_used_and_copied_and_the_card_weighs_campaigns_of_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, models = with_names(tmp_path / "links"), tmp_path / "models"
    train, test = brands(tmp_path / "train.jsonl", 1), brands(tmp_path / "test.jsonl", 2)

    fit = printed(capsys, "fit", "accounts", str(train), "--links", str(source), "--out", str(models))

    found = load_models(models)
    judge = ["evaluate", str(test), "--what", "accounts", "--models", str(models)]
    figures, blind = printed(capsys, *judge), printed(capsys, *judge, "--without", "name_odds")
    assert found.names is not None
    assert fit["name_model"] == found.names.hash
    (term,) = [term for term in found.scorecard.terms if "name_odds" in term.features]
    assert term.points[0] < 0 < term.points[-2]  # the last is for accounts without the feature
    assert figures["auc"] > max(0.9, blind["auc"] + 0.1)


def test_names_that_the_name_model_was_fitted_to_are_no_evidence_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, train = with_names(tmp_path / "links", fitted_to="train.jsonl"), brands(tmp_path / "train.jsonl", 1)

    code = run(["fit", "accounts", str(train), "--links", str(source), "--out", str(tmp_path / "models")])

    assert "the name model was fitted to train.jsonl" in capsys.readouterr().err
    assert code != 0 or "name_odds" not in (tmp_path / "models" / "scorecard.toml").read_text()


def test_accounts_that_nothing_tells_apart_give_no_scorecard(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = posts(tmp_path / "train.jsonl", 1)

    code = run(["fit", "accounts", str(file), "--out", str(tmp_path / "models")])

    assert code == OperatorError.exit_code
    assert "no feature" in capsys.readouterr().err
    assert not (tmp_path / "models").exists()


def test_a_directory_without_a_link_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["fit", "accounts", str(posts(tmp_path / "train.jsonl", 1)), "--links", str(tmp_path)]

    code = run([*words, "--out", str(tmp_path / "models")])

    assert code == OperatorError.exit_code
    assert "no link model" in capsys.readouterr().err
