"""The fault run's own parts: what they take for right and wrong, and what their load holds."""

from __future__ import annotations

from collections import Counter

from gate.core.event import Event
from gate.core.score import Score, Stamp
from streams.core.crowd import DEVICE, KINDS
from streams.core.crowd.record import name
from streams.core.events import Unreadable, decode
from tests.system.chaos_crowd import FORGOTTEN, ExactCrowd, published, wrong_counts
from tests.system.chaos_load import Load, Shares
from tests.system.chaos_verdict import _batches, is_right
from tests.system.chaos_worker import Opening
from tests.system.transaction_requests import END_TXN, STEERING, api_key

NOW_NS = 1_795_428_000_000_000_000
PARTITION = 2
FLOOR = KINDS[DEVICE].floor


def crowd_of(*lives: tuple[int, int]) -> ExactCrowd:
    """A device that so many accounts showed in each life: (life, accounts), the same accounts again and again."""
    crowd = ExactCrowd()
    for life, accounts in lives:
        crowd.life = life
        for account in range(accounts):
            crowd.note(PARTITION, DEVICE, 5, account, NOW_NS // 1_000)
    return crowd


def score(stamp: Stamp, risk: float = 0.1) -> Score:
    return Score("a-1", risk, 0.0, risk, (), NOW_NS // 1_000, NOW_NS // 1_000, stamp, "card")


def told(count: int) -> list[tuple[bytes, bytes]]:
    return [(f"{PARTITION}:{name(DEVICE, 5)}".encode(), b"[2,20780,[%d,0,0,0,0,0,0],[0,0,0,0,0,0,0]]" % count)]


def test_a_count_is_right_between_what_one_process_saw_and_what_is_true() -> None:
    crowd = crowd_of((1, 9), (2, 20))

    wrong = {count for count in range(30) if wrong_counts(PARTITION, crowd, published(told(count)))}

    assert wrong == {*range(20 - FORGOTTEN), *range(21, 30)}


def test_a_count_that_lacks_a_forgotten_account_is_not_wrong_but_is_known_as_low() -> None:
    crowd = crowd_of((1, 20))

    assert wrong_counts(PARTITION, crowd, published(told(19))) == []
    assert wrong_counts(PARTITION, crowd, published(told(19)), forgotten=0) == [((DEVICE, 5), 19, 20, 20)]


def test_nobody_must_have_counted_what_an_unknown_process_saw_or_what_is_below_the_floor() -> None:
    unknown, few = crowd_of((0, 20)), crowd_of((1, FLOOR + FORGOTTEN))

    assert wrong_counts(PARTITION, unknown, {}) == []
    assert wrong_counts(PARTITION, few, {}) == []
    assert wrong_counts(PARTITION, crowd_of((1, FLOOR + 1 + FORGOTTEN)), {}) == [
        ((DEVICE, 5), 0, FLOOR + 1, FLOOR + 1 + FORGOTTEN)
    ]


def test_a_count_of_a_feature_that_nobody_showed_is_wrong() -> None:
    assert wrong_counts(PARTITION, ExactCrowd(), published(told(7))) == [((DEVICE, 5), 7, 0, 0)]


def test_batches_end_where_another_process_went_on_and_are_nobodys_where_several_did() -> None:
    openings = [Opening(0, 1), Opening(4, 2), Opening(6, 1), Opening(6, 2)]

    batches = _batches([0, 1, 2, 3, 5, 6, 7], openings)

    assert batches == [(0, 4, 1), (4, 5, 2), (5, 7, 0)]


def test_a_score_made_again_of_the_same_state_is_right_and_one_of_an_earlier_state_is_not() -> None:
    truth = score(Stamp("e", 20, 1, 4, 100))

    assert is_right(score(Stamp("e", 20, 1, 4, 900)), truth)
    assert is_right(score(Stamp("e", 31, 1, 4, 100)), truth)
    assert not is_right(score(Stamp("e", 19, 1, 4, 900)), truth)
    assert not is_right(score(Stamp("e", 31, 1, 4, 100), risk=0.2), truth)
    assert not is_right(None, truth)


def test_a_load_follows_from_its_seed_and_holds_what_is_asked_for() -> None:
    shares = Shares(late=0.5, hostile=0.2, duplicates=0.2)

    first, again = (Load(3, shares).records(3_000, NOW_NS) for _ in range(2))

    assert first == again
    copies = sum(count - 1 for count in Counter(first).values())
    assert 400 < copies < 800
    readable = [event for event in map(_read, first) if event is not None]
    late = sum(event.at.timestamp() < NOW_NS / 1e9 - 1 for event in readable)
    assert 0.4 < late / len(readable) < 0.6
    assert 60 < len(first) - len(readable) < 700


def _read(record: tuple[bytes | None, bytes]) -> Event | None:
    try:
        return decode(record[1])
    except Unreadable:
        return None


def test_requests_of_brokers_to_each_other_are_none_of_a_client() -> None:
    clients, brokers = b"\x00\x18\x00\x03", b"\x00\x18\x00\x05"

    assert api_key(clients) in STEERING
    assert api_key(brokers) not in STEERING
    assert api_key(b"\x00\x1a\x00\x01") == END_TXN
