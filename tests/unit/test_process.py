"""A batch becomes effects: everything accounted for, every touched account scored, nothing that was given changed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from gate.core.score import Score, Stamp
from streams.core.crowd import Crowd
from streams.core.facts import pack, unpack
from streams.core.features import FeatureColumns, last_evidence_us, vector_of
from streams.core.scorecard import Scorecard
from streams.files.public_suffixes import load_web_links
from streams.files.scorecards import load_scorecard
from streams.pipeline.effects import DroppedFields, Effects, EventCounts
from streams.pipeline.hashes import Hashes, Remembered
from streams.pipeline.step import MAX_KEPT_BYTES, Record, process, surroundings

GOLDEN: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "golden" / "events.v1.json").read_text())
AT_MS = 1_795_428_000_500
SHIPPED = load_scorecard(None)
WEB = load_web_links()


def record(offset: int, account: str = "a-17", name: str = "attempted", **given: Any) -> Record:
    value = json.dumps({**GOLDEN[name], "id": f"e-{offset}", "account": {"id": account}, **given}).encode()
    return Record(offset, account.encode(), value, (), AT_MS)


def broken(offset: int, value: bytes | None = b"{") -> Record:
    return Record(offset, b"a-17", value, (), AT_MS)


def run(*batch: Record, states: dict[str, bytes] | None = None, crowd: Crowd | None = None) -> Effects:
    return process(batch, states or {}, crowd or Crowd(), SHIPPED, Hashes(b"salt"), WEB, ("events", 3), "epoch", 7)


def test_events_are_counted_by_type_and_the_next_batch_starts_behind_the_last() -> None:
    kinds = ("attempted", "completed", "removed", "reported")

    effects = run(*(record(10 + n, name=name) for n, name in enumerate(kinds)), broken(40))

    assert effects.events == dict.fromkeys(kinds, 1)
    assert len(effects.dead) == 1
    assert effects.next_offset == 41


def test_every_touched_account_gets_one_score_also_without_evidence_and_for_a_refused_attempt() -> None:
    effects = run(record(0, "a"), record(1, "b", decision="deny"), record(2, "a"), record(3, "c", "reported"))

    assert sorted(score.account for score, _ in effects.scores) == ["a", "b", "c"]
    assert effects.states.keys() == {"a", "b", "c"}
    assert all(0.0 <= score.risk < 0.2 for score, _ in effects.scores)


def test_a_score_is_stamped_with_the_offset_folded_last() -> None:
    effects = run(record(4, "a"), record(5, "b"), record(9, "a"), broken(10))

    assert {score.account: score.stamp for score, _ in effects.scores} == {
        "a": Stamp("epoch", 9),
        "b": Stamp("epoch", 5),
    }
    assert {score.scored_at_us for score, _ in effects.scores} == {7}


def test_the_states_given_are_read_and_left_alone() -> None:
    first = run(record(0))
    given = dict(first.states)

    second = run(record(1), states=given)

    assert given == first.states
    assert unpack(second.states["a-17"]).uploads == 2


def test_a_repeated_batch_gives_the_same_effects() -> None:
    crowd, batch = Crowd(), [record(n, f"a-{n % 9}") for n in range(30)]

    first = run(*batch, crowd=crowd)
    again = run(*batch, crowd=crowd)

    assert again.states == first.states
    assert again.dead == first.dead
    assert first.crowd
    assert again.crowd == []


def test_accounts_that_share_an_address_become_a_crowd_and_refused_ones_do_not() -> None:
    seen, refused = Crowd(), Crowd()

    told = run(*(record(n, f"a-{n}") for n in range(20)), crowd=seen).crowd
    silent = run(*(record(n, f"a-{n}", decision="deny") for n in range(20)), crowd=refused).crowd

    assert max(count.count for count in told) == 20
    assert silent == []


@pytest.mark.parametrize("before", ["completed", "reported"])
def test_a_worker_that_begins_anew_learns_its_crowd_from_uploads_wherever_in_a_batch(before: str) -> None:
    names = [f"a-{n}" for n in range(20)]
    states = run(*(record(n, name) for n, name in enumerate(names))).states
    kinds = [before] * 20 + ["attempted"] * 20
    batch = [record(100 + n, name, kind) for n, (name, kind) in enumerate(zip(names * 2, kinds, strict=True))]

    told = run(*batch, states=states, crowd=Crowd()).crowd

    assert max(count.count for count in told) == 20


def test_a_batch_of_nothing_readable_is_all_dead_letters() -> None:
    effects = run(*(broken(n, value) for n, value in enumerate([None, b"", b"{", b"null"])))

    assert [(letter.offset, letter.reason) for letter in effects.dead] == [
        (0, "value.empty"), (1, "value.empty"), (2, "json.malformed"), (3, "field.invalid"),
    ]  # fmt: skip
    assert effects.states == {}
    assert effects.scores == []
    assert effects.next_offset == 4


def test_a_dead_letter_keeps_only_so_much_of_what_it_was() -> None:
    (letter,) = run(broken(0, b"x" * (MAX_KEPT_BYTES + 1))).dead

    assert letter.reason == "size.exceeded"
    assert len(letter.event) == MAX_KEPT_BYTES


@pytest.mark.parametrize("salt", [b"", b"s" * 200], ids=["no salt", "a long salt"])
def test_any_salt_will_do(salt: bytes) -> None:
    effects = process([record(0)], {}, Crowd(), SHIPPED, Hashes(salt), WEB, ("events", 3), "epoch", 7)

    assert effects.dead == []


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        ("1969-12-31T23:59:59.999999Z", "clock.absurd"),
        ("1970-01-01T00:00:00+00:01", "clock.absurd"),
        ("0001-01-01T00:00:00+23:59", "clock.absurd"),
        ("9999-12-31T23:59:59.999999-23:59", "clock.future"),
        ("2026-11-23T10:00:00", "field.invalid"),
        ("2016-12-31T23:59:60Z", "field.invalid"),
    ],
)
def test_an_absurd_clock_is_a_dead_letter_that_says_so(at: str, reason: str) -> None:
    effects = run(record(0, at=at), record(1, "b", "completed", at=at))

    assert [letter.reason for letter in effects.dead] == [reason, reason]
    assert effects.states == {}


@pytest.mark.parametrize("at", ["1970-01-01T00:00:00Z", "1969-12-31T23:59:00-05:00"])
def test_the_first_moment_of_1970_is_not_absurd_wherever_its_zone_puts_it(at: str) -> None:
    assert run(record(0, at=at)).dead == []


class Provoked(Hashes):
    """Hashes that raise for one device, as a fault of ours would for what one event holds."""

    def __init__(self, salt: bytes) -> None:
        super().__init__(salt)
        self.devices = Remembered(self.provoked, 9)

    @staticmethod
    def provoked(device: str) -> int:
        if device == "provoking":
            raise RecursionError(device)
        return Hashes(b"salt").devices[device]


def provoked(*batch: Record, states: dict[str, bytes] | None = None) -> Effects:
    return process(batch, states or {}, Crowd(), SHIPPED, Provoked(b"salt"), WEB, ("events", 3), "epoch", 7)


def test_an_event_that_cannot_be_folded_is_a_dead_letter_and_leaves_its_account_as_it_was() -> None:
    good = [record(0, "a"), record(1, "b"), record(3, "a", "completed"), record(4, "b")]

    effects = provoked(*good[:2], record(2, "a", device="provoking"), *good[2:])

    (letter,) = effects.dead
    assert (letter.offset, letter.reason) == (2, "event.unprocessable")
    assert letter.detail.startswith("RecursionError while the event was folded")
    assert "provoking" not in letter.detail
    assert effects.states == run(*good).states
    assert [score for score, _ in effects.scores] == [score for score, _ in run(*good).scores]
    assert effects.events == {"attempted": 3, "completed": 1}


def test_an_account_whose_only_event_cannot_be_folded_is_not_touched() -> None:
    effects = provoked(record(0, "a", device="provoking"), record(1, "b"))

    assert effects.states.keys() == {"b"}
    assert [score.account for score, _ in effects.scores] == ["b"]


def test_an_event_at_the_end_of_all_times_is_a_dead_letter_though_no_broker_clock_refuses_it() -> None:
    late = [record(0, "a"), record(1, "a", at="9999-12-31T23:59:59.999999Z"), record(2, "a", "completed")]
    unknown_clock = [one._replace(timestamp_ms=0) for one in late]

    effects = run(*unknown_clock)

    assert [(letter.offset, letter.reason) for letter in effects.dead] == [(1, "clock.absurd")]
    assert effects.states == run(late[0], late[2]).states
    assert run(record(3, "a"), states=effects.states).dead == []


@pytest.mark.parametrize("accounts", [1, 40])
def test_scores_equal_those_of_the_whole_vector(accounts: int) -> None:
    batch = [record(at, f"a-{at}", text=f"Sale {at}, come by", ip="203.0.113.9") for at in range(accounts)]
    crowd = Crowd()

    effects = process(batch, {}, crowd, SHIPPED, Hashes(b"salt"), WEB, ("events", 3), "epoch", 7)

    for (score, _), (account, state) in zip(effects.scores, effects.states.items(), strict=True):
        facts = unpack(state)
        whole = vector_of(facts, surroundings(crowd, facts))
        assert score == SHIPPED.score(account, whole, last_evidence_us(facts), 7, score.stamp)


class Unscorable(Scorecard):
    """A scorecard that raises from one moment on, as a fault of ours would for what one event brought about."""

    FROM_US = 1_900_000_000_000_000

    def scores(
        self,
        accounts: Sequence[str],
        vectors: Iterable[Sequence[float]] | FeatureColumns,
        at_us: Iterable[int],
        scored_at_us: int,
        stamps: Iterable[Stamp],
        acts: bool = True,
    ) -> Iterator[Score]:
        for score in super().scores(accounts, vectors, at_us, scored_at_us, stamps, acts):
            if score.at_us >= self.FROM_US:
                raise OverflowError(score.account)
            yield score


def test_an_event_after_which_no_score_can_be_written_is_a_dead_letter_and_the_next_batch_goes_on() -> None:
    card = Unscorable(**{one.name: getattr(SHIPPED, one.name) for one in fields(SHIPPED) if one.init})
    late = [record(0, "a"), record(1, "a", at="2031-01-01T00:00:00Z"), record(2, "a", "completed")]
    unknown_clock = [one._replace(timestamp_ms=0) for one in late]

    effects = process(unknown_clock, {}, Crowd(), card, Hashes(b"salt"), WEB, ("events", 3), "epoch", 7)

    assert [(letter.offset, letter.reason) for letter in effects.dead] == [(1, "event.unprocessable")]
    assert effects.states == run(late[0], late[2]).states
    assert run(record(3, "a"), states=effects.states).dead == []


def test_accounts_beside_one_that_cannot_be_scored_keep_their_order_and_are_counted_once() -> None:
    card = Unscorable(**{one.name: getattr(SHIPPED, one.name) for one in fields(SHIPPED) if one.init})
    good = [record(0, "b"), record(1, "a"), record(3, "c", "completed"), record(4, "b", surplus=1), record(5, "b")]
    batch = sorted([*good, record(2, "a", at="2031-01-01T00:00:00Z"), good[0]._replace(offset=6)])
    unknown_clock = [one._replace(timestamp_ms=0) for one in batch]

    effects = process(unknown_clock, {}, Crowd(), card, Hashes(b"salt"), WEB, ("events", 3), "epoch", 7)

    assert [letter.offset for letter in effects.dead] == [2]
    expected = run(*good, good[0]._replace(offset=6))
    assert list(effects.states.items()) == list(expected.states.items())
    assert [score for score, _ in effects.scores] == [score for score, _ in expected.scores]
    assert effects.part(EventCounts) == expected.part(EventCounts)
    assert effects.part(EventCounts) == EventCounts({"attempted": 4, "completed": 1}, 1, duplicates=1)


@pytest.mark.parametrize("field", ["reporters", "hours"])
def test_a_damaged_state_that_gives_no_features_stops_no_other_account(field: str) -> None:
    facts = unpack(run(record(0, "a")).states["a"])
    setattr(facts, field, b"x")

    effects = run(record(1, "a"), record(2, "b"), record(3, "a"), states={"a": pack(facts)})

    assert [(letter.offset, letter.reason) for letter in effects.dead] == [
        (1, "event.unprocessable"),
        (3, "event.unprocessable"),
    ]
    assert effects.states == run(record(2, "b")).states
    assert [score.account for score, _ in effects.scores] == ["b"]


def test_many_events_that_cannot_be_folded_cost_no_more_than_twice_the_rest() -> None:
    folds = 0

    class Counting(Provoked):
        def mark(self, value: str) -> bytes:
            nonlocal folds
            folds += 1
            return super().mark(value)

    batch = [record(n, "a", device="provoking" if n % 2 else "own") for n in range(100)]

    effects = process(batch, {}, Crowd(), SHIPPED, Counting(b"salt"), WEB, ("events", 3), "epoch", 7)

    assert len(effects.dead) == 50
    assert folds <= 200


def test_an_event_that_is_delivered_again_is_counted_and_touches_nothing() -> None:
    first = run(record(0, "a"), record(1, "b"))

    again = run(record(0, "a")._replace(offset=5), states=first.states)

    assert again.part(EventCounts) == EventCounts({}, 0, duplicates=1)
    assert (again.states, again.scores, again.next_offset) == ({}, [], 6)


def test_uploads_that_come_too_late_are_counted() -> None:
    effects = run(record(0, at="2026-11-23T10:00:00Z"), record(1, at="2026-11-23T09:00:00Z"))

    assert effects.part(EventCounts).late == 1


def test_of_several_devices_the_one_that_most_accounts_share_counts() -> None:
    crowd = Crowd()
    tablet = [record(n, f"child-{n}", device="tablet") for n in range(9)]
    batch = [*tablet, record(20, "a", device="tablet"), record(21, "a", device="own")]

    effects = run(*batch, crowd=crowd)

    assert surroundings(crowd, unpack(effects.states["a"])).device_accounts == 10


@pytest.mark.parametrize("ip", ["2001:zz::", "fe80::1%eth0", ":"])
def test_what_is_no_address_costs_an_event_its_address_and_nothing_else(ip: str) -> None:
    effects = run(record(0, ip=ip))

    facts = unpack(effects.states["a-17"])
    assert effects.dead == []
    assert (facts.uploads, facts.malformed, facts.networks) == (1, 1, b"")


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("device", "д" * 200, "value.hashed"),
        ("device", ["d-5"], "type.wrong"),
        ("device", "d\u200b5", "value.invisible"),
        ("text", "cut inside \ud83d", "text.repaired"),
        ("text", "a" * 10_000, "value.cut"),
        ("text", 7, "type.wrong"),
        ("ip", "300.1.1.1", "value.invalid"),
        ("country", "Germany", "value.invalid"),
        ("media", "image", "type.wrong"),
        ("links", ["https://a.test", None], "list.items"),
    ],
)
def test_a_field_that_breaks_its_rule_is_counted_and_costs_nothing_but_itself(
    field: str, value: object, reason: str
) -> None:
    effects = run(record(0, **{field: value}), record(1, **{field: value}))

    facts = unpack(effects.states["a-17"])
    assert effects.dead == []
    assert (facts.uploads, facts.malformed) == (2, 2)
    assert effects.part(DroppedFields) == DroppedFields({(field, reason): 2})


def test_a_word_for_unknown_is_counted_and_is_no_fault() -> None:
    effects = run(record(0, device="unknown", country="ZZ"))

    (made,) = effects.scores
    assert unpack(effects.states["a-17"]).malformed == 0
    assert "fields.malformed_share" not in {reason.signal for reason in made.score.reasons}
    assert effects.part(DroppedFields) == DroppedFields(
        {("device", "value.unknown"): 1, ("country", "value.unknown"): 1}
    )


def test_fields_that_break_their_rule_again_and_again_speak_against_the_account() -> None:
    days = [f"2026-11-{day:02}T09:00:00Z" for day in range(1, 21)]
    wrong = [record(n, at=at, ip="300.1.1.1", device=[n], country="Germany") for n, at in enumerate(days)]
    right = [record(n, at=at) for n, at in enumerate(days)]

    (suspect,), (usual,) = run(*wrong).scores, run(*right).scores

    assert "fields.malformed_share" in {reason.signal for reason in suspect.score.reasons}
    assert usual.score.risk < suspect.score.risk < usual.score.risk + 0.1


def test_a_challenge_whose_outcome_is_dropped_is_one_fault() -> None:
    effects = run(record(0), record(1, name="challenged", outcome="maybe"))

    assert unpack(effects.states["a-17"]).malformed == 1


def test_links_in_captions_count_as_the_links_of_an_upload_do() -> None:
    in_links = run(record(0, text="look", links=["https://claim-bonus77.top/x"]))
    in_caption = run(record(0, text="look at https://claim-bonus77.top/x", links=[]))

    linked, written = (unpack(effects.states["a-17"]) for effects in (in_links, in_caption))
    assert linked.linked == written.linked == 1
    assert linked.suspicion == written.suspicion > 0.5
    assert linked.hosts == written.hosts != b""
