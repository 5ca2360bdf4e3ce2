"""How well scores tell abusive accounts from honest ones, from labels and scores; and the features after each event.

Pure: where labels, rows and models come from is the caller's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

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

MAX_FALSE_POSITIVES = 0.01


@dataclass(frozen=True, slots=True)
class Figures:
    """Detection by account. `auc` and `recall` are None where only one class is labelled."""

    accounts: int
    abusive: int
    auc: float | None
    recall: float | None


def figures(labelled: Iterable[tuple[int, float]]) -> Figures:
    """The figures for (label, score) pairs, one an account; label 1 is abusive, 0 benign, any other is left out."""
    pairs = [(label, score) for label, score in labelled if label in (0, 1)]
    abusive = sum(label for label, _ in pairs)
    return Figures(len(pairs), abusive, auc(pairs), recall_at(pairs, MAX_FALSE_POSITIVES))


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


def auc(pairs: Sequence[tuple[int, float]]) -> float | None:
    """How often an abusive account scores above a benign one, in [0, 1]; a tie counts half. None without both."""
    positives, negatives = _counts(pairs)
    if not positives or not negatives:
        return None
    won = 0.0
    below = negatives
    for abusive, benign in _groups(pairs):
        below -= benign
        won += abusive * (below + benign / 2)
    return won / (positives * negatives)


def recall_at(pairs: Sequence[tuple[int, float]], false_positives: float) -> float | None:
    """The largest share of abusive accounts above a threshold that at most that share of benign ones reaches.

    Accounts of equal score fall on one side together. None without both classes.
    """
    positives, negatives = _counts(pairs)
    if not positives or not negatives:
        return None
    caught = wronged = best = 0
    for abusive, benign in _groups(pairs):
        caught += abusive
        wronged += benign
        if wronged > false_positives * negatives:
            break
        best = caught
    return best / positives


def _counts(pairs: Sequence[tuple[int, float]]) -> tuple[int, int]:
    positives = sum(label == 1 for label, _ in pairs)
    return positives, len(pairs) - positives


def _groups(pairs: Sequence[tuple[int, float]]) -> list[tuple[int, int]]:
    """(abusive, benign) for each distinct score, the highest score first."""
    found: dict[float, list[int]] = {}
    for label, score in pairs:
        found.setdefault(score, [0, 0])[label != 1] += 1
    return [(found[score][0], found[score][1]) for score in sorted(found, reverse=True)]
