"""Fitting the link model: lists of any shape are read, forms are no evidence, shared hosting is not condemned."""

from __future__ import annotations

import gzip
import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gate.cli.main import run
from gate.errors import FileInvalid, OperatorError, PolicyInvalid
from streams.core.models.alphabet import build_alphabet
from streams.core.models.link_model import LinkText, link_log_odds, read_link
from streams.core.models.ngrams import NAME_BITS, TABLE_BITS
from streams.files.link_models import link_model, read_link_model
from streams.files.public_suffixes import load_web_links
from streams.lab import fit_links as fitting
from streams.lab.fit_links import fit_links
from streams.lab.link_rows import LinkRow, labelled_link, read_links
from streams.lab.rows import RowInvalid, read_rows

WEB = load_web_links()
ALPHABET = build_alphabet()
LURES = ("wallet", "verify", "bonus", "airdrop", "login", "refund")
HONEST = ("pottery", "kayak", "orchard", "lighthouse", "piano", "meadow", "harbour", "bakery", "archive", "nursery")


def abusive_link(rng: random.Random, provider: str = "") -> str:
    name = f"{rng.choice(LURES)}-{rng.choice(LURES)}{rng.randrange(10, 99)}"
    return f"https://{name}.{provider or rng.choice(('top', 'xyz', 'com'))}/{rng.choice(('index.php', 'a', ''))}"


def honest_link(rng: random.Random) -> str:
    return f"{rng.choice(HONEST)}{rng.choice(HONEST)}{rng.choice('abcdefgh')}.{rng.choice(('org', 'com', 'net'))}"


def rows_of(links: list[str], label: int) -> list[LinkRow]:
    found = [labelled_link(link, label, float(number), WEB) for number, link in enumerate(links)]
    return [row for row in found if row is not None]


def sources(seed: int = 1, count: int = 150) -> list[list[LinkRow]]:
    rng = random.Random(seed)
    hosted = [abusive_link(rng, "github.io") for _ in range(count)]
    return [
        rows_of([abusive_link(rng) for _ in range(count)] + hosted, 1),
        rows_of([honest_link(rng) for _ in range(count)], 0),
    ]


def csv_file(path: Path, links: list[str]) -> Path:
    lines = "".join(f'{1_700_000_000 + number},"{link}"\n' for number, link in enumerate(links))
    path.write_bytes(gzip.compress(f"first_seen_unix,entry\n{lines}".encode()))
    return path


@pytest.fixture
def few_links_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(9)
    hosts = {half: [honest_link(rng) for _ in range(120)] for half in (True, False)}
    monkeypatch.setattr("streams.lab.link_sources.honest_hosts", lambda for_fitting: hosts[for_fitting])
    monkeypatch.setattr("streams.lab.link_sources.PLAIN_NAMES", 60)


@pytest.mark.parametrize(
    "link",
    [
        "https://Birds.Example.org/Nests",
        "http://birds.example.org/Nests/",
        "www.birds.example.org/Nests?from=mail#top",
        "//birds.example.org/Nests//",
    ],
)
def test_scheme_case_query_and_a_slash_at_the_end_make_no_difference(link: str) -> None:
    read = read_link(link, WEB)

    assert read == LinkText("birds.example.org", "/Nests")


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("birds.github.io", ("birds", True)),
        ("a.birds.vercel.app", ("a.birds", True)),
        ("birds.weebly.com", ("birds", True)),
        ("birds.wordpress.com", ("birds", True)),
        ("birds.co.uk", ("birds.co.uk", False)),
        ("github.io", ("github.io", False)),
        ("192.0.2.7", ("192.0.2.7", False)),
    ],
)
def test_the_name_of_a_hosting_provider_is_cut_off(host: str, own: tuple[str, bool]) -> None:
    assert WEB.own_name(host) == own


def test_links_that_open_no_host_are_left_out() -> None:
    assert read_link("mailto:someone@example.org", WEB) is None
    assert read_link("", WEB) is None


def test_lists_of_every_shape_are_read(tmp_path: Path) -> None:
    dated = csv_file(tmp_path / "dated.csv.gz", ["https://a.example/x,y", "b.example"])
    plain = tmp_path / "plain.txt"
    plain.write_text("# honest\na.example\n\nhttps://b.example/x\n")
    ranked = tmp_path / "ranked.csv"
    ranked.write_text("1,a.example\n2,b.example\n")
    rows = tmp_path / "rows.jsonl"
    rows.write_text(
        '{"account_id":"a","t":5,"urls":["https://a.example/x"],"label":0}\n'
        '{"account_id":"b","t":6,"urls":["https://b.example"],"label":1}\n'
        '{"account_id":"c","t":7,"urls":["https://c.example"]}\n'
    )

    of_dated, of_plain, of_ranked = read_links(dated, 1, WEB), read_links(plain, 0, WEB), read_links(ranked, 0, WEB)
    of_rows, honest = read_links(rows, 1, WEB), read_links(rows, 0, WEB)

    assert [(row.text, row.label, row.at_s) for row in of_dated] == [
        (LinkText("a.example", "/x,y"), 1, 1_700_000_000.0),
        (LinkText("b.example", ""), 1, 1_700_000_001.0),
    ]
    assert [(row.text.name, row.label, row.at_s) for row in of_plain] == [
        ("a.example", 0, None),
        ("b.example", 0, None),
    ]
    assert [row.text.name for row in of_ranked] == ["a.example", "b.example"]
    assert [(row.text.name, row.label, row.at_s) for row in of_rows] == [("a.example", 0, 5), ("b.example", 1, 6)]
    assert [(row.text.name, row.label) for row in honest] == [("a.example", 0), ("b.example", 1), ("c.example", 0)]


@pytest.mark.parametrize(
    ("line", "at_s"),
    [
        ("1700000000.5,a.example", 1_700_000_000.5),
        ('"1700000000","a.example"', 1_700_000_000.0),
        ("2023-11-14T22:13:20Z,a.example", 1_700_000_000.0),
        ("2023-11-14 22:13:20,a.example", 1_700_000_000.0),
        ("2023-11-14T23:13:20+01:00, a.example", 1_700_000_000.0),
        ("a.example", None),
        ('"a.example"', None),
        ("https://a.example/1700000000,x", None),
    ],
)
def test_a_time_of_any_usual_spelling_is_no_part_of_the_link(tmp_path: Path, line: str, at_s: float | None) -> None:
    listed = tmp_path / "list.csv"
    listed.write_text(f"# a comment\n{line}\n")

    (row,) = read_links(listed, 1, WEB)

    assert (row.host, row.at_s) == ("a.example", at_s)


@pytest.mark.parametrize("time", ["1700000000000", "-5", "9" * 400, "2023-02-29", "2023-11-14T25:00:00Z"])
def test_a_list_whose_times_are_none_is_refused_with_the_line(tmp_path: Path, time: str) -> None:
    """Milliseconds would put each link thousands of years after the one before, so that none had company."""
    listed = tmp_path / "list.csv"
    listed.write_text(f"1700000000,a.example\n{time},b.example\n")

    with pytest.raises(RowInvalid) as refused:
        read_links(listed, 1, WEB)

    assert (
        str(refused.value) == f"{listed}:2: first_seen_unix: {time[:40]} is no time in seconds since 1970 or ISO 8601"
    )


def test_a_damaged_list_is_refused_by_name(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(b"".join(b"%d,scam%d.example\n" % (at, at) for at in range(5_000))))
    packed[200:230] = b"\xff" * 30
    listed = tmp_path / "list.csv.gz"
    listed.write_bytes(packed)

    with pytest.raises(RowInvalid, match=r"list\.csv\.gz: cannot be read: Error -3"):
        read_links(listed, 1, WEB)


def test_a_line_that_is_too_long_for_a_link_is_refused_and_not_read_as_several(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("https://one.example/a\n" + "x" * (1 << 16) + "https://honest.example/b\n")

    with pytest.raises(RowInvalid, match=r"list\.csv:2: it is longer than 65,536 bytes"):
        read_links(file, 1, WEB)


def test_a_first_row_of_any_length_that_a_row_may_have_is_read_as_a_row(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    row = {"account_id": "a", "text": "x" * (1 << 16), "urls": ["https://one.example/a"], "label": 1, "t": 1.0}
    file.write_text(json.dumps(row) + "\n")

    assert [link.host for link in read_links(file, 1, WEB)] == ["one.example"]


@pytest.mark.parametrize("read", [lambda pipe: read_links(pipe, 1, WEB), lambda pipe: list(read_rows(pipe))])
def test_a_pipe_is_refused_with_what_to_do(tmp_path: Path, read: Callable[[Path], object]) -> None:
    """Its first bytes would be read to tell whether it is packed, and be lost."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    with pytest.raises(FileInvalid, match=r"is a pipe.*; write its rows to a file first"):
        read(pipe)


def test_honest_names_are_told_apart_from_lures_on_the_same_hosting() -> None:
    fit = fit_links(sources(), ALPHABET, WEB, seed=1)
    rng = random.Random(77)
    lures = [read_link(abusive_link(rng, "github.io"), WEB) for _ in range(60)]
    honest = [LinkText(f"{rng.choice(HONEST)}-{rng.choice(HONEST)}", "") for _ in range(60)]

    of_lures = link_log_odds(fit.model, ALPHABET, [link for link in lures if link])
    of_honest = link_log_odds(fit.model, ALPHABET, honest)

    assert (of_lures > 0).mean() > 0.95
    assert (of_honest > 0).mean() < 0.05


def test_having_a_path_is_no_evidence_though_only_abusive_links_had_one() -> None:
    rng = random.Random(3)
    abusive = [f"https://{rng.choice(LURES)}{number}.com/gallery/{number}" for number in range(200)]
    honest = [f"{rng.choice(HONEST)}{number}.com" for number in range(200)]
    model = fit_links([rows_of(abusive, 1), rows_of(honest, 0)], ALPHABET, WEB, seed=1).model

    bare, with_path = link_log_odds(
        model, ALPHABET, [LinkText("pottery999.com", ""), LinkText("pottery999.com", "/kitchen/notes")]
    )

    assert bare < 0
    assert with_path < 0


def test_a_path_adds_no_more_than_its_bound() -> None:
    zeros, heavy = np.zeros(1 << NAME_BITS, np.int16), np.full(1 << TABLE_BITS, 30_000, np.int16)
    model = link_model(zeros, heavy, 0.01, -1.0, 1.5, 0.0)

    odds = link_log_odds(model, ALPHABET, [LinkText("a.example", "/p/q/r"), LinkText("a.example", "")])

    assert odds.tolist() == [0.5, -1.0]


def test_names_that_differ_in_their_digits_alone_are_told_apart() -> None:
    rng = random.Random(4)
    abusive, honest = (
        [f"{rng.choice(HONEST)}{rng.choice(HONEST)}{rng.choice('abcdefgh')}{digits}.org" for _ in range(150)]
        for digits in ("29", "68")
    )
    model = fit_links([rows_of(abusive, 1), rows_of(honest, 0)], ALPHABET, WEB, seed=1).model

    odds = link_log_odds(model, ALPHABET, [LinkText("pianomeadowa29.org", ""), LinkText("pianomeadowa68.org", "")])

    assert odds[0] > 0 > odds[1]


def test_honest_links_that_look_like_abuse_weigh_more_in_the_second_round() -> None:
    rows = sources()
    doubtful = rows_of([f"verify-{name}{number}.org" for number, name in enumerate(HONEST)], 0)
    links = [row.text for row in doubtful]

    model = fitting._fitted([rows[0], rows[1] + doubtful], ALPHABET, 1.5, seed=1)
    with pytest.MonkeyPatch.context() as once:
        once.setattr(fitting, "HARD_WEIGHT", 1.0)
        first_alone = fitting._fitted([rows[0], rows[1] + doubtful], ALPHABET, 1.5, seed=1)

    assert link_log_odds(model, ALPHABET, links).mean() < link_log_odds(first_alone, ALPHABET, links).mean()


def test_the_value_of_a_link_does_not_depend_on_the_links_around_it() -> None:
    model = fit_links(sources(count=60), ALPHABET, WEB, seed=1).model
    rng = random.Random(5)
    links = [LinkText(honest_link(rng), rng.choice(("", "/a/b"))) for _ in range(40)]

    together = link_log_odds(model, ALPHABET, links)
    alone = [float(link_log_odds(model, ALPHABET, [link])[0]) for link in links]

    assert together.tolist() == alone


@pytest.mark.usefixtures("few_links_at_hand")
def test_the_same_links_and_seed_give_the_same_files(tmp_path: Path) -> None:
    rng = random.Random(2)
    file = csv_file(tmp_path / "scams.csv.gz", [abusive_link(rng) for _ in range(120)])
    negatives = tmp_path / "honest.txt"
    negatives.write_text("".join(f"{honest_link(rng)}\n" for _ in range(80)))
    given = ["fit", "links", str(file), "--negatives", str(negatives), "--seed", "4"]

    codes = [run([*given, "--out", str(tmp_path / name)]) for name in "ab"]

    assert codes == [0, 0]
    assert (tmp_path / "a/links.npz").read_bytes() == (tmp_path / "b/links.npz").read_bytes()
    assert (tmp_path / "a/links.json").read_bytes() == (tmp_path / "b/links.json").read_bytes()


@pytest.mark.usefixtures("few_links_at_hand")
def test_evaluate_judges_later_links_and_names_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = random.Random(2)
    early = csv_file(tmp_path / "early.csv.gz", [abusive_link(rng) for _ in range(150)])
    late = csv_file(tmp_path / "late.csv.gz", [abusive_link(rng) for _ in range(50)])
    run(["fit", "links", str(early), "--out", str(tmp_path / "models"), "-o", "json"])
    said = json.loads(capsys.readouterr().out)

    code = run(["evaluate", str(late), "--what", "links", "--models", str(tmp_path / "models"), "-o", "json"])

    figures = json.loads(capsys.readouterr().out)
    names = {"rows", "positives", "auc", "f1_at_half", "recall_at_1pct_fpr", "recall_at_01pct_fpr", "ece", "us_per_row"}
    assert code == 0
    assert names <= figures.keys()
    assert (figures["rows"], figures["positives"], figures["model"]) == (170, 50, said["hash"])
    assert figures["recall_at_1pct_fpr"] > 0.9
    assert {"auc", "random_split_auc", "later_auc"} <= said.keys()


@pytest.mark.usefixtures("few_links_at_hand")
@pytest.mark.parametrize("undated", [0, 3])
def test_evaluate_tells_of_links_without_a_time_only_where_there_are_some(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], undated: int
) -> None:
    rng = random.Random(2)
    early = csv_file(tmp_path / "early.csv.gz", [abusive_link(rng) for _ in range(150)])
    rows = [
        {
            "account_id": f"a-{n}",
            "urls": [f"https://site{n}.example/x"],
            "label": n % 2,
            **({} if n < undated else {"t": 1_764_000_000 + n}),
        }
        for n in range(40)
    ]
    stream = tmp_path / "late.jsonl"
    stream.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    models = str(tmp_path / "models")
    assert run(["fit", "links", str(early), "--out", models]) == 0
    capsys.readouterr()

    code = run(["evaluate", str(stream), "--what", "links", "--models", models])

    out, err = capsys.readouterr()
    assert code == 0
    assert "judged in order of time" in out
    assert ("without a time" in err) == (undated > 0)
    assert undated == 0 or f"{undated} links without a time" in err


def test_a_fit_says_of_how_many_sites_it_has_links_and_which_to_give() -> None:
    rows = sources()
    of_one_site = rows_of([f"https://verify{number}.lures.example/x" for number in range(90)], 1)

    with pytest.raises(OperatorError, match="honest links of 20 sites") as honest:
        fit_links([rows[0], rows[1][:20]], ALPHABET, WEB, seed=1)
    with pytest.raises(OperatorError, match=r"abusive links of 1 site, .* one registered domain") as abusive:
        fit_links([of_one_site, rows[1]], ALPHABET, WEB, seed=1)

    assert "--negatives" in honest.value.remedy
    assert "labelled 1" in abusive.value.remedy


def test_a_large_source_is_sampled_and_sources_weigh_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "MOST_SITES", 40)
    rows = sources()

    sample = fitting._sample(rows[0], random.Random(1))
    forms = fitting._forms([sample, rows[1][:30], rows[1][30:]], seed=1)

    assert len(sample) == 40
    assert forms.weights[forms.labels == 1].sum() > 0
    assert forms.weights.mean() == pytest.approx(1.0)


@pytest.mark.usefixtures("few_links_at_hand")
@pytest.mark.parametrize("damage", ["truncate", "swap", "missing"])
def test_a_damaged_link_model_is_refused_by_name(tmp_path: Path, damage: str) -> None:
    rng = random.Random(2)
    run(["fit", "links", str(csv_file(tmp_path / "s.csv.gz", [abusive_link(rng) for _ in range(60)])),
         "--out", str(tmp_path / "models")])  # fmt: skip
    weights, about = tmp_path / "models/links.npz", tmp_path / "models/links.json"
    if damage == "truncate":
        weights.write_bytes(weights.read_bytes()[:500])
    elif damage == "missing":
        weights.unlink()
    else:
        about.write_text(about.read_text().replace(json.loads(about.read_text())["hash"], "0" * 12))

    with pytest.raises(PolicyInvalid, match="links"):
        read_link_model(tmp_path / "models")


def test_a_link_model_of_the_version_before_is_refused_with_what_to_do(tmp_path: Path) -> None:
    table = np.zeros(1 << TABLE_BITS, np.int16)
    np.savez_compressed(tmp_path / "links.npz", names=table, paths=table, numbers=np.array([0.1, -1.0, 1.5, 0.0]))
    (tmp_path / "links.json").write_text(json.dumps({"version": 1, "model": "links", "hash": "0" * 12}))

    with pytest.raises(PolicyInvalid, match="fit the model again"):
        read_link_model(tmp_path)


def test_evaluate_without_a_link_model_says_what_to_give(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = csv_file(tmp_path / "s.csv.gz", ["a.example"])

    code = run(["evaluate", str(file), "--what", "links"])

    assert code == OperatorError.exit_code
    assert "--models" in capsys.readouterr().err


def dated(count: int, apart_s: float) -> list[LinkRow]:
    return [LinkRow(LinkText(f"lure{n}", ""), f"lure{n}", True, 1, n * apart_s) for n in range(count)]


def test_links_seen_lately_weigh_more_than_old_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "ENOUGH_RECENT", 1.0)
    undated = [LinkRow(LinkText("meadow", ""), "meadow", True, 0, None)]

    forms = fitting._forms([dated(3, fitting.HALF_LIFE_S), undated], seed=1)

    assert forms.weights[1] == pytest.approx(2.0 * forms.weights[0])
    assert forms.weights[2] == pytest.approx(2.0 * forms.weights[1])
    assert fitting._recency(undated) == [1.0]


def test_a_short_list_forgets_its_old_links_more_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = dated(9, fitting.HALF_LIFE_S)
    weights = []
    for enough in (1.0, 3.0, 100.0):
        monkeypatch.setattr(fitting, "ENOUGH_RECENT", enough)
        weights.append(fitting._recency(rows))

    assert [of[0] for of in weights] == [2.0**-8, 2.0**-4, 2.0**-1]
    assert sum(weights[0]) < 3.0 < sum(weights[1])
    assert {of[-1] for of in weights} == {1.0}
