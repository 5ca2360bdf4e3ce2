"""From events to scores: what an account's history and its surroundings make of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from gate.core.score import Score, Stamp
from gate.core.signal import Signal
from gate.errors import PolicyInvalid
from gate.policyfile import load_policy
from streams.core.account import State, unpack
from streams.core.crowd import CEILING, IP, MAX_HEARD, STEPS, Crowd
from streams.core.signals import Surroundings, read
from streams.process import Effects, Record, process
from streams.scorecardfile import load_scorecard, parse_scorecard

NOW_S = 1_795_428_000
SHIPPED = load_scorecard(None)
DENY = min(t.deny for t in load_policy(None).thresholds.values() if t.deny is not None)


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


class Stream:
    """A partition whose state lives here, fed one event at a time."""

    def __init__(self) -> None:
        self.states: dict[str, bytes] = {}
        self.crowd = Crowd()
        self.offset = 0

    def push(self, account: str, at_s: float, created_s: float | None = None, **fields: Any) -> Score:
        who: dict[str, Any] = {"id": account}
        if created_s is not None:
            who["created_at"] = moment(created_s)
        made = {"type": "attempted", "id": f"e-{self.offset}", "at": moment(at_s), "account": who, **fields}
        record = Record(self.offset, account.encode(), json.dumps(made).encode(), (), 0)
        effects = self.run([record])
        return effects.scores[0].score

    def run(self, records: list[Record]) -> Effects:
        effects = process(records, self.states, self.crowd, SHIPPED, b"salt", ("events", 0), "epoch", 1)
        assert effects.dead == []
        self.states.update(effects.states)
        self.offset += len(records)
        return effects

    def state(self, account: str) -> State:
        return unpack(self.states[account])


def test_a_farm_is_refused_on_its_score_alone_within_ten_events_each() -> None:
    stream = Stream()
    scores: dict[str, Score] = {}

    for turn in range(10):
        for bot in range(30):
            scores[f"bot-{bot}"] = stream.push(
                f"bot-{bot}",
                NOW_S + turn * 10 + bot * 0.01,
                created_s=NOW_S - 30,
                ip="203.0.113.9",
                device="d-1",
                media={"kind": "image", "sha256": "same"},
                text="win big https://win-big.example/now",
                links=["https://win-big.example/now"],
            )

    assert min(score.risk for score in scores.values()) >= DENY
    assert scores["bot-0"].reasons[0].value > 0


def human_gaps() -> list[float]:
    return [0, 95, 4_000, 4_300, 90_000, 91_200, 180_000, 260_000, 260_150, 400_000]


@pytest.mark.parametrize("created_s", [None, NOW_S - 400 * 86_400])
def test_an_ordinary_account_stays_low(created_s: float | None) -> None:
    stream = Stream()

    for number, gap in enumerate(human_gaps()):
        score = stream.push(
            "person", NOW_S + gap, created_s, ip="198.51.100.4", device="own", text=f"holiday {number} at the lake",
            media={"kind": "image", "sha256": f"photo-{number}"},
        )  # fmt: skip

    assert score.risk < 0.3


def test_an_honest_new_account_on_a_crowded_campus_stays_below_a_review() -> None:
    stream = Stream()
    for student in range(40):
        stream.push(f"student-{student}", NOW_S - 3_600 + student * 60, ip="192.0.2.1", device=f"d-{student}")

    for number, gap in enumerate([0, 200, 1_700, 9_000]):
        score = stream.push(
            "freshman", NOW_S + gap, NOW_S - 7_200, ip="192.0.2.1", device="own",
            media={"kind": "image", "sha256": f"photo-{number}"},
        )  # fmt: skip

    assert score.risk < 0.5


@pytest.mark.parametrize("signal", list(Signal))
def test_no_signal_alone_condemns(signal: Signal) -> None:
    score = SHIPPED.score("a", [(signal, 1.0)], 0, 0, Stamp("e", 0))

    assert score.risk < DENY


def test_an_account_without_evidence_still_gets_a_score_near_zero() -> None:
    score = SHIPPED.score("a", [], 5, 6, Stamp("e", 9))

    assert score.risk < 0.05
    assert score.reasons == ()
    assert (score.at_us, score.scored_at_us, score.stamp.offset) == (5, 6, 9)


def test_a_refused_attempt_moves_no_signal() -> None:
    stream = Stream()
    stream.push("a", NOW_S, ip="192.0.2.1", text="x", links=["https://x.example"])
    before = stream.state("a")

    for number in range(20):
        stream.push("a", NOW_S + number, ip="192.0.2.9", text="x", links=["https://x.example"], decision="deny")
    after = stream.state("a")

    assert after.refused == 20
    assert read(after, Surroundings(9, 9, 9, 9)) == read(before, Surroundings(9, 9, 9, 9))


def test_a_backlog_read_at_once_is_no_burst_and_a_late_event_does_not_move_time_back() -> None:
    slow, fast = Stream(), Stream()
    for number in range(30):
        slow.push("a", NOW_S + number * 7_200)
        fast.push("a", NOW_S + number * 0.5)

    late = fast.state("a").last_us
    fast.push("a", NOW_S - 86_400)

    assert Signal.TEMPO_BURST not in dict(read(slow.state("a"), Surroundings()))
    assert dict(read(fast.state("a"), Surroundings()))[Signal.TEMPO_BURST] == 1.0
    assert fast.state("a").last_us == late


def test_state_stays_small_and_holds_nothing_a_person_wrote() -> None:
    stream = Stream()

    for number in range(500):
        stream.push(
            "a", NOW_S + number, NOW_S, ip="203.0.113.77", device="phone-serial", text=f"my secret {number}",
            media={"sha256": f"content-{number}"}, links=[f"https://host-{number}.example/{i}" for i in range(20)],
        )  # fmt: skip
    packed = stream.states["a"]

    assert len(packed) < 1_024
    assert not any(word in packed for word in (b"203.0.113", b"phone", b"secret", b"host-", b"content"))


def test_a_digest_tells_the_order_of_events() -> None:
    ahead, back = Stream(), Stream()

    for stream, times in ((ahead, (1, 2)), (back, (2, 1))):
        for at in times:
            stream.push("a", NOW_S + at)

    assert ahead.state("a").digest != back.state("a").digest


def test_a_crowd_counts_distinct_accounts_up_to_its_ceiling_and_repeats_change_nothing() -> None:
    crowd = Crowd()

    for _ in range(2):
        for account in range(CEILING + 20):
            crowd.note(0, IP, 5, account, 1)

    assert crowd.count(IP, 5) == CEILING
    assert crowd.count(IP, 6) == 0


def test_what_other_partitions_counted_is_added_and_an_own_count_is_not_added_twice() -> None:
    crowd = Crowd()
    for account in range(5):
        crowd.note(0, IP, 5, account, 1)
    (published,) = crowd.take_changed(0)

    crowd.hear(0, published.feature, published.count)
    crowd.hear(1, published.feature, 7)
    crowd.hear(2, "no feature", 7)

    assert published.count == 5
    assert crowd.count(IP, 5) == 12
    assert crowd.take_changed(0) == []


def test_counts_below_the_floor_are_kept_to_oneself() -> None:
    crowd = Crowd()
    for account in range(min(STEPS) - 1):
        crowd.note(0, IP, 5, account, 1)

    assert crowd.take_changed(0) == []


def test_a_crowd_forgets_what_nobody_touched_for_two_windows() -> None:
    crowd = Crowd()
    for account in range(9):
        crowd.note(0, IP, 5, account, 0)

    for day in range(5, 20, 5):
        crowd.note(0, IP, 1_000 + day, 1, day * 86_400_000_000)

    assert crowd.count(IP, 5) == 0


def test_what_is_heard_is_bounded() -> None:
    crowd = Crowd()

    for feature in range(MAX_HEARD + 10):
        crowd.hear(0, f"{feature:x}", 9)

    assert crowd.count(0, 0) == 0
    assert crowd.count(0, MAX_HEARD) == 9


GOOD = """version = 1
bias = -4.0
[caps]
tempo = 1
age = 1
sameness = 1
network = 1
crowd = 1
links = 1
text = 1
reports = 1
[bot]
"tempo.burst" = 1
"""


def change(old: str, new: str) -> Callable[[], object]:
    return lambda: parse_scorecard(GOOD.replace(old, new), "card.toml")


@pytest.mark.parametrize(
    ("attempt", "said"),
    [
        (change("[bot]", "[bott]"), "card.toml:12: bott: unknown key; did you mean bot?"),
        (change("tempo.burst", "tempo.brust"), 'card.toml:13: bot.tempo.brust: unknown; did you mean tempo.burst?'),
        (change("burst\" = 1", 'burst" = -1'), "card.toml:13: tempo.burst: must be a number from 0 to 10, not -1.0"),
        (change("network = 1", "network = 4"), "card.toml:7: caps.network: must be below 4"),
        (change("network = 1\n", ""), "card.toml: caps.network: is missing"),
        (change("version = 1", "version = 2"), "card.toml:1: version: must be 1"),
        (change("[caps]", "[caps"), "card.toml: not TOML"),
    ],
)  # fmt: skip
def test_a_wrong_scorecard_is_refused_by_file_line_and_key(attempt: Callable[[], object], said: str) -> None:
    with pytest.raises(PolicyInvalid) as refused:
        attempt()

    assert str(refused.value).replace("-1 ", "-1.0 ").startswith(said) or said.removesuffix(".0") in str(refused.value)
