"""What an account keeps of the log odds of its links, and the features they give."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import isnan
from pathlib import Path

import numpy as np
import pytest

from streams.core.crowd import Crowd, Surroundings
from streams.core.facts import Facts, LinkFacts, pack, unpack
from streams.core.features import PLACE, features
from streams.core.link_facts import fold_links
from streams.core.models.alphabet import build_alphabet
from streams.core.models.link_model import LinkModel, LinkText, link_log_odds
from streams.core.models.link_odds import LinkReader, ReadsLinks, UploadLinks
from streams.core.models.ngrams import NAME_BITS, TABLE_BITS
from streams.files.link_models import link_model, write_link_model
from streams.files.model_directory import combined, load_models
from streams.files.models import Provenance
from streams.files.public_suffixes import load_web_links
from streams.files.scorecards import load_scorecard
from streams.pipeline.hashes import Hashes
from streams.pipeline.step import Record, process

ALPHABET, WEB = build_alphabet(), load_web_links()
WEIGHTS = np.random.default_rng(9).integers(-9_000, 9_000, (1 << NAME_BITS) + (1 << TABLE_BITS), dtype=np.int16)
TABLES = WEIGHTS[: 1 << NAME_BITS], WEIGHTS[1 << NAME_BITS :]
MODEL = LinkModel(TABLES[0], TABLES[1], 1e-4, 0.0, 1.0, 0.0, "test")
READER = LinkReader(ALPHABET, MODEL, WEB)


class Counting:
    """Counts the batches that are read, and reads them."""

    def __init__(self) -> None:
        self.batches: list[Sequence[UploadLinks]] = []

    def read(self, uploads: Sequence[UploadLinks]) -> list[int | None]:
        self.batches.append(uploads)
        return READER.read(uploads)


def record(offset: int, account: str = "a", **fields: object) -> Record:
    event = {
        "type": "attempted",
        "id": f"u-{offset}",
        "at": "2026-11-20T10:00:00Z",
        "account": {"id": account},
        **fields,
    }
    return Record(offset, account.encode(), json.dumps(event).encode(), (), 0)


def states_of(batch: list[Record], reader: ReadsLinks | None, hashes: Hashes | None = None) -> dict[str, Facts]:
    card = load_scorecard(None)
    hashes = hashes or Hashes(b"salt")
    effects = process(batch, {}, Crowd(), card, hashes, WEB, ("events", 0), "e", 0, links=reader)
    return {account: unpack(state) for account, state in effects.states.items()}


def odds_of(name: str, path: str = "") -> int:
    return int(np.rint(link_log_odds(MODEL, ALPHABET, [LinkText(name, path)])[0] * 64))


def test_links_of_the_upload_and_of_its_caption_are_read_with_their_paths_and_without_their_provider() -> None:
    links = ["https://birds.github.io/spring/", "mailto:a@b.example"]

    found = READER.read([UploadLinks(links, "or bonus-77.example/claim?x=1."), UploadLinks([], "no link here")])

    assert found == [max(odds_of("birds", "/spring"), odds_of("bonus-77.example", "/claim")), None]
    assert odds_of("birds", "/spring") != odds_of("bonus-77.example", "/claim")


def test_the_worst_link_of_an_upload_counts_whatever_the_order() -> None:
    links = [f"https://{name}.example/" for name in ("bread", "walks", "bonus-77", "lake")]
    each = [READER.read([UploadLinks([link], None)])[0] for link in links]

    assert READER.read([UploadLinks(links, None)]) == [max(odds for odds in each if odds is not None)]
    assert READER.read([UploadLinks(links[::-1], None)]) == READER.read([UploadLinks(links, None)])
    assert len(set(each)) > 1


def test_an_account_keeps_the_count_the_sums_and_how_many_were_high() -> None:
    facts = Facts()

    for odds in (-20, 64, 65, 200):
        fold_links(facts, odds)

    assert facts.links == LinkFacts(4, 309, 400 + 64**2 + 65**2 + 200**2, 2)
    assert unpack(pack(facts)) == facts
    assert len(pack(facts)) - len(pack(Facts())) < 16


def test_the_features_are_the_mean_and_the_share_and_unknown_without_a_model() -> None:
    read, unread = Facts(uploads=4, linked=4), Facts(uploads=4, linked=4)
    for odds in (-64, 64, 128, 128):
        fold_links(read, odds)

    known, unknown = features(read, Surroundings()), features(unread, Surroundings())

    assert known.link_odds == pytest.approx(1.0)
    assert known.link_odds_high_share == 0.5
    assert isnan(unknown.link_odds)
    assert isnan(unknown.link_odds_high_share)
    assert unknown[PLACE["link_share"]] == known[PLACE["link_share"]]


def test_a_batch_is_read_at_once_and_a_batch_without_links_not_at_all() -> None:
    reader = Counting()

    facts = states_of(
        [record(0, links=["https://a.example/"]), record(1, "b", text="see c.example/x"), record(2)], reader
    )
    states_of([record(0, text="my cat"), record(1)], reader)

    assert [len(batch) for batch in reader.batches] == [2]
    assert facts["a"].links == LinkFacts(1, odds_of("a.example"), odds_of("a.example") ** 2, odds_of("a.example") > 64)
    assert facts["b"].links is not None


def test_a_refused_or_repeated_upload_leaves_nothing_of_its_links() -> None:
    link = ["https://a.example/"]
    batch = [record(0, links=link, decision="deny"), record(1, "b", links=link), record(1, "b", links=link)]

    facts = states_of(batch, READER)

    assert facts["a"].links is None
    assert facts["b"].links is not None
    assert facts["b"].links.count == 1


def test_an_account_that_is_folded_again_after_an_error_keeps_the_log_odds_of_its_other_uploads() -> None:
    class Fails(Hashes):
        def mark(self, value: str) -> bytes:
            if value.endswith("u-1"):
                raise RuntimeError("this event cannot be folded")
            return super().mark(value)

    link = ["https://a.example/"]

    facts = states_of([record(n, links=link) for n in range(3)], READER, Fails(b"salt"))

    assert facts["a"].links is not None
    assert facts["a"].links.count == 2


def test_without_a_reader_a_state_holds_nothing_of_links() -> None:
    assert states_of([record(0, links=["https://a.example/"])], None)["a"].links is None


def test_the_hash_of_a_directory_follows_its_link_model(tmp_path: Path) -> None:
    model = link_model(TABLES[0], TABLES[1], 1e-4, 0.0, 1.0, 0.0)
    write_link_model(model, Provenance({"links.csv": 9}, 1, {}), tmp_path)

    models = load_models(tmp_path)

    assert models.links is not None
    assert models.captions is None
    assert models.hash == combined({"links": model.hash})
    assert load_models(None).links is None
