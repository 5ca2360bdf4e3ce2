"""The replay over stores in memory and a worker that scores what it is told to: windows, decisions, figures."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial

import pytest

from gate.core.account import Account
from gate.core.duration import DAY_US, HOUR_US, MINUTE_US
from gate.core.event import Attempted
from gate.core.hot_facts import HotKind, SharedFeature, newcomer_name
from gate.core.limits.take import TakeRequest, TakeResult
from gate.core.media import Media
from gate.core.pseudonym import Pseudonyms
from gate.core.request import CheckRequest
from gate.core.score import Score, Stamp
from gate.errors import StoreUnavailable
from gate.policyfile import load_policy
from gate.records.hot_fact import encode_hot_fact, encode_hot_key
from gate.records.score import with_bytes
from gate.stores.memory.accounts import MemoryAccountStore
from streams.cli.replay import outcome_lines
from streams.core.crowd import DEVICE, IP, LEVELS
from streams.lab import replay as replaying
from streams.lab.replay import Judge, Outcome, last_of_each, replay
from streams.lab.rows import ABUSIVE, BENIGN, Recorded, Stream
from streams.lab.windows import FEW_KNOWN, FULL_ENOUGH, SPAN_US, Sharers, windows

SECOND_US = 1_000_000


class Clock:
    def now_us(self) -> int:
        raise AssertionError("a replay goes by the recorded time alone")


def upload(account: str, at_us: int, label: int = 0, number: int = 0, device: str | None = None) -> Recorded:
    request = CheckRequest(f"u-{account}-{at_us}-{number}", Account(account), Media("image"), device=device)
    return Recorded(at_us, request, label)


class Worker:
    """Scores every event it is sent by `risk_of`, at once or, where `late`, not at all."""

    def __init__(self, store: MemoryAccountStore, risk_of: Callable[[Attempted], float], late: bool = False) -> None:
        self.events: list[Attempted] = []
        self._store = store
        self._risk_of = risk_of
        self._late = late

    async def publish(self, events: Sequence[Attempted]) -> list[tuple[int, int]]:
        places = []
        for event in events:
            offset = len(self.events)
            self.events.append(event)
            places.append((0, offset))
            risk = self._risk_of(event)
            at_us = round(event.at.timestamp() * 1e6)
            stamp = Stamp("epoch", offset)
            if not self._late:
                score = Score(event.account.id, risk, 0.0, risk, (), at_us, at_us, stamp, "card")
                await self._store.put_scores([*map(with_bytes, [score])])
        return places


async def run(
    uploads: list[Recorded], risk_of: Callable[[Attempted], float], late: bool = False
) -> tuple[Outcome, Worker]:
    store = MemoryAccountStore(Clock())
    worker = Worker(store, risk_of, late)
    judge = Judge(load_policy(None), store, b"salt")
    return await replay(Stream(tuple(uploads), False), judge, store, worker.publish), worker


def test_a_window_ends_before_it_would_hold_too_many_of_one_account() -> None:
    uploads = [upload("a", i) for i in range(7)]

    assert [len(window) for window in windows(uploads, Sharers(), repeats=3)] == [3, 3, 1]


def test_a_window_ends_at_its_size_and_nothing_is_lost_or_moved() -> None:
    uploads = [upload(f"a-{i}", i) for i in range(25)]

    cut = list(windows(uploads, Sharers(), size=10))

    assert [len(window) for window in cut] == [10, 10, 5]
    assert [each for window in cut for each in window] == uploads


def test_a_full_window_ends_before_it_would_hold_too_many_of_one_device() -> None:
    uploads = [upload(f"a-{i}", i, device="d") for i in range(FEW_KNOWN + 2 * FULL_ENOUGH)]

    assert [len(window) for window in windows(uploads, Sharers())][FEW_KNOWN:] == [FULL_ENOUGH, FULL_ENOUGH]


def test_a_window_ends_before_it_would_hold_a_second_account_of_a_device_that_few_have_used() -> None:
    farm = [upload(f"a-{i}", 0, device="d") for i in range(FEW_KNOWN)]
    others = [upload(f"b-{i}", 1, device=f"d-{i}") for i in range(20)]

    assert [len(window) for window in windows(farm + others, Sharers())] == [1] * (FEW_KNOWN - 1) + [1 + len(others)]


def test_uploads_of_one_account_from_its_own_device_are_in_one_window() -> None:
    uploads = [upload("a", i, device="d") for i in range(3)] + [upload("b", 3, device="e")]

    assert [len(window) for window in windows(uploads, Sharers())] == [4]


def test_a_paced_window_spans_little_recorded_time() -> None:
    uploads = [upload(f"a-{i}", i * SECOND_US) for i in range(6)]

    assert [len(window) for window in windows(uploads, Sharers(), span_us=SECOND_US)] == [2, 2, 2]


def test_a_window_ends_before_the_counts_of_its_first_uploads_are_gone() -> None:
    uploads = [upload(f"a-{i}", i * 24 * HOUR_US) for i in range(8)]

    assert [len(window) for window in windows(uploads, Sharers())] == [4, 4]


@pytest.mark.parametrize(("kind", "place"), [(DEVICE, {"device": "d"}), (IP, {"ip": "203.0.113.9"})])
def test_a_window_may_hold_hot_facts_from_the_account_on_that_makes_its_place_one(
    kind: int, place: dict[str, str]
) -> None:
    sharers, level = Sharers(), LEVELS[kind]
    uploads = [
        Recorded(n * SPAN_US, CheckRequest(f"u-{n}", Account(f"a-{n}"), Media("image"), **place), 0)  # type: ignore[arg-type]
        for n in range(1, level + 2)
    ]
    elsewhere = [upload("b", (level + 3) * SPAN_US)]

    hot = [sharers.may_be_hot(window) for window in windows(uploads + elsewhere, sharers, span_us=SECOND_US)]

    assert hot == [False] * (level - 1) + [True, True, False]


def test_one_account_stands_for_each_partition() -> None:
    window = [upload(name, 0) for name in ("a", "b", "c", "a")]

    assert last_of_each(window, [(0, 5), (1, 9), (0, 6), (0, 7)]) == {"a": 7, "b": 9}


async def test_everybody_honest_and_unhurried_is_let_in() -> None:
    uploads = [upload(f"a-{i % 5}", i * HOUR_US) for i in range(50)]

    outcome, worker = await run(uploads, lambda event: 0.0)

    found = outcome.as_json()
    assert (found["uploads"], found["allowed"], found["refused"]) == (50, 50, {})
    assert (found["benign_uploads"], found["benign_accounts"], found["accounts"]) == (50, 5, 5)
    assert found["auc"] is None
    assert found["recall_at_1pct_fpr"] is None
    assert {event.decision for event in worker.events} == {"allow"}


async def test_buckets_fill_by_the_recorded_time() -> None:
    fast = [upload("fast", i, number=i) for i in range(100)]
    slow = [upload("slow", (i + 1) * 6 * MINUTE_US) for i in range(100)]

    outcome, worker = await run(fast + slow, lambda event: 0.0)

    refused = [event.account.id for event in worker.events if event.decision == "throttle"]
    assert outcome.as_json()["refused"] == {"throttle": len(refused)}
    assert set(refused) == {"fast"}
    assert len(refused) == 85  # a burst of 15 in a minute for a regular account


async def test_an_account_is_refused_once_its_score_is_known() -> None:
    uploads = [upload("bad", i * HOUR_US, label=1) for i in range(20)] + [upload("good", 21 * HOUR_US)]

    outcome, worker = await run(uploads, lambda event: 0.95 if event.account.id == "bad" else 0.0)

    found = outcome.as_json()
    decisions = [event.decision for event in worker.events if event.account.id == "bad"]
    assert decisions == ["allow"] * 3 + ["deny"] * 17
    assert found["refused"] == {"deny": 17}
    assert (found["benign_uploads"], found["benign_uploads_refused"]) == (1, 0)
    assert (found["abusive_accounts"], found["abusive_accounts_ever_refused"]) == (1, 1)
    assert (found["auc"], found["recall_at_1pct_fpr"]) == (1.0, 1.0)


async def test_an_old_score_does_not_refuse() -> None:
    year_us = 365 * 24 * HOUR_US
    uploads = [upload("bad", i * year_us) for i in range(8)]

    outcome, _ = await run(uploads, lambda event: 0.95)

    assert outcome.as_json()["allowed"] == 8


async def test_a_wrongly_refused_person_is_counted() -> None:
    uploads = [upload("person", i * HOUR_US) for i in range(5)] + [upload("other", 6 * HOUR_US)]

    outcome, _ = await run(uploads, lambda event: 0.95)

    found = outcome.as_json()
    assert (found["benign_uploads_refused"], found["benign_accounts_ever_refused"]) == (2, 1)


async def test_unlabelled_accounts_count_as_uploads_but_not_in_the_figures() -> None:
    uploads = [upload("u", 0, label=-1), upload("b", HOUR_US), upload("x", 2 * HOUR_US, label=1)]

    outcome, _ = await run(uploads, lambda event: {"u": 1.0, "x": 0.9}.get(event.account.id, 0.1))

    found = outcome.as_json()
    assert (found["uploads"], found["accounts"], found["benign_uploads"], found["benign_accounts"]) == (3, 3, 1, 1)
    assert found["auc"] == 1.0


@pytest.mark.parametrize(
    ("label", "why"),
    [
        (-1, "no row has a label"),
        (0, "all labelled accounts are honest"),
        (1, "all labelled accounts are abusive"),
    ],
)
async def test_figures_that_are_not_known_say_which_labels_there_are(label: int, why: str) -> None:
    outcome, _ = await run([upload(account, 0, label) for account in "ab"], lambda event: 0.1)

    assert [line.endswith(f"not known: {why}") for line in outcome_lines(outcome) if "AUC" in line or "recall" in line] == [
        True, True,
    ]  # fmt: skip


async def test_a_worker_that_does_not_score_ends_the_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying, "SCORED_WITHIN_S", 0.05)

    with pytest.raises(StoreUnavailable, match="has not scored 1 of 1 partitions of a window"):
        await run([upload("a", 0)], lambda event: 0.0, late=True)


async def test_a_worker_that_has_ended_ends_the_replay_at_once() -> None:
    store = MemoryAccountStore(Clock())
    worker = Worker(store, lambda event: 0.0, late=True)
    judge = Judge(load_policy(None), store, b"salt")

    def alive() -> None:
        raise StoreUnavailable("the worker of the replay ended (status 1)")

    with pytest.raises(StoreUnavailable, match="status 1"):
        await replay(Stream((upload("a", 0),), False), judge, store, worker.publish, alive=alive)


async def test_a_new_account_on_a_device_that_is_a_hot_fact_is_met_at_its_first_upload() -> None:
    store, heard = MemoryAccountStore(Clock()), []
    judge = Judge(load_policy(None), store, b"salt")
    device = SharedFeature(HotKind.DEVICE, Pseudonyms(b"salt").of_device("rack"), 9, 0, 0.95, expires_day=7)
    uploads = [
        fresh(f"a-{n}", n * MINUTE_US, "rack" if n != 3 else "own", ABUSIVE if n != 3 else BENIGN) for n in range(8)
    ]

    async def hot_facts() -> None:
        heard.append(judge.now_us())
        judge.hear(encode_hot_key(device.kind, device.hash), encode_hot_fact(device))

    worker = Worker(store, lambda event: 0.0)
    stream = Stream(tuple(uploads), False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replaying, "windows", partial(windows, size=1))
        outcome = await replay(stream, judge, store, worker.publish, hot_facts=hot_facts)

    shown = outcome.as_json()
    assert heard == [n * MINUTE_US for n in (0, 1, 2, 4, 5, 6, 7)]
    assert (shown["abusive_accounts_met"], shown["benign_accounts_met"]) == (6, 0)


async def test_the_facts_of_newcomers_are_read_at_first_and_again_before_they_end() -> None:
    store, heard = MemoryAccountStore(Clock()), []
    judge = Judge(load_policy(None), store, b"salt")
    newcomers = encode_hot_key(HotKind.NEWCOMER, newcomer_name(30))
    uploads = [fresh(f"a-{n}", n * DAY_US, f"d-{n}", ABUSIVE) for n in range(10)]

    async def hot_facts() -> None:
        heard.append(judge.now_us() // DAY_US)
        expires = heard[-1] + 7
        judge.hear(newcomers, encode_hot_fact(SharedFeature(HotKind.NEWCOMER, newcomer_name(30), 0, 0, 0.5, expires)))

    worker = Worker(store, lambda event: 0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replaying, "windows", partial(windows, size=1))
        outcome = await replay(Stream(tuple(uploads), False), judge, store, worker.publish, hot_facts=hot_facts)

    assert heard == [0, 4, 8]
    assert outcome.as_json()["abusive_accounts_met"] == 9


async def test_an_account_with_one_upload_counts_as_met_if_its_score_would_meet_the_next_one() -> None:
    uploads = [fresh(f"a-{n}", n * MINUTE_US, f"d-{n}", n % 2) for n in range(8)]

    outcome, _ = await run(uploads, lambda event: 0.9 if event.account.id in ("a-1", "a-3", "a-4") else 0.1)

    shown = outcome.as_json()
    assert (shown["abusive_accounts_met"], shown["benign_accounts_met"]) == (0, 0)
    assert (shown["abusive_accounts_met_or_next"], shown["benign_accounts_met_or_next"]) == (2, 1)


async def test_a_window_is_taken_in_the_order_of_its_times_whatever_the_classes() -> None:
    ranks = []

    class Store(MemoryAccountStore):
        async def take(self, request: TakeRequest) -> TakeResult:
            ranks.append(request.class_limits.rank)
            return await super().take(request)

    policy = load_policy(None)
    judge = Judge(policy, Store(Clock()), b"salt")

    await judge.decide([upload("new", 0), upload("old", 400 * 86_400_000_000)])

    assert len({limits.rank for limits in policy.class_limits}) > 1
    assert ranks == [0, 0]


def fresh(account: str, at_us: int, device: str, label: int) -> Recorded:
    created = datetime.fromtimestamp(at_us / 1e6, UTC)
    request = CheckRequest(f"u-{account}", Account(account, created_at=created), Media("image"), device=device)
    return Recorded(at_us, request, label)
