"""The second channel over a real Kafka: what was written is read by all, garbage hides nothing, and writers keep apart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from gate.app.operate import Operate
from gate.core.pause.board import Board
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, Scope
from gate.errors import StoreUnavailable
from gate.local.free_port import free_port
from gate.ports.boards import LIVE_WITHIN_US, Acknowledgement
from gate.records.control import pause_record
from gate.records.gate import encode_gate
from gate.records.topics import Topics
from gate.serve.clock import SystemClock
from gate.stores.kafka import recreation
from gate.stores.kafka.boards import MOST_GATES, KafkaBoardStore
from gate.stores.kafka.topics import declare
from tests.waiting import eventually
from tests.workers import create_anew, while_busy

DAY_US, HOUR_US = 86_400_000_000, 3_600_000_000
NOW_US = SystemClock().now_us()


def a_pause(id_: str, rev: int = 1, text: str = "") -> Pause:
    return Pause(id_, rev, Scope(), Action.STOP, "raid", text, "ann", None, NOW_US + HOUR_US, set_at_us=NOW_US)


@pytest.fixture
async def topic(kafka_bootstrap: str, unique: Callable[[], str]) -> str:
    topics = Topics(f"{unique()}.")
    await declare(kafka_bootstrap, topics)
    return topics.pauses.name


async def test_a_reader_that_starts_later_reads_all_that_another_wrote(kafka_bootstrap: str, topic: str) -> None:
    async with KafkaBoardStore(kafka_bootstrap, topic) as writer:
        assert await writer.replace(0, Board({"p-1": a_pause("p-1"), "p-2": a_pause("p-2", 2)}))
        await writer.acknowledge(
            Acknowledgement("g-1", "http://g", 2, 0, boot="b", digest="d", recent={"new": (3, 2, 1)})
        )

        async with KafkaBoardStore(kafka_bootstrap, topic) as reader:
            board, gates = await reader.read(), await reader.gates(60_000_000)
            clock_us = await reader.now_us()

    assert sorted(board.pauses) == ["p-1", "p-2"]
    assert [(said.gate, said.digest, said.recent) for said in gates.acknowledgements] == [
        ("g-1", "d", {"new": (3, 2, 1)})
    ]
    assert abs(clock_us - SystemClock().now_us()) < 30_000_000
    assert abs(gates.acknowledgements[0].acknowledged_at_us - gates.now_us) < 30_000_000


async def test_a_user_who_may_only_acknowledge_writes_no_pause(kafka_bootstrap: str, topic: str) -> None:
    """A gate's user may write one topic, and whatever its keys are, they are no pauses."""
    acknowledgements = topic.replace("controls", "acknowledgements")
    said = Acknowledgement("g-1", "http://g", 0, 0, boot="b", digest="d")
    key, value = pause_record(a_pause("p-forged", 9))
    async with (
        producing(kafka_bootstrap) as producer,
        KafkaBoardStore(kafka_bootstrap, topic, acknowledgements=acknowledgements) as store,
    ):
        await producer.send_and_wait(acknowledgements, value=value, key=key, partition=0)
        await store.acknowledge(said)

        async def is_heard() -> bool:
            return bool((await store.gates(60_000_000)).acknowledgements)

        await eventually(is_heard)
        known, unreadable = store.known, store.unreadable

    assert (known, unreadable) == (Board(), 1)
    assert set(await last_records(kafka_bootstrap, topic)) == set()


async def test_the_time_of_pauses_is_that_by_which_gates_judge_them(kafka_bootstrap: str, topic: str) -> None:
    """Redis' host may be an hour ahead of the broker's: a pause of ten minutes would have ended before it begins."""
    async with KafkaBoardStore(kafka_bootstrap, topic) as store:
        await store.acknowledge(Acknowledgement("g-1", "http://g", 0, 0, boot="b", store_us=NOW_US + HOUR_US))

        async def follows() -> bool:
            return abs(await store.now_us() - NOW_US - HOUR_US) < 60_000_000

        await eventually(follows)
        pause = await Operate(store, lambda: "p-1").pause(Scope(), Action.STOP, "raid", "", "ann", 600_000_000)

    assert pause.active(NOW_US + HOUR_US + 1_000_000)


async def test_without_a_topic_of_their_own_acknowledgements_are_among_the_pauses(
    kafka_bootstrap: str, topic: str
) -> None:
    said = Acknowledgement("g-1", "http://g", 0, 0, boot="b", digest="d")
    async with KafkaBoardStore(kafka_bootstrap, topic, acknowledgements="never.created") as store:
        await store.acknowledge(said)

    acknowledgements = topic.replace("controls", "acknowledgements")
    async with KafkaBoardStore(kafka_bootstrap, topic, acknowledgements=acknowledgements) as newer:
        heard = (await newer.gates(60_000_000)).acknowledgements

    assert [one.gate for one in heard] == ["g-1"]


async def test_the_changes_of_two_operators_at_once_are_both_kept_and_a_release_wins(
    kafka_bootstrap: str, topic: str
) -> None:
    async with KafkaBoardStore(kafka_bootstrap, topic) as one, KafkaBoardStore(kafka_bootstrap, topic) as other:
        ids = iter(("p-1", "p-2"))
        acts = [Operate(store, lambda: next(ids)) for store in (one, other)]
        set_ = await asyncio.gather(*(act.pause(Scope(), Action.STOP, "raid", "", "ann", HOUR_US) for act in acts))
        await eventually(lambda: len(one.known.pauses) == len(other.known.pauses) == 2)

        await acts[1].release(set_[0].id, "bob", ramp_us=0)
        await eventually(lambda: one.known.pauses[set_[0].id].released_by == "bob")

    assert [pause.id for pause in one.known.active(NOW_US)] == [set_[1].id]


async def test_garbage_of_every_kind_is_passed_over_and_hides_no_pause(kafka_bootstrap: str, topic: str) -> None:
    newer = b'{"id":"p-new","rev":7,"scope":{"weather":["rain"]},"action":"stop"}'
    garbage: list[tuple[bytes | None, bytes | None]] = [
        (b"", b""), (b"pause:p-1", b"nonsense"), (b"pause:p-1", b"{" * 100_000), (b"pause:p-9", b"x" * 300_000),
        (b"pause:other", b'{"id":"p-1","rev":99}'), (b"gate:g \xff", b"\xff"), (b"\xff" * 2_000, b"1"), (b"clock", b"?"),
        (b"pause:p-new", newer), (b"pause:p-1", b'{"id":"p-1","rev":-1}'), (b"pause:", b"null"),
    ]  # fmt: skip
    producer: Any = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap)
    async with KafkaBoardStore(kafka_bootstrap, topic) as store:
        await store.replace(0, Board({"p-1": a_pause("p-1")}))
        await producer.start()
        for key, value in garbage:
            await producer.send_and_wait(topic, value=value, key=key, partition=0)
        await producer.stop()
        await store.replace((await store.read()).rev, Board({"p-1": a_pause("p-1"), "p-2": a_pause("p-2", 2)}))
        await eventually(lambda: "p-2" in store.known.pauses)

        async with KafkaBoardStore(kafka_bootstrap, topic) as later:
            board, gates = await later.read(), await later.gates(60_000_000)

    assert sorted(pause.id for pause in board.active(NOW_US)) == ["p-1", "p-2"]
    assert [(entry.id, entry.rev) for entry in board.unreadable] == [("p-new", 7)]
    assert gates.acknowledgements == ()
    assert len(gates.unreadable) == 1
    assert later.unreadable >= 7


async def test_an_older_revision_that_arrives_later_changes_nothing(kafka_bootstrap: str, topic: str) -> None:
    released = replace(a_pause("p-1", 3), released_at_us=NOW_US, released_by="bob")
    async with KafkaBoardStore(kafka_bootstrap, topic) as store:
        await store.replace(0, Board({"p-1": released}))
        await eventually(lambda: store.known.pauses.get("p-1") == released)
        await store.replace(3, Board({"p-1": a_pause("p-1", 2), "p-2": a_pause("p-2")}))
        await eventually(lambda: "p-2" in store.known.pauses)

    assert store.known.pauses["p-1"] == released


@pytest.mark.parametrize("last", [pause_record(a_pause("p-1"))[1], b"", b"nonsense"])
async def test_a_pause_whose_last_record_is_older_deleted_or_garbage_is_written_again(
    kafka_bootstrap: str, topic: str, last: bytes
) -> None:
    producer: Any = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap)
    await producer.start()
    async with KafkaBoardStore(kafka_bootstrap, topic) as store:
        released = replace(a_pause("p-1", 2), released_at_us=NOW_US, released_by="bob")
        await store.replace(0, Board({"p-1": released}))
        await producer.send_and_wait(topic, value=last or None, key=b"pause:p-1", partition=0)
        await producer.send_and_wait(topic, value=pause_record(a_pause("p-2"))[1], key=b"pause:p-2", partition=0)
        await producer.stop()
        await eventually(lambda: "p-2" in store.known.pauses)

        repaired = await store.repair(store.known)
        await eventually(lambda: not store.outdated)
        again = await store.repair(store.known)

    assert (repaired, again) == (True, False)
    assert await last_records(kafka_bootstrap, topic) == {
        b"pause:p-1": pause_record(released)[1],
        b"pause:p-2": pause_record(a_pause("p-2"))[1],
    }


async def test_a_topic_that_is_created_anew_gets_the_pauses_again(kafka_bootstrap: str, topic: str) -> None:
    topics = Topics(topic.removesuffix("gate.controls.v1"))
    kept = Board({id_: a_pause(id_) for id_ in ("p-1", "p-2", "p-3")})
    async with KafkaBoardStore(kafka_bootstrap, topic) as store:
        await store.replace(0, kept)
        await eventually(lambda: store.known.pauses == kept.pauses)
        await create_anew(kafka_bootstrap, topics, topics.pauses)
        await eventually(lambda: len(store.outdated) == len(kept.pauses), 30.0)
        await store.repair(store.known)

    async with KafkaBoardStore(kafka_bootstrap, topic) as newcomer:
        assert (await newcomer.read()).pauses == kept.pauses


async def test_a_gate_reads_all_of_a_topic_that_was_created_anew_and_has_grown_past_its_place(
    kafka_bootstrap: str, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client alone continues at its place: the pauses before it would be unknown, and those of before not written again."""
    monkeypatch.setattr(recreation, "LOOK_EVERY_S", 0.1)
    topics = Topics(topic.removesuffix("gate.controls.v1"))

    async def anew() -> None:
        await create_anew(kafka_bootstrap, topics, topics.pauses)
        async with producing(kafka_bootstrap) as producer:
            for number in range(2, 6):
                key, value = pause_record(a_pause(f"p-{number}", number))
                await producer.send_and_wait(topic, value=value, key=key, partition=0)

    async with KafkaBoardStore(kafka_bootstrap, topic) as store:
        await store.replace(0, Board({"p-1": a_pause("p-1")}))
        await eventually(lambda: "p-1" in store.known.pauses)
        while_busy(anew())
        await eventually(lambda: len(store.known.pauses) == 5 and store.outdated == {b"pause:p-1"}, 30.0)
        was_repaired = await store.repair(store.known)

    assert was_repaired


async def test_pauses_that_expired_long_ago_are_forgotten_by_readers_and_deleted_from_the_topic(
    kafka_bootstrap: str, topic: str
) -> None:
    old = replace(a_pause("p-old"), set_at_us=NOW_US - 9 * DAY_US, expires_at_us=NOW_US - 8 * DAY_US)
    lately = replace(old, id="p-lately", expires_at_us=NOW_US - DAY_US, released_at_us=NOW_US - 2 * DAY_US)
    async with producing(kafka_bootstrap) as producer, KafkaBoardStore(kafka_bootstrap, topic) as store:
        for pause in (old, lately, a_pause("p-now", 2)):
            key, value = pause_record(pause)
            await producer.send_and_wait(topic, value=value, key=key, partition=0)
        await eventually(lambda: "p-now" in store.known.pauses)
        known = set(store.known.pauses)

        await store.repair(store.known)
        await store.replace(2, Board({"p-old": old, **store.known.pauses, "p-next": a_pause("p-next", 3)}))

    assert known == {"p-lately", "p-now"}
    last = await last_records(kafka_bootstrap, topic)
    assert {key for key, value in last.items() if value is not None} == {
        b"pause:p-lately",
        b"pause:p-now",
        b"pause:p-next",
    }
    assert last[b"pause:p-old"] is None


@asynccontextmanager
async def producing(bootstrap: str) -> AsyncIterator[Any]:
    producer: Any = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def last_records(bootstrap: str, topic: str) -> dict[bytes, bytes | None]:
    """What compaction would leave of the topic."""
    at = TopicPartition(topic, 0)
    consumer: Any = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        consumer.assign([at])
        await consumer.seek_to_beginning(at)
        end, found = (await consumer.end_offsets([at]))[at], {}
        while await consumer.position(at) < end:
            for record in (await consumer.getmany(at, timeout_ms=500)).get(at, ()):
                found[record.key] = record.value
    finally:
        await consumer.stop()
    return found


async def test_where_there_is_no_kafka_or_no_topic_each_call_ends_within_its_deadline(kafka_bootstrap: str) -> None:
    for bootstrap, topic in ((f"127.0.0.1:{free_port()}", "t"), (kafka_bootstrap, "never.created")):
        async with KafkaBoardStore(bootstrap, topic, deadline_s=0.5) as store:
            for call in (
                store.read(),
                store.replace(0, Board()),
                store.gates(1),
                store.acknowledge(Acknowledgement("g", "u", 0, 0)),
            ):
                with pytest.raises(StoreUnavailable):
                    await call


def test_acknowledgements_of_processes_that_ended_long_ago_make_room_for_those_that_run() -> None:
    store = KafkaBoardStore("127.0.0.1:1", "controls")

    for number in range(MOST_GATES + 1):
        store._hear_gate(f"g boot-{number}", b"{}" * 100_000 if number == 7 else b"{}", number)

    assert f"g boot-{MOST_GATES}" in store._gates
    assert "g boot-0" not in store._gates
    assert len(store._gates) <= MOST_GATES


async def test_a_gate_that_was_killed_while_the_brokers_clock_was_ahead_expires_as_any_other() -> None:
    """It would otherwise count until the clock is there again, and every change by this channel fail."""
    store, day_us = KafkaBoardStore("127.0.0.1:1", "controls"), 24 * HOUR_US
    store._end = {}

    def said(gate: str, offset: int, at_us: int) -> Any:
        value = encode_gate(Acknowledgement(gate, "http://g", 0, 0, boot="b"))
        return SimpleNamespace(
            key=f"gate:{gate} b".encode(), value=value, offset=offset, timestamp=at_us // 1_000, topic="controls"
        )

    await store._heard([said("killed", 0, NOW_US + day_us), said("here", 1, NOW_US + day_us)])
    await store._heard([said("here", 2, NOW_US)])
    gates = await store.gates(60_000_000)

    assert [one.gate for one in gates.live(LIVE_WITHIN_US)] == ["here"]
    assert all(one.acknowledged_at_us <= gates.now_us for one in gates.acknowledgements)
    assert len(gates.acknowledgements) == 2


@pytest.mark.parametrize("was_there_before", [False, True])
async def test_no_pause_is_forgotten_by_the_clock_of_a_broker_that_was_ahead_for_a_while(
    was_there_before: bool,
) -> None:
    store, ahead_us = KafkaBoardStore("127.0.0.1:1", "controls"), 10 * DAY_US

    def said(offset: int, at_us: int) -> Any:
        value = encode_gate(Acknowledgement("g", "http://g", 0, 0, store_us=NOW_US))
        return SimpleNamespace(key=b"gate:g", value=value, offset=offset, timestamp=at_us // 1_000, topic="controls")

    if not was_there_before:
        store._end = {}
    pause = SimpleNamespace(
        key=b"pause:p-1", value=pause_record(a_pause("p-1"))[1], offset=0, timestamp=NOW_US // 1_000, topic="controls"
    )
    await store._heard([pause])
    await store._heard([said(1, NOW_US + ahead_us)])
    await store._heard([said(2, NOW_US + 1_000_000)])
    store._forget_at_s = 0.0
    await store._heard([])

    assert set(store.known.pauses) == {"p-1"}
    assert [one.gate for one in (await store._heard_within(3_000_000)).acknowledgements] == ["g"]


async def test_no_pause_is_forgotten_by_the_clock_of_a_broker_that_gates_do_not_judge_by() -> None:
    store = KafkaBoardStore("127.0.0.1:1", "controls")
    behind_us = NOW_US - 10 * DAY_US
    pause = replace(a_pause("p-1"), set_at_us=behind_us, expires_at_us=behind_us + HOUR_US)
    said = encode_gate(Acknowledgement("g", "http://g", 0, 0, store_us=behind_us))

    def record(key: bytes, value: bytes, offset: int) -> Any:
        return SimpleNamespace(key=key, value=value, offset=offset, timestamp=NOW_US // 1_000, topic="controls")

    await store._heard(
        [record(b"gate:g", said, 0), record(*pause_record(pause), 1), record(*pause_record(a_pause("p-2", 2)), 2)]
    )
    with_gates = set(store.known.pauses)
    await store._heard([record(b"gate:g", b"", 3), record(*pause_record(a_pause("p-3", 3)), 4)])

    assert (with_gates, set(store.known.pauses)) == ({"p-1", "p-2"}, {"p-2", "p-3"})
