"""Replays a labelled stream through the gate's decision code and the real worker in recorded time, and counts results.

Uploads are processed in windows in stream order: a window is decided, its events are published with their decisions,
and the next window waits until the worker's scores of this one are in the account store. So a check knows everything
that happened before its window, and nothing of the window itself. A window ends before it would hold more than
`REPEATS` uploads of one account and, once it has `FULL_ENOUGH` rows, before it would hold more than that of one device,
address, content or link. So a check misses at most the last `REPEATS - 1` uploads of its account.

The caller provides the store, the publisher and the clock.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gate.core.decide import LivePauses, decide
from gate.core.decision import Decision
from gate.core.event import Attempted
from gate.core.policy import Policy
from gate.core.pseudonym import Pseudonyms
from gate.core.request import CheckRequest
from gate.core.score import Score
from gate.errors import StoreUnavailable
from gate.ports.scores import ScoreStore
from gate.ports.takes import TakeStore
from streams.lab.evaluate import Figures, figures
from streams.lab.rows import (
    ABUSIVE,
    BENIGN,
    Recorded,
    Stream,
    attempted,
)

WINDOW = 250
REPEATS = 3
FULL_ENOUGH = 24
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

    def add(self, upload: Recorded, decision: Decision) -> None:
        """Count one upload. An account is abusive if any of its uploads is, else benign if any is."""
        account = upload.request.account.id
        refused = not decision.verdict.lets_in
        self.uploads += 1
        self.verdicts[decision.verdict] += 1
        self.labels[account] = max(self.labels.get(account, upload.label), upload.label)
        if refused:
            self.refused_accounts.add(account)
        if upload.label == BENIGN:
            self.benign_uploads += 1
            self.benign_refused += refused


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a replay. `seconds` is the time from its first check to its last score."""

    tally: Tally
    figures: Figures
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
            "auc": _rounded(self.figures.auc),
            "recall_at_1pct_fpr": _rounded(self.figures.recall),
            "synthetic_times": self.synthetic_times,
            "windows": self.windows,
            "seconds": round(self.seconds, 2),
        }


class Judge:
    """Decides uploads as the gate does, at their recorded time, without any pause, so that only the policy decides."""

    def __init__(self, policy: Policy, store: TakeStore, salt: bytes) -> None:
        self._policy = policy
        self._store = store
        self._names = Pseudonyms(salt)

    async def decide(self, uploads: Sequence[Recorded]) -> list[Decision]:
        """The decisions in their order. Raises StoreUnavailable."""
        return list(await asyncio.gather(*(self._decide(upload.request, upload.at_us) for upload in uploads)))

    async def _decide(self, request: CheckRequest, at_us: int) -> Decision:
        policy, pauses = self._policy, LivePauses()
        class_ = policy.class_of(request.account, at_us)
        decision = decide(request, class_, pauses, policy, at_us)
        if decision is None:
            answer = await self._store.take(policy.take_request(request, class_, self._names, at_us))
            decision = decide(request, class_, pauses, policy, at_us, answer)
        return decision


async def replay(
    stream: Stream,
    judge: Judge,
    store: ScoreStore,
    publish: Publish,
    speed: float | None = None,
    alive: Callable[[], None] = lambda: None,
    log_tail: Callable[[], str] = lambda: "",
    progress: Callable[[int], None] = lambda uploads: None,
) -> Outcome:
    """Replay `stream`, `speed` times faster than recorded, or as fast as possible if `speed` is None.

    `alive` raises if the worker has ended; `log_tail` returns the end of its log. Raises StoreUnavailable, also if
    scores do not arrive.
    """
    tally = Tally()
    count = 0
    began = time.monotonic()
    span_us = None if speed is None else round(speed * 250_000)
    for window in windows(stream.uploads, span_us=span_us):
        if speed is not None:
            ahead_s = (window[0].at_us - stream.uploads[0].at_us) / 1e6 / speed - (time.monotonic() - began)
            await asyncio.sleep(max(0.0, ahead_s))
        decisions = await judge.decide(window)
        events = [
            attempted(upload.request, upload.at_us, decision.verdict)
            for upload, decision in zip(window, decisions, strict=True)
        ]
        await _scored(store, last_of_each(window, await publish(events)), alive, log_tail)
        for upload, decision in zip(window, decisions, strict=True):
            tally.add(upload, decision)
        count += 1
        progress(tally.uploads)
    seconds = time.monotonic() - began
    risks = await _settled(store, list(tally.labels))
    labelled = figures((label, risks[account]) for account, label in tally.labels.items())
    return Outcome(tally, labelled, stream.synthetic_times, count, seconds)


def windows(
    uploads: Iterable[Recorded], size: int = WINDOW, repeats: int = REPEATS, span_us: int | None = None
) -> Iterator[list[Recorded]]:
    """The windows of the stream, by the rules of the module. With `span_us` no window spans more recorded time."""
    window: list[Recorded] = []
    accounts: Counter[str] = Counter()
    shared: Counter[tuple[str, str]] = Counter()
    for upload in uploads:
        account, features = upload.request.account.id, _features(upload.request)
        full = len(window) >= size or accounts[account] >= repeats
        crowded = len(window) >= FULL_ENOUGH and any(shared[feature] >= repeats for feature in features)
        long = span_us is not None and bool(window) and upload.at_us - window[0].at_us > span_us
        if full or crowded or long:
            yield window
            window = []
            accounts.clear()
            shared.clear()
        window.append(upload)
        accounts[account] += 1
        shared.update(features)
    if window:
        yield window


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
        found.update((a, 0.0 if score is None else score.risk) for a, score in zip(part, scores, strict=True))
    return found


def _features(request: CheckRequest) -> list[tuple[str, str]]:
    named = (("device", request.device), ("ip", request.ip), ("content", request.media.sha256))
    return [(kind, value) for kind, value in named if value is not None] + [("link", link) for link in request.links]


def _rounded(figure: float | None) -> float | None:
    return None if figure is None else round(figure, 4)
