"""Folds a labelled stream as the worker does, and keeps accounts' vectors of features after some of their events.

All of it is one partition. Uploads are folded in batches, as `process` gets them. A batch ends with its day, since what
accounts share is counted by the day, and where an account has reached an event whose vector is wanted. Every upload
counts as let through.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from gate.core.duration import DAY_US
from streams.core.campaigns import Campaigns
from streams.core.crowd import Backfill, Crowd
from streams.core.events import encode
from streams.core.facts import unpack
from streams.core.features import features
from streams.core.models.alphabet import build_alphabet
from streams.core.models.link_odds import ReadsLinks
from streams.core.models.marks import ReadsCaptions
from streams.core.models.name_model import NameModel
from streams.core.scorecard import Scorecard
from streams.files.public_suffixes import load_web_links
from streams.lab.rows import ABUSIVE, BENIGN, UNLABELLED, Recorded, attempted
from streams.pipeline.effects import Effects
from streams.pipeline.hashes import Hashes
from streams.pipeline.rescore import backfilled
from streams.pipeline.stamps import Stamps
from streams.pipeline.step import Record, Scoring, process, surroundings

BATCH = 300


@dataclass(frozen=True, slots=True)
class FeatureSnapshot:
    """An account's features right after its event number `events`, counted from one.

    With `again` they were read later, without an event: what surrounds the account had changed.
    """

    account: str
    events: int
    vector: tuple[float, ...]
    again: bool = False


@dataclass(slots=True)
class FoldedStream:
    """The states of accounts after folding. `labels` has 1 for abusive, 0 for honest, -1 for unlabelled accounts."""

    labels: dict[str, int] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    snapshots: list[FeatureSnapshot] = field(default_factory=list)
    states: dict[str, bytes] = field(default_factory=dict)
    cpu_s: float = 0.0
    events: int = 0

    @property
    def us_per_event(self) -> float:
        """CPU time of folding and scoring, µs an event."""
        return self.cpu_s / self.events * 1e6 if self.events else 0.0

    def last(self) -> dict[str, FeatureSnapshot]:
        """Each account's last snapshot: after its last event, or later where its surroundings changed."""
        return {one.account: one for one in self.snapshots if one.events == self.counts[one.account]}


def account_labels(uploads: Sequence[Recorded]) -> dict[str, int]:
    """Each account's label: abusive if any of its uploads is, else honest if any is."""
    labels: dict[str, int] = {}
    for upload in uploads:
        account = upload.request.account.id
        labels[account] = max(labels.get(account, UNLABELLED), upload.label)
    return {account: label if label in (ABUSIVE, BENIGN) else UNLABELLED for account, label in labels.items()}


def fold_stream(
    uploads: Sequence[Recorded],
    scorecard: Scorecard,
    captions: ReadsCaptions | None,
    at: Collection[int],
    links: ReadsLinks | None = None,
    names: NameModel | None = None,
) -> FoldedStream:
    """Fold the uploads in their order; keep vectors after the events numbered in `at`, and after each account's last.

    `names` is the model by which sites are grouped into campaigns of names; without it there are none.
    An account whose surroundings change after its last event has one more snapshot, as the worker scores it again.
    """
    totals = Counter(upload.request.account.id for upload in uploads)
    made = FoldedStream(account_labels(uploads), totals, events=len(uploads))
    folding = _Folding(scorecard, captions, made, links, names)
    done: Counter[str] = Counter()
    today = 0
    for offset, upload in enumerate(uploads):
        account, day = upload.request.account.id, upload.at_us // DAY_US
        if account in folding.wanted or len(folding.records) >= BATCH or day != today:
            folding.flush()
        today = day
        done[account] += 1
        folding.records.append(Record(offset, account.encode(), encode(attempted(upload.request, upload.at_us)), (), 0))
        if done[account] in at or done[account] == totals[account]:
            folding.wanted[account] = done[account]
    folding.flush()
    folding.score_again()
    return folding.made


class _Folding:
    """The batch that is collected, and the accounts whose vectors are wanted after it."""

    def __init__(
        self,
        scorecard: Scorecard,
        captions: ReadsCaptions | None,
        made: FoldedStream,
        links: ReadsLinks | None,
        names: NameModel | None,
    ) -> None:
        self.made = made
        self.records: list[Record] = []
        self.wanted: dict[str, int] = {}
        self._finished: set[str] = set()
        self._scorecard, self._captions, self._links = scorecard, captions, links
        self._crowd, self._hashes, self._web = Crowd(), Hashes(b""), load_web_links()
        self._campaigns = Campaigns.by_model(self._crowd, build_alphabet(), names, self._web)
        self._backfill = Backfill(self._crowd, passes_over=self._campaigns.passes_over)
        self._stamps = Stamps("offline", 0, (), 1)

    def flush(self) -> None:
        """Fold the batch and keep the wanted vectors."""
        if not self.records:
            return
        made = self.made
        began = time.process_time()
        effects = process(
            self.records, made.states, self._crowd, self._scorecard, self._hashes, self._web, ("offline", 0), "offline",
            0, self._stamps, backfill=self._backfill, campaigns=self._campaigns, captions=self._captions, links=self._links,
        )  # fmt: skip
        made.states.update(effects.states)
        made.cpu_s += time.process_time() - began
        for account, events in self.wanted.items():
            self._keep(account, events)
            if events == made.counts[account]:
                self._finished.add(account)
        self._keep_again(effects, {record.key for record in self.records})
        self.records.clear()
        self.wanted.clear()

    def score_again(self) -> None:
        """Score accounts that still wait to be scored again."""
        scoring = Scoring(self._crowd, self._scorecard, self._stamps.stamp, 0, True, self._campaigns)
        while self._backfill.waiting(0):
            effects = backfilled(self._backfill, self.made.states, scoring, self._stamps, self.made.events)
            self._keep_again(effects, set())

    def _keep_again(self, effects: Effects, with_event: Collection[bytes | None]) -> None:
        for score, _ in effects.scores:
            account = score.account
            if account in self._finished and account.encode() not in with_event:
                self._keep(account, self.made.counts[account], again=True)

    def _keep(self, account: str, events: int, again: bool = False) -> None:
        state = self.made.states.get(account)
        if state is not None:
            facts = unpack(state)
            around = surroundings(self._crowd, facts, account, self._campaigns)
            self.made.snapshots.append(FeatureSnapshot(account, events, features(facts, around), again))
