"""Hot facts: which ones a gate keeps, to which uploads they apply, how they are written, and the risk of a farm."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import cast

import pytest
from aiokafka.errors import TopicAuthorizationFailedError
from hypothesis import given
from hypothesis import strategies as st

from gate.app.hear_hot_facts import HearHotFacts
from gate.core.duration import DAY_US
from gate.core.hot_facts import HotFactTable, HotKind, SharedFeature
from gate.core.pseudonym import Pseudonyms
from gate.errors import StateUnreadable, StoreUnavailable
from gate.policyfile import load_policy
from gate.records.hot_fact import HotKey, decode_hot_fact, decode_hot_key, encode_hot_fact, encode_hot_key
from gate.records.topics import Topics
from gate.stores.kafka.trouble import kafka_unavailable
from streams.core.crowd import DEVICE, IP, KINDS, Crowd
from streams.core.earned_risk import AGES_S, earned_risk
from streams.files.scorecards import load_scorecard
from streams.pipeline.hashes import Hashes
from streams.worker import hot_facts
from streams.worker.assignment import Partitions
from streams.worker.commit import Where
from streams.worker.hot_facts import HotFactPublisher, HotFactRecords, acting
from streams.worker.newcomer_facts import NewcomerRecords
from streams.worker.outage import Outage
from streams.worker.partition import Around, Partition
from streams.worker.settings import WorkerSettings

TODAY = 20_000
NOW_US = TODAY * DAY_US + 5
NOW = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=NOW_US)


class Clock:
    def now_us(self) -> int:
        return NOW_US


def hash_of(number: int) -> str:
    return f"{number:016x}"


def device(
    number: int = 1, risk: float = 0.8, expires_day: int = TODAY + 7, accounts: int = 30, later: float | None = None
) -> SharedFeature:
    return SharedFeature(HotKind.DEVICE, hash_of(number), accounts, 0, risk, expires_day, later)


def network(number: int = 2, risk: float = 0.4) -> SharedFeature:
    return SharedFeature(HotKind.NETWORK, hash_of(number), 90, 0, risk, TODAY + 7)


def table(*facts: SharedFeature, most: int = 10) -> HotFactTable:
    held = HotFactTable(most)
    for fact in facts:
        held.put(fact, NOW_US)
    return held


def test_the_worse_of_device_and_network_is_met_by_name() -> None:
    held = table(device(), network())

    met = held.met(hash_of(1), hash_of(2), None, NOW_US)
    elsewhere = held.met(hash_of(7), hash_of(2), None, NOW_US)

    assert met is not None
    assert elsewhere is not None
    assert (met.risk, met.name) == (0.8, "device:0000000000000001")
    assert (elsewhere.risk, elsewhere.name) == (0.4, "network:0000000000000002")
    assert held.met(hash_of(7), None, None, NOW_US) is held.met(None, None, None, NOW_US) is None


def test_a_device_is_not_met_as_a_network() -> None:
    assert table(device(1)).met(None, hash_of(1), None, NOW_US) is None


@pytest.mark.parametrize(
    ("age", "is_for_scored"),
    [(timedelta(0), True), (timedelta(days=7), True), (timedelta(days=7, seconds=1), None)],
)
def test_a_young_account_is_met_also_with_a_score_and_an_old_one_is_not_met(
    age: timedelta, is_for_scored: bool | None
) -> None:
    met = table(device()).met(hash_of(1), None, NOW - age, NOW_US)

    assert (met and met.is_for_scored) == is_for_scored


@pytest.mark.parametrize(
    ("age", "risk", "name"),
    [
        (timedelta(days=1), 0.8, "device:0000000000000001"),
        (timedelta(days=1, microseconds=1), 0.4, "network:0000000000000002"),
        (None, 0.8, "device:0000000000000001"),
    ],
)
def test_an_account_older_than_a_day_is_met_by_the_risk_of_such_an_account(
    age: timedelta | None, risk: float, name: str
) -> None:
    held = table(device(later=0.3), network())

    met = held.met(hash_of(1), hash_of(2), None if age is None else NOW - age, NOW_US)

    assert met is not None
    assert (met.risk, met.name) == (risk, name)


def test_an_account_of_unknown_age_is_met_while_it_has_no_score() -> None:
    met = table(device()).met(hash_of(1), None, None, NOW_US)

    assert met is not None
    assert not met.is_for_scored


def test_a_fact_ends_with_its_day_and_leaves_no_memory() -> None:
    held = table(device(expires_day=TODAY + 1))

    late = held.met(hash_of(1), None, None, NOW_US + DAY_US)
    held.put(device(2), NOW_US + DAY_US)

    assert late is None
    assert len(held) == 1


@pytest.mark.parametrize("expires_day", [TODAY, TODAY - 1, TODAY + 9])
def test_a_fact_that_is_over_or_lasts_too_long_is_none_and_ends_the_one_before(expires_day: int) -> None:
    held = table(device())

    held.put(device(expires_day=expires_day), NOW_US)

    assert len(held) == 0


def test_a_full_table_keeps_the_highest_risks() -> None:
    held = table(*(device(n, risk=n / 100) for n in range(1, 31)), most=10)

    assert len(held) == 10
    assert [held.met(hash_of(n), None, None, NOW_US) is not None for n in (20, 21, 30)] == [False, True, True]


puts = st.builds(
    SharedFeature, st.sampled_from([HotKind.DEVICE, HotKind.NETWORK]), st.integers(0, 12).map(hash_of),
    st.integers(1, 3), st.just(0),
    st.sampled_from([0.2, 0.5, 0.8]), st.sampled_from([TODAY, TODAY + 1, TODAY + 7]),
)  # fmt: skip


def worth(fact: SharedFeature) -> tuple[float, int, str, str]:
    return fact.risk, fact.accounts, fact.hash, fact.kind.value


@given(st.lists(puts, max_size=60), st.integers(1, 6))
def test_a_full_table_drops_exactly_the_fact_of_the_lowest_worth(given_facts: list[SharedFeature], most: int) -> None:
    held, expected = HotFactTable(most), dict[tuple[HotKind, str], SharedFeature]()
    for fact in given_facts:
        held.put(fact, NOW_US)
        key = fact.kind, fact.hash
        if fact.expires_day == TODAY:
            expected.pop(key, None)
            continue
        if key not in expected and len(expected) == most:
            lowest = min(expected.values(), key=worth)
            if worth(lowest) >= worth(fact):
                continue
            del expected[lowest.kind, lowest.hash]
        expected[key] = fact

        assert {(each.kind, each.hash): each for each in (*held.devices.values(), *held.networks.values())} == expected


def puts_within(cpu_s: float, most: int) -> int:
    """How many further facts a full table takes in so much CPU time."""
    held = table(*(device(n, risk=0.5) for n in range(most)), most=most)
    held.put(device(most, risk=0.6), NOW_US)
    puts, began = 0, time.thread_time()
    while time.thread_time() - began < cpu_s:
        puts += 1
        held.put(device(most + puts, risk=0.6), NOW_US)
    return puts


def test_a_further_fact_costs_a_large_table_no_more_than_a_small_one() -> None:
    assert 10 * puts_within(0.1, 20_000) > puts_within(0.1, 100)


def test_a_fact_reads_back_as_it_was_written() -> None:
    key = decode_hot_key(encode_hot_key(HotKind.DEVICE, hash_of(1)))

    assert key == HotKey(HotKind.DEVICE, hash_of(1))
    assert decode_hot_fact(key, encode_hot_fact(device())) == device()
    assert decode_hot_fact(key, encode_hot_fact(device(later=0.25))) == device(later=0.25)
    assert encode_hot_fact(device()) == (
        b'{"accounts":30,"established":0,"risk":0.8,"expires":"2024-10-11","version":1}'
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, b"{}"),
        (b"device", b"{}"),
        (b"content:0000000000000001", encode_hot_fact(device())),
        (b"device:00000000000000XY", encode_hot_fact(device())),
        (b"device:0000000000000001", b"{"),
        (b"device:0000000000000001", encode_hot_fact(device(risk=1.5))),
        (b"device:0000000000000001", encode_hot_fact(device(later=1.5))),
        (b"device:0000000000000001", encode_hot_fact(device(later=-0.1))),
        (b"device:0000000000000001", b" " * 5_000 + encode_hot_fact(device())),
        (b"device:0000000000000001", b'{"accounts":1,"established":2,"risk":0.5,"expires":"2024-10-11"}'),
        (b"device:\xff000000000000001", b"{}"),
    ],
)
def test_what_is_no_hot_fact_is_counted_and_passed_over(key: bytes | None, value: bytes) -> None:
    held = table(device())
    heard = HearHotFacts(held, Clock())

    heard.hear(key, value)

    assert heard.unreadable == 1
    assert len(held) == 1
    with pytest.raises(StateUnreadable):
        decode_hot_fact(decode_hot_key(key), value)


@pytest.mark.parametrize("nothing", [None, b""])
def test_a_tombstone_ends_a_fact(nothing: bytes | None) -> None:
    held = table(device())

    HearHotFacts(held, Clock()).hear(encode_hot_key(HotKind.DEVICE, hash_of(1)), nothing)

    assert len(held) == 0


def test_a_farm_earns_a_challenge_a_school_and_a_family_do_not() -> None:
    new = load_policy(None).thresholds["new"]
    card = load_scorecard(None)

    farm = earned_risk(card, DEVICE, 30, 0)
    farm_with_bought_accounts = earned_risk(card, DEVICE, 30, 10)
    school = earned_risk(card, DEVICE, 30, 30)
    school_with_newcomers = earned_risk(card, DEVICE, 40, 30)
    family = earned_risk(card, DEVICE, 5, 0)
    carrier = earned_risk(card, IP, 256, 0)

    assert new.verdict_at(farm) == new.verdict_at(farm_with_bought_accounts) == "challenge"
    assert [new.verdict_at(risk) for risk in (school, school_with_newcomers, family)] == [None] * 3
    assert new.verdict_at(carrier) in (None, "review")


def test_no_number_of_accounts_denies_by_itself() -> None:
    deny = load_policy(None).thresholds["new"].deny

    assert deny is not None
    assert earned_risk(load_scorecard(None), DEVICE, 1_000_000, 0) < deny


HASHES, NAMES = Hashes(b"salt"), Pseudonyms(b"salt")
BEGAN_US = 20_000 * DAY_US


def crowded(device: str, accounts: int, *, established: bool = False, crowd: Crowd | None = None) -> Crowd:
    crowd = Crowd() if crowd is None else crowd
    for account in range(accounts):
        crowd.note(account % 4, DEVICE, HASHES.devices[device], account, BEGAN_US, established)
    return crowd


def test_a_farms_device_is_told_by_the_name_that_the_gate_gives_it() -> None:
    records = HotFactRecords(crowded("farm", 30), load_scorecard(None), 4)
    held = HotFactTable()

    for key, value in records.changes(range(4)):
        HearHotFacts(held, Clock()).hear(key, value)

    met = held.met(NAMES.of_device("farm"), None, None, NOW_US)
    assert met is not None
    assert met.risk > 0.7
    assert len(held) == 1


def test_a_schools_tablet_is_taken_back_at_the_start_and_not_told() -> None:
    records = HotFactRecords(crowded("tablet", 30, established=True), load_scorecard(None), 4)

    assert [value for _, value in records.changes(range(4))] == [None]
    assert records.changes(range(4)) == []


def cool_by_age(crowd: Crowd) -> None:
    """Nobody shows any device for so long that no account counts."""
    for day in range(1, KINDS[DEVICE].days + 1):
        crowd.note(0, DEVICE, 77, 1, BEGAN_US + day * DAY_US)


def cool_by_standing(crowd: Crowd) -> None:
    """All accounts on the device are established now."""
    crowded("farm", 30, established=True, crowd=crowd)


cooling = pytest.mark.parametrize("cool", [cool_by_age, cool_by_standing])


@cooling
def test_what_stops_being_hot_when_all_is_told_again_is_taken_back_once(cool: Callable[[Crowd], None]) -> None:
    crowd = crowded("farm", 30)
    records = HotFactRecords(crowd, load_scorecard(None), 4)
    ((key, told),) = records.changes(range(4))

    cool(crowd)

    assert told is not None
    assert records.changes(range(4), again=True) == [(key, None)]
    assert records.changes(range(4), again=True) == []


@cooling
def test_what_stops_being_hot_while_nothing_is_told_is_taken_back_afterwards(cool: Callable[[Crowd], None]) -> None:
    crowd = crowded("farm", 30)
    records = HotFactRecords(crowd, load_scorecard(None), 4)
    ((key, told),) = records.changes(range(4))
    records.changes(())

    cool(crowd)

    assert told is not None
    assert records.changes(()) == []
    assert records.changes(range(4)) == [(key, None)]


@cooling
def test_what_stops_being_hot_before_a_worker_gets_its_partition_is_taken_back(cool: Callable[[Crowd], None]) -> None:
    crowd = crowded("farm", 30)
    before, after = (HotFactRecords(crowd, load_scorecard(None), 4) for _ in range(2))
    ((key, told),) = before.changes(range(4))
    after.changes(())

    cool(crowd)

    assert told is not None
    assert after.changes(()) == []
    assert after.changes(range(4)) == [(key, None)]


def test_what_is_hot_again_when_a_worker_gets_its_partition_is_told() -> None:
    crowd = crowded("farm", 30)
    records = HotFactRecords(crowd, load_scorecard(None), 4)
    ((key, _),) = records.changes(range(4))
    records.changes(())
    cool_by_age(crowd)
    records.changes(())

    for account in range(30):
        crowd.note(account % 4, DEVICE, HASHES.devices["farm"], account, BEGAN_US + 40 * DAY_US, False)

    told = dict(records.changes(range(4)))
    assert told[key] is not None


def test_each_feature_is_told_by_one_of_the_workers_and_nothing_is_told_twice() -> None:
    one, other = (HotFactRecords(farms(20), load_scorecard(None), 4) for _ in range(2))

    first, second = one.changes([0, 1]), other.changes([2, 3])

    assert len(first) + len(second) == len({key for key, _ in first + second}) == 20
    assert first
    assert second
    assert one.changes([0, 1]) == []


def test_a_worker_that_gets_a_partition_tells_all_that_is_its_own_now() -> None:
    records = HotFactRecords(farms(20), load_scorecard(None), 4)
    records.changes([0])

    taken_over, nothing, again = records.changes(range(4)), records.changes(range(4)), records.changes(range(4), True)

    assert (len(taken_over), len(nothing), len(again)) == (20, 0, 20)


def test_all_are_told_again_in_calls_of_bounded_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hot_facts, "TOLD_A_TURN", 3)
    records = HotFactRecords(farms(20), load_scorecard(None), 4)

    rounds = []
    for mine, again in (([0, 1], False), (range(4), False), (range(4), True)):
        calls = [records.changes(mine, again)]
        while records.has_more:
            calls.append(records.changes(mine))
        rounds.append(calls)

    assert all(len(calls) == 7 and max(map(len, calls)) <= 3 for calls in rounds)
    some, taken_over, once_more = ([record for call in calls for record in call] for calls in rounds)
    assert len(dict(taken_over)) == len(taken_over) == 20
    assert dict(taken_over) == dict(once_more)
    assert dict(some).items() < dict(taken_over).items()


def test_a_worker_publishes_farms_it_has_heard_of_only_after_its_first_event() -> None:
    before, crowd = farms(20), Crowd()
    for partition in range(4):
        for count in before.take_changed(partition):
            crowd.hear(partition, count.feature, count.record)
    records = HotFactRecords(crowd, load_scorecard(None), 4)
    at_the_start = records.changes(range(4), again=True)

    crowd.note(0, IP, 5, 1, BEGAN_US)
    told = records.changes(range(4))

    assert at_the_start == []
    assert len(told) == 20
    assert all(value is not None for _, value in told)


@pytest.mark.parametrize(("behind", "told"), [(0, {0, 1}), (50_000, {0, 1}), (50_001, set())])
def test_nothing_is_told_while_a_partition_is_far_behind(behind: int, told: set[int]) -> None:
    partitions = [Partition(number, cast(Around, None)) for number in (0, 1)]
    partitions[0].has_opened = partitions[1].has_opened = True
    partitions[1].behind = behind

    assert set(acting(partitions, 50_000)) == told


def test_nothing_is_told_until_it_is_known_how_far_behind_each_partition_is() -> None:
    partitions = [Partition(number, cast(Around, None)) for number in (0, 1)]
    partitions[0].has_opened = True

    assert set(acting(partitions, 50_000)) == set()


class Place:
    """Keeps what is written, unless it is away."""

    def __init__(self) -> None:
        self.tries = 0
        self.is_away = False
        self.error = StoreUnavailable("away")
        self.written: list[bytes] = []
        self.values: dict[bytes, bytes | None] = {}

    async def send(self, records: Sequence[tuple[bytes, bytes | None]]) -> None:
        self.tries += 1
        if self.is_away:
            raise self.error
        self.values.update(records)
        self.written += [key for key, _ in records]


def hurried() -> Callable[[], float]:
    """A clock on which every pause is over when it is read again."""
    now = itertools.count(0.0, hot_facts.TRY_AGAIN_S)
    return lambda: next(now)


async def test_a_place_where_a_write_failed_is_tried_again_only_after_a_pause() -> None:
    kafka, redis = Place(), Place()
    crowd, now = crowded("farm", 30), [0.0]
    records = HotFactRecords(crowd, load_scorecard(None), 4)
    publisher = HotFactPublisher([records], lambda: range(4), 4, [kafka, redis], lambda: None, clock=lambda: now[0])
    kafka.is_away = True

    tries = []
    for second in (0.0, 0.2, 1.9, 2.0, 3.9, 4.0):
        now[0] = second
        crowd.note(0, DEVICE, HASHES.devices["farm"], 1_000 + round(second * 10), BEGAN_US)
        kafka.is_away = second < 4.0
        await publisher.publish()
        tries.append(kafka.tries)

    assert tries == [1, 1, 1, 2, 2, 3]
    assert redis.tries == 6
    assert kafka.values == redis.values


async def test_what_a_server_missed_is_written_when_it_is_back_and_the_other_does_not_wait() -> None:
    kafka, redis = Place(), Place()
    records = HotFactRecords(farms(5), load_scorecard(None), 4)
    publisher = HotFactPublisher([records], lambda: range(4), 4, [kafka, redis], lambda: None, clock=hurried())
    kafka.is_away = True
    await publisher.publish()
    kafka.is_away = False

    await publisher.publish()
    await publisher.publish()

    assert len(kafka.written) == len(redis.written) == 5


async def test_records_that_a_server_missed_of_a_moved_partition_do_not_overwrite_those_of_its_new_owner() -> None:
    crowd, place = crowded("farm", 30), Place()
    makers = [HotFactRecords(crowd, load_scorecard(None), 4), NewcomerRecords(crowd, load_scorecard(None))]
    mine: list[int] = [0, 1, 2, 3]
    publisher = HotFactPublisher(makers, lambda: mine, 4, [place], lambda: None, clock=hurried())
    place.is_away = True
    await publisher.publish()
    mine = []
    place.is_away = False

    await publisher.publish()
    while_it_is_anothers = list(place.written)
    cool_by_age(crowd)
    await publisher.publish()
    mine = [0, 1, 2, 3]
    await publisher.publish()

    farm = encode_hot_key(HotKind.DEVICE, NAMES.of_device("farm"))
    assert while_it_is_anothers == []
    assert place.values[farm] is None
    assert len(place.written) == 1 + len(AGES_S)


async def test_a_worker_tells_of_devices_and_of_newcomers(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = Place()
    monkeypatch.setattr(hot_facts, "HotFactProducer", lambda *_: kafka)
    where, settings = Where("127.0.0.1:1", Topics(), "group"), WorkerSettings("127.0.0.1:1")
    owned = Partition(0, cast(Around, None))
    owned.has_opened = True
    mine = cast(Partitions, SimpleNamespace(mine=[owned]))
    outage = Outage("Kafka", lambda up: None)
    publisher = hot_facts.hot_fact_publisher(settings, where, farms(40), load_scorecard(None), mine, outage)

    await publisher.publish()

    kinds = Counter(decode_hot_key(key).kind for key in kafka.written)
    assert kinds[HotKind.NEWCOMER] == len(AGES_S)
    assert 0 < kinds[HotKind.DEVICE] < 40


async def test_a_refusal_of_kafka_is_told_and_that_it_is_away_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka, told = Place(), list[bool]()
    monkeypatch.setattr(hot_facts, "HotFactProducer", lambda *_: kafka)
    where, settings = Where("127.0.0.1:1", Topics(), "group"), WorkerSettings("127.0.0.1:1")
    mine = cast(Partitions, SimpleNamespace(mine=[]))
    outage = Outage("Kafka", told.append)
    publisher = hot_facts.hot_fact_publisher(settings, where, farms(40), load_scorecard(None), mine, outage)
    monkeypatch.setattr(publisher, "_mine", lambda: range(4))
    monkeypatch.setattr(publisher, "_clock", hurried())

    kafka.is_away = True
    await publisher.publish()
    assert told == [True]
    kafka.error = kafka_unavailable("k:1", "keeps no hot facts", TopicAuthorizationFailedError("crowd.hot.v1"))
    kafka.error.__cause__ = TopicAuthorizationFailedError("crowd.hot.v1")
    await publisher.publish()

    assert told == [True, False]


def farms(count: int) -> Crowd:
    crowd = Crowd()
    for number in range(count):
        crowded(f"farm-{number}", 12, crowd=crowd)
    return crowd


def test_a_device_that_everybody_left_is_taken_back() -> None:
    crowd = crowded("farm", 30)
    records = HotFactRecords(crowd, load_scorecard(None), 4)
    ((key, told),) = records.changes(range(4))

    for day in range(1, KINDS[DEVICE].days + 1):
        crowd.note(0, DEVICE, 77, 1, BEGAN_US + day * DAY_US)

    assert told is not None
    assert records.changes(range(4)) == [(key, None)]
