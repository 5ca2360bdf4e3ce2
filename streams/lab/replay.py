"""Replays a labelled stream through the gate's decision code and the real worker in recorded time, and counts results.

Uploads are processed in the windows of `windows`: a window is decided, its events are published with their decisions,
and the next window waits until the worker's scores of this one are in the account store. So a check knows everything
that happened before its window, and nothing of the window itself.

The caller provides the store, the publisher and the clock.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from gate.app.hear_hot_facts import HearHotFacts
from gate.core.decide import LivePauses, decide
from gate.core.decision import Decision
from gate.core.event import Attempted
from gate.core.hot_facts import HotFactTable
from gate.core.limits.take import ClassLimits, TakeRequest
from gate.core.policy import Policy
from gate.core.pseudonym import Pseudonyms
from gate.core.score import Score
from gate.errors import StoreUnavailable
from gate.ports.scores import ScoreStore
from gate.ports.takes import TakeStore
from streams.lab.detection_figures import Separation, rounded, separation
from streams.lab.next_upload import MEETS, NextUploads
from streams.lab.rows import (
    ABUSIVE,
    BENIGN,
    Recorded,
    Stream,
    attempted,
)
from streams.lab.windows import SPAN_US, WINDOW, Sharers, windows

POLL_S = 0.003
SCORED_WITHIN_S = 60.0
SETTLE_S = 1.0
"""Longer than a count takes from one partition to the scores of another, which is two transactions and two polls."""
SETTLED_WITHIN_S = 15.0

Publish = Callable[[Sequence[Attempted]], Awaitable[Sequence[tuple[int, int]]]]
"""Publishes events in order and returns partition and offset of each. Raises StoreUnavailable."""


@dataclass(slots=True)
class Tally:
    """The counts of uploads and accounts so far, by decision and label."""

    uploads: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    labels: dict[str, int] = field(default_factory=dict)
    benign_uploads: int = 0
    benign_refused: int = 0
    refused_accounts: set[str] = field(default_factory=set)
    met_accounts: set[str] = field(default_factory=set)
    met_next: set[str] = field(default_factory=set)

    def add(self, upload: Recorded, decision: Decision) -> None:
        """Count one upload. An account is abusive if any of its uploads is, else honest if any is."""
        account = upload.request.account.id
        refused = not decision.verdict.lets_in
        self.uploads += 1
        self.verdicts[decision.verdict] += 1
        self.labels[account] = max(self.labels.get(account, upload.label), upload.label)
        if refused:
            self.refused_accounts.add(account)
        if decision.verdict in MEETS:
            self.met_accounts.add(account)
        if upload.label == BENIGN:
            self.benign_uploads += 1
            self.benign_refused += refused


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a replay. `figures` are those of each account's last score, or of the risk of a hot fact that it was
    judged by where that is higher. `seconds` is the time from its first check to its last score."""

    tally: Tally
    figures: Separation
    synthetic_times: bool
    windows: int
    seconds: float

    def as_json(self) -> dict[str, object]:
        """The JSON that `-o json` prints. A figure that needs both classes of labels is None without them."""
        tally = self.tally
        benign = {account for account, label in tally.labels.items() if label == BENIGN}
        let_in = ("allow", "review")
        return {
            "uploads": tally.uploads,
            "allowed": sum(tally.verdicts[verdict] for verdict in let_in),
            "reviewed": tally.verdicts["review"],
            "refused": {str(v): n for v, n in sorted(tally.verdicts.items()) if v not in let_in},
            "accounts": len(tally.labels),
            "abusive_accounts": sum(label == ABUSIVE for label in tally.labels.values()),
            "abusive_accounts_ever_refused": sum(tally.labels[a] == ABUSIVE for a in tally.refused_accounts),
            "benign_uploads": tally.benign_uploads,
            "benign_uploads_refused": tally.benign_refused,
            "benign_accounts": len(benign),
            "benign_accounts_ever_refused": len(benign & tally.refused_accounts),
            "abusive_accounts_met": sum(tally.labels[a] == ABUSIVE for a in tally.met_accounts),
            "benign_accounts_met": len(benign & tally.met_accounts),
            "abusive_accounts_met_or_next": sum(
                tally.labels[a] == ABUSIVE for a in tally.met_accounts | tally.met_next
            ),
            "benign_accounts_met_or_next": len(benign & (tally.met_accounts | tally.met_next)),
            "auc": rounded(self.figures.auc),
            "recall_at_1pct_fpr": rounded(self.figures.recall),
            "synthetic_times": self.synthetic_times,
            "windows": self.windows,
            "seconds": round(self.seconds, 2),
        }


class Judge:
    """Decides uploads as the gate does, at their recorded time, without any pause, so that only the policy decides.

    It is the clock of the hot facts too: they expire by the recorded time of the last upload.
    """

    def __init__(self, policy: Policy, store: TakeStore, salt: bytes) -> None:
        self.policy = policy
        self._store = store
        self._names = Pseudonyms(salt)
        self._at_us = 0
        self._read_us: int | None = None
        self._unranked: dict[ClassLimits, ClassLimits] = {}
        self._hot = HotFactTable()
        self.hear = HearHotFacts(self._hot, self).hear
        """Takes key and value of each record of a hot fact."""
        self.hot_risks: dict[str, float] = {}
        """The highest risk of a hot fact that each account was judged by."""

    def now_us(self) -> int:
        """The recorded time of the last upload."""
        return self._at_us

    def lacks_hot_facts(self) -> bool:
        """Whether hot facts were never read, or those of newcomers so long ago in recorded time that they end soon."""
        return self._read_us is None or (bool(self._hot.newcomers) and self._at_us - self._read_us > SPAN_US)

    def has_hot_facts(self) -> None:
        """The hot facts of this moment were read."""
        self._read_us = self._at_us

    async def decide(self, uploads: Sequence[Recorded]) -> list[Decision]:
        """The decisions in their order. Raises StoreUnavailable."""
        return list(await asyncio.gather(*map(self._decide, uploads)))

    async def _decide(self, upload: Recorded) -> Decision:
        request, at_us = upload.request, upload.at_us
        self._at_us = max(self._at_us, at_us)
        policy, pauses = self.policy, LivePauses()
        class_ = policy.class_of(request.account, at_us)
        decision = decide(request, class_, pauses, policy, at_us)
        if decision is None:
            taking = self._in_turn(policy.take_request(request, class_, self._names, at_us))
            answer = await self._store.take(self._with_hot(taking, upload))
            decision = decide(request, class_, pauses, policy, at_us, answer)
        return decision

    def _in_turn(self, taking: TakeRequest) -> TakeRequest:
        """The same request without a rank: a store that is asked for a whole window at once sends higher ranks first, and
        recorded times would run backwards."""
        limits = self._unranked.get(taking.class_limits)
        if limits is None:
            limits = self._unranked[taking.class_limits] = replace(taking.class_limits, rank=0)
        return msgspec.structs.replace(taking, class_limits=limits)

    def _with_hot(self, taking: TakeRequest, upload: Recorded) -> TakeRequest:
        hot = self._hot.met(taking.device, taking.ip, upload.request.account.created_at, upload.at_us)
        if hot is None:
            return taking
        account = upload.request.account.id
        self.hot_risks[account] = max(hot.risk, self.hot_risks.get(account, 0.0))
        return msgspec.structs.replace(taking, hot=hot)


async def no_hot_facts() -> None:
    """Reads none."""


async def replay(
    stream: Stream,
    judge: Judge,
    store: ScoreStore,
    publish: Publish,
    speed: float | None = None,
    alive: Callable[[], None] = lambda: None,
    log_tail: Callable[[], str] = lambda: "",
    progress: Callable[[int], None] = lambda uploads: None,
    hot_facts: Callable[[], Awaitable[None]] = no_hot_facts,
) -> Outcome:
    """Replay `stream`, `speed` times faster than recorded, or as fast as possible if `speed` is None.

    `hot_facts` gives `judge` the hot facts that the worker has published after a window. `alive` raises if the worker
    has ended; `log_tail` returns the end of its log. Raises StoreUnavailable, also if scores do not arrive.
    """
    tally, sharers, following = Tally(), Sharers(), NextUploads(judge.policy, store)
    count = 0
    began = time.monotonic()
    span_us = SPAN_US if speed is None else min(SPAN_US, round(speed * 250_000))
    for window in windows(stream.uploads, sharers, span_us=span_us):
        if speed is not None:
            ahead_s = (window[0].at_us - stream.uploads[0].at_us) / 1e6 / speed - (time.monotonic() - began)
            await asyncio.sleep(max(0.0, ahead_s))
        decisions = await judge.decide(window)
        events = [
            attempted(upload.request, upload.at_us, decision.verdict)
            for upload, decision in zip(window, decisions, strict=True)
        ]
        await _scored(store, last_of_each(window, await publish(events)), alive, log_tail)
        if sharers.may_be_hot(window) or judge.lacks_hot_facts():
            await hot_facts()
            judge.has_hot_facts()
        await following.look(window)
        for upload, decision in zip(window, decisions, strict=True):
            tally.add(upload, decision)
        count += 1
        progress(tally.uploads)
    seconds = time.monotonic() - began
    # scores of accounts that have long been inactive in recorded time expire during a long stream
    risks = following.risks | await _settled(store, list(tally.labels))
    tally.met_next, hot = following.met, judge.hot_risks
    labelled = separation(
        (label, max(risks.get(account, 0.0), hot.get(account, 0.0))) for account, label in tally.labels.items()
    )
    return Outcome(tally, labelled, stream.synthetic_times, count, seconds)


def last_of_each(window: Sequence[Recorded], places: Sequence[tuple[int, int]]) -> dict[str, int]:
    """The account of the last event of each partition, with its offset. All scores of a batch arrive together."""
    last = {
        partition: (offset, upload.request.account.id)
        for upload, (partition, offset) in zip(window, places, strict=True)
    }
    return {account: offset for offset, account in last.values()}


async def _scored(
    store: ScoreStore, wanted: Mapping[str, int], alive: Callable[[], None], log_tail: Callable[[], str]
) -> None:
    """Wait until the score of each account is of its offset or a later one."""
    missing = dict(wanted)
    deadline = time.monotonic() + SCORED_WITHIN_S
    while missing:
        accounts = list(missing)
        for account, score in zip(accounts, await store.scores(accounts), strict=True):
            if score is not None and score.stamp.offset >= missing[account]:
                del missing[account]
        if not missing:
            return
        alive()
        if time.monotonic() > deadline:
            raise StoreUnavailable(
                f"the worker has not scored {len(missing)} of {len(wanted)} partitions of a window within "
                f"{SCORED_WITHIN_S:.0f} s; the end of its log:\n{log_tail()}"
            )
        await asyncio.sleep(POLL_S)


async def _settled(store: ScoreStore, accounts: Sequence[str]) -> dict[str, float]:
    """The last risk of each account, once none has changed for a moment: accounts whose surroundings have changed are
    scored again without an event, after counts have passed between partitions."""
    deadline = time.monotonic() + SETTLED_WITHIN_S
    risks = await _risks(store, accounts)
    while time.monotonic() < deadline:
        await asyncio.sleep(SETTLE_S)
        before, risks = risks, await _risks(store, accounts)
        if risks == before:
            break
    return risks


async def _risks(store: ScoreStore, accounts: Sequence[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for start in range(0, len(accounts), WINDOW):
        part = accounts[start : start + WINDOW]
        scores: list[Score | None] = await store.scores(part)
        found.update((a, score.risk) for a, score in zip(part, scores, strict=True) if score is not None)
    return found
