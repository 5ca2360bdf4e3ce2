"""What an account keeps of its captions: numbers read with numpy, folded one by one, and the features they give."""

from __future__ import annotations

from math import isnan

import numpy as np
import pytest

from streams.core.caption_facts import fold_caption
from streams.core.crowd import Crowd, Surroundings
from streams.core.events import encode
from streams.core.facts import CaptionFacts, Facts, pack, unpack
from streams.core.features import PLACE, features
from streams.core.models.alphabet import build_alphabet
from streams.core.models.captions import CaptionModel
from streams.core.models.marks import MOST_ODDS, CaptionReader
from streams.core.models.ngrams import TABLE_BITS
from streams.files.public_suffixes import load_web_links
from streams.files.scorecards import load_scorecard
from streams.lab.rows import attempted, read
from streams.pipeline.hashes import Hashes
from streams.pipeline.step import Record, process

ALPHABET = build_alphabet()
PLAIN = CaptionReader(ALPHABET)
TABLE = np.random.default_rng(7).integers(-9_000, 9_000, 1 << TABLE_BITS, dtype=np.int16)
READER = CaptionReader(ALPHABET, CaptionModel(TABLE, 1e-3, 0.0, 0.0, "test"))


def of(*captions: str, reader: CaptionReader = READER) -> dict[str, float]:
    """The features of an account with these captions."""
    facts = Facts()
    for numbers in reader.read(captions):
        facts.uploads += 1
        fold_caption(facts, numbers)
    vector = features(facts, Surroundings())
    return {name: vector[place] for name, place in PLACE.items()}


def test_a_caption_is_counted_by_kinds_of_characters_and_words() -> None:
    numbers = PLAIN.read(["@ann See 2 NEW pics! #cats https://a.example/x 🎁 мир"])[0]

    assert (numbers.mentions, numbers.tags, numbers.links, numbers.reply) == (1, 1, 1, 1)
    assert (numbers.upper, numbers.digits, numbers.beyond, numbers.emoji) == (4, 1, 3, 1)
    assert numbers.chars == len("@ann See 2 NEW pics! #cats https://a.example/x 🎁 мир")
    assert numbers.odds == 0


def test_log_odds_of_a_caption_are_cut_off() -> None:
    strong = CaptionReader(ALPHABET, CaptionModel(TABLE, 10.0, 0.0, 0.0, "strong"))

    odds = [numbers.odds for numbers in strong.read(["a walk by the lake", "double your coins", "rain again"])]

    assert {abs(one) for one in odds} == {MOST_ODDS}


def test_near_duplicates_are_found_and_other_captions_are_not() -> None:
    varied = [f"Join our channel for free signals today, seats left: {n}" for n in (3, 5, 8, 2, 9)]
    plain = ["a walk by the lake", "the bread came out well", "rain again this week", "my new bike is here", "so tired"]

    same, other = of(*varied), of(*plain)

    assert same["near_mean"] > 0.6 > 0.2 > other["near_mean"]
    assert same["near_share"] > other["near_share"] == 0.0
    assert same["skeleton_share"] == 1.0


def test_features_of_captions_are_unknown_without_captions_and_without_a_model() -> None:
    nothing, unread = of(), of("my cat", "my dog", reader=PLAIN)

    assert isnan(nothing["caption_odds"])
    assert isnan(nothing["near_mean"])
    assert isnan(nothing["upper_share"])
    assert isnan(unread["caption_odds"])
    assert unread["near_mean"] >= 0.0


def test_the_mean_and_the_spread_of_log_odds_are_those_of_the_captions() -> None:
    captions = ["win a phone now", "a walk by the lake", "claim your bonus"]
    odds = np.array([numbers.odds for numbers in READER.read(captions)]) / 64

    found = of(*captions)

    assert found["caption_odds"] == pytest.approx(odds.mean())
    assert found["caption_odds_deviation"] == pytest.approx(odds.std())


def test_a_state_with_many_captions_stays_below_a_kilobyte_and_reads_back() -> None:
    rng = np.random.default_rng(3)
    texts = ["".join(map(chr, rng.integers(33, 0x2FFF, 300))) for _ in range(300)]
    facts = Facts()
    for numbers in READER.read(texts):
        fold_caption(facts, numbers)

    state = pack(facts)

    assert len(state) < 500
    assert unpack(state) == facts


def records(tmp_path_text: list[tuple[str, str, str | None]]) -> list[Record]:
    """Records of (account, caption, decision)."""
    import json
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.jsonl"
        rows = [{"account_id": a, "text": t, "t": 1_700_000_000 + n} for n, (a, t, _) in enumerate(tmp_path_text)]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        uploads = read(file).uploads
    return [
        Record(n, upload.request.account.id.encode(), encode(attempted(upload.request, upload.at_us, decision)), (), 0)
        for n, (upload, (_, _, decision)) in enumerate(zip(uploads, tmp_path_text, strict=True))
    ]


def states_of(batch: list[Record], size: int, reader: CaptionReader | None) -> dict[str, bytes]:
    """The states after folding `size` records at a time."""
    states: dict[str, bytes] = {}
    hashes, web, card, crowd = Hashes(b"salt"), load_web_links(), load_scorecard(None), Crowd()
    for start in range(0, len(batch), size):
        part = batch[start : start + size]
        effects = process(part, states, crowd, card, hashes, web, ("events", 0), "e", 0, captions=reader)
        states.update(effects.states)
    return states


def test_states_with_captions_do_not_depend_on_how_events_are_batched() -> None:
    batch = records([(f"a{n % 3}", f"free followers {n // 2} at my page", None) for n in range(24)])

    whole, single = states_of(batch, 24, READER), states_of(batch, 1, READER)

    assert whole == single
    assert all(unpack(state).captions is not None for state in whole.values())


def test_a_refused_upload_leaves_nothing_of_its_caption() -> None:
    batch = records([("a", "free followers", "deny"), ("b", "free followers", None)])

    states = states_of(batch, 2, READER)

    assert unpack(states["a"]).captions is None
    assert unpack(states["b"]).captions is not None


def test_without_a_reader_accounts_keep_no_facts_of_captions() -> None:
    states = states_of(records([("a", "free followers", None)]), 1, None)

    assert unpack(states["a"]).captions is None


@pytest.mark.parametrize("odds", [-200, -64, -1, 0, 1, 64, 65, 200])
def test_the_first_caption_is_folded_as_a_later_one_into_empty_facts(odds: int) -> None:
    for caption in PLAIN.read(["@ann See 2 NEW pics! #cats https://a.example/x 🎁 мир", "a", "rain on the harbour"]):
        first, later = Facts(), Facts(captions=CaptionFacts())

        fold_caption(first, caption._replace(odds=odds))
        fold_caption(later, caption._replace(odds=odds))

        assert pack(first) == pack(later)
