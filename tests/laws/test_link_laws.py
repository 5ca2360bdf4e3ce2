"""The log odds of an upload's links follow from the upload alone, and folding them is exact however records are cut."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.crowd import Crowd
from streams.core.models.alphabet import build_alphabet
from streams.core.models.link_model import LinkModel
from streams.core.models.link_odds import LinkReader, UploadLinks
from streams.core.models.marks import MOST_ODDS
from streams.core.models.ngrams import NAME_BITS, TABLE_BITS
from streams.files.public_suffixes import load_web_links
from streams.files.scorecards import load_scorecard
from streams.pipeline.hashes import Hashes
from streams.pipeline.step import Record, process

SHIPPED = load_scorecard(None)
WEB = load_web_links()
WEIGHTS = np.random.default_rng(11).integers(-9_000, 9_000, (1 << NAME_BITS) + (1 << TABLE_BITS), dtype=np.int16)
TABLES = WEIGHTS[: 1 << NAME_BITS], WEIGHTS[1 << NAME_BITS :]
READER = LinkReader(build_alphabet(), LinkModel(TABLES[0], TABLES[1], 2e-4, -0.5, 1.5, 0.0, "test"), WEB)
links = st.text(max_size=30) | st.sampled_from(
    [
        "https://a.github.io/x",
        "http://bonus-77.example/claim",
        "//[::1]/",
        "github.io",
        "http://a..b/",
        "HTTPS://É.example",
    ]
)
captions = st.none() | st.text(max_size=60) | st.sampled_from(["see bonus-77.example/claim now", "a b", "\ud800.com"])
uploads = st.builds(UploadLinks, st.lists(links, max_size=4), captions)


@settings(max_examples=120, deadline=None)
@given(st.lists(uploads, max_size=8), st.data())
def test_an_uploads_number_does_not_depend_on_the_batch_around_it(
    batch: list[UploadLinks], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(batch))))

    together = READER.read(batch)
    shuffled = READER.read([batch[i] for i in order])
    alone = [READER.read([upload])[0] for upload in batch]

    assert together == alone
    assert shuffled == [alone[i] for i in order]
    assert all(odds is None or (type(odds) is int and abs(odds) <= MOST_ODDS) for odds in alone)


@settings(max_examples=120, deadline=None)
@given(uploads)
def test_an_upload_has_log_odds_if_and_only_if_it_has_hosts(upload: UploadLinks) -> None:
    hosts = WEB.hosts_in(upload.links, upload.text)

    found = WEB.links_in(upload.links, upload.text)

    assert (READER.read([upload])[0] is not None) == bool(hosts)
    assert set(hosts) <= {link.host for link in found}


records = st.lists(
    st.builds(
        lambda account, number, extra: Record(
            0,
            account.encode(),
            json.dumps({
                "type": "attempted", "id": f"e-{number}", "at": f"2026-11-20T10:{number:02d}:00Z",
                "account": {"id": account}, **extra,
            }).encode(),
            (),
            0,
        ),
        st.sampled_from(["a", "b"]),
        st.integers(0, 59),
        st.fixed_dictionaries(
            {},
            optional={
                "text": st.sampled_from(["see bonus-77.example/claim now", "my cat", "e.com"]),
                "links": st.lists(links, max_size=3),
                "decision": st.sampled_from(["allow", "deny"]),
            },
        ),
    ),
    max_size=14,
)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(records, st.lists(st.integers(0, 14), max_size=4))
def test_any_cut_into_batches_gives_the_same_states_with_a_link_model(given_: list[Record], cuts: list[int]) -> None:
    stream = [record._replace(offset=offset) for offset, record in enumerate(given_)]
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]

    def states_of(batches: list[list[Record]]) -> dict[str, bytes]:
        states: dict[str, bytes] = {}
        for batch in filter(None, batches):
            effects = process(
                batch, states, Crowd(), SHIPPED, Hashes(b"salt"), WEB, ("t", 0), "e", 0, links=READER
            )  # fmt: skip
            states.update(effects.states)
        return states

    assert states_of([stream[low:high] for low, high in pairwise(edges)]) == states_of([stream])
