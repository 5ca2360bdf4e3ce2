"""The features of accounts after each event of a labelled stream, as `replay --features` writes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from gate.core.event import Attempted
from streams.core.crowd import Crowd
from streams.core.events import encode
from streams.core.facts import unpack
from streams.core.features import features, named
from streams.core.models.alphabet import build_alphabet
from streams.files.model_directory import Models
from streams.files.public_suffixes import load_web_links
from streams.pipeline.hashes import Hashes
from streams.pipeline.step import Record, process, surroundings


class LabelledVector(msgspec.Struct, frozen=True):
    """An account's features right after its event at `offset`, and the event's label: one line of JSON.

    A feature that is not known is NaN here and null in JSON.
    """

    account: str
    offset: int
    label: int
    features: dict[str, float]


def vectors(labelled: Iterable[tuple[int, Attempted]], models: Models) -> Iterator[LabelledVector]:
    """The vector of features after each of the (label, event) pairs in stream order, folded one by one as a worker with
    these models does.

    An event that cannot be used has none.
    """
    states: dict[str, bytes] = {}
    crowd, hashes, alphabet, web = Crowd(), Hashes(b""), build_alphabet(), load_web_links()
    campaigns = models.campaigns(crowd, alphabet, web)
    captions, links = models.caption_reader(alphabet), models.link_reader(alphabet, web)
    for offset, (label, event) in enumerate(labelled):
        account = event.account.id
        record = Record(offset, account.encode(), encode(event), (), 0)
        changed = process(
            [record], states, crowd, models.scorecard, hashes, web, ("offline", 0), "offline", 0,
            campaigns=campaigns, captions=captions, links=links,
        ).states  # fmt: skip
        states.update(changed)
        if account in changed:
            facts = unpack(changed[account])
            vector = features(facts, surroundings(crowd, facts, account, campaigns))
            yield LabelledVector(account, offset, label, named(vector))
