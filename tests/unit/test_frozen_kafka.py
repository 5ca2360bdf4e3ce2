"""A broker that accepts connections and answers nothing, as one that was stopped by a signal: what everybody says of it."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import struct
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from gate.cli import main as cli
from gate.cli.addresses import resolve_addresses
from gate.cli.board_access import not_written
from gate.core.account import Account
from gate.core.event import Completed
from gate.errors import StoreUnavailable
from gate.local.live import History, draw, line
from gate.local.sample import MetricsPages, Snapshot, take_snapshot
from gate.records.topics import Topics
from gate.stores.kafka import boards, topics
from gate.stores.kafka.boards import KafkaBoardStore
from streams.lab.rows import at
from streams.traffic import send_events
from streams.worker import intake as reading
from streams.worker.assignment import Partitions
from streams.worker.commit import Where
from streams.worker.intake import Intake
from streams.worker.metrics import WorkerMetrics
from streams.worker.one_cluster import OneCluster
from streams.worker.outage import Outage
from tests.pages import page
from tests.waiting import eventually

NO_ANSWER = "gave no answer within 0.2 s"


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The address of a port at which the kernel accepts and nobody answers; nobody waits long for it."""
    impatient = partial(topics.require_answer, within_s=0.2)
    for module in (topics, send_events, reading):
        monkeypatch.setattr(module, "require_answer", impatient)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("UPLOAD_GATE_KAFKA", address)
        monkeypatch.setenv("UPLOAD_GATE_STATE", str(tmp_path))
        monkeypatch.setenv("UPLOAD_GATE_OWNER", "ann")
        yield address


@pytest.mark.parametrize(
    "typed",
    [
        ("campaigns", "list"), ("campaigns", "show", "content-05d1f3a29c04b718"), ("dlq", "list"), ("dlq", "show", "0:7"),
        ("dlq", "replay", "--yes"), ("dlq", "resume"), ("rescore", "--yes"), ("audit", "send"), ("replay", "ROWS", "--redis", "redis://127.0.0.1:9/0"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_command_that_needs_kafka_ends_and_names_the_server_and_what_to_look_at(
    typed: tuple[str, ...], frozen: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"set":"x","account_id":"a-1","t":1750000000,"seq":1,"label":0}\n')

    ended = cli.run([str(rows) if each == "ROWS" else each for each in typed])

    err = " ".join(capsys.readouterr().err.split())
    assert ended == 1
    assert f"error: Kafka at {frozen} {NO_ANSWER}. Its process may be stopped or overloaded" in err
    assert err.count("error:") == 1


def test_an_audit_log_is_verified_all_the_same(frozen: str, capsys: pytest.CaptureFixture[str]) -> None:
    ended = cli.run(["audit", "verify"])

    said = " ".join(capsys.readouterr().err.split())
    assert ended == 0
    assert f"the copies in Kafka were not compared: Kafka at {frozen} {NO_ANSWER}" in said


@pytest.mark.parametrize(
    "typed",
    [
        ("pause", "--class", "new", "--for", "10m", "--reason", "raid", "--yes"), ("release", "p-1", "--yes"),
        ("release", "--all", "--yes"), ("extend", "p-1", "--for", "1h"), ("approve", "p-1", "--yes"),
        ("drill",),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_change_through_kafka_ends_says_that_nothing_was_written_and_names_the_other_way(
    typed: tuple[str, ...], frozen: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(boards, "KafkaBoardStore", partial(KafkaBoardStore, deadline_s=0.3))
    monkeypatch.setenv("UPLOAD_GATE_REDIS", "redis://127.0.0.1:9/0")
    monkeypatch.setenv("UPLOAD_GATE_ADMIN", "http://127.0.0.1:9")

    with page(lambda headers: (200, b'{"decision":"allow","pause":null}')) as gate:
        monkeypatch.setenv("UPLOAD_GATE_GATE", gate)  # a drill asks it first
        ended = cli.run([*typed, "--direct", "kafka"])

    err = " ".join(capsys.readouterr().err.split())
    assert ended == 1
    assert err.count("error:") == 1
    said = err.partition("error:")[2]
    assert f"Kafka at {frozen}" in said
    assert "Nothing was written" in said
    assert "--direct redis" in said
    assert "--direct kafka" not in said


async def test_a_broker_that_freezes_after_its_first_answer_is_left_without_an_open_connection() -> None:
    lost: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (size,) = struct.unpack(">i", await reader.readexactly(4))
        correlation = (await reader.readexactly(size))[4:8]
        versions = correlation + struct.pack(">hi6h", 0, 2, 3, 0, 5, 18, 0, 0)  # of metadata, and of this request
        writer.write(struct.pack(">i", len(versions)) + versions)
        (size,) = struct.unpack(">i", await reader.readexactly(4))
        await reader.readexactly(size)
        lost.append(await reader.read())
        writer.close()

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            with pytest.raises(StoreUnavailable, match=NO_ANSWER):
                await topics.require_answer(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", within_s=0.2)
            await eventually(lambda: bool(lost))
        gc.collect()

    assert lost == [b""]
    assert [str(each.message) for each in warned] == []


async def test_a_command_waits_once_for_a_kafka_that_is_away_and_a_gate_again_each_time(frozen: str) -> None:
    async with KafkaBoardStore(frozen, "t", deadline_s=0.2, gives_up=True) as command:
        with pytest.raises(StoreUnavailable):
            await command.read()
        command._deadline_s = 3600.0
        with pytest.raises(StoreUnavailable):
            await command.gates(1)
        with pytest.raises(StoreUnavailable):
            await command.now_us()

    async with KafkaBoardStore(frozen, "t", deadline_s=0.2) as gate:
        with pytest.raises(StoreUnavailable):
            await gate.read()
        gate._deadline_s = 3600.0
        waits = asyncio.create_task(gate.read())
        await asyncio.wait([waits], timeout=0.3)
        assert not waits.done()
        waits.cancel()
        await asyncio.gather(waits, return_exceptions=True)


async def test_a_change_through_a_kafka_that_never_answered_was_not_written(frozen: str, tmp_path: Path) -> None:
    async with KafkaBoardStore(frozen, "gate.controls.v1", deadline_s=0.2) as store:
        with pytest.raises(StoreUnavailable) as error:
            await store.read()

    addresses = resolve_addresses(tmp_path, environ={})
    assert f"Kafka at {frozen} did not return topic gate.controls.v1 within 0.2 s: no answer in time" in str(
        error.value
    )
    assert "Nothing was written. Take another way" in str(not_written(error.value, addresses, "Take another way"))
    lost = not_written(StoreUnavailable("no answer"), addresses, "Take another way")
    assert "whether the change was written" in str(lost)


async def test_a_worker_says_within_seconds_that_kafka_is_away_and_goes_on_trying(
    frozen: str, caplog: pytest.LogCaptureFixture
) -> None:
    where = Where(frozen, Topics("", 4), "g")
    kafka = Outage("Kafka", lambda up: None)
    partitions = cast(Partitions, SimpleNamespace(where=where, read_by=lambda by: None))
    intake = Intake(
        partitions, cast(Any, None), kafka, cast(Any, None), cast(Any, None), lambda: None, 6_000, OneCluster(frozen)
    )

    with caplog.at_level(logging.WARNING, "upload_gate.worker"):
        connecting = asyncio.create_task(intake._until_connected())
        await eventually(lambda: kafka.is_down)
        connecting.cancel()
        await asyncio.gather(connecting, return_exceptions=True)

    assert f"Kafka is away (Kafka at {frozen} {NO_ANSWER}); work goes on when it is back" in caplog.text


async def test_the_simulation_says_first_that_kafka_has_not_answered_and_then_why(frozen: str) -> None:
    events = send_events.KafkaEvents(frozen, Topics())
    event = Completed("c-1", at(1), Account("a-1"), "u-1", 9)

    async def told() -> str:
        with pytest.raises(StoreUnavailable) as error:
            await events.send_many([event])
        return str(error.value)

    said = [await told(), await told()]
    await events.close()

    assert any(f"Kafka at {frozen} {NO_ANSWER}. Its process may be stopped" in each for each in said)
    assert all(frozen in each for each in said)


@pytest.mark.parametrize(("up", "told"), [(1, False), (0, True)])
def test_the_line_and_the_screen_of_up_say_that_kafka_does_not_answer(up: int, told: bool) -> None:
    registry = CollectorRegistry()
    WorkerMetrics(registry).kafka_up.set(up)
    pages = {"gate": "", "board": "{}", "worker": generate_latest(registry).decode()}
    history = History()

    history.add(take_snapshot(MetricsPages("gate", "board", "worker"), pages.get))

    for shown in (line(history, []), draw(history, [], [], [], (120, 24)).plain):
        assert ("Kafka does not answer: scores age, and events wait" in shown) is told


def test_the_line_says_that_the_worker_does_not_answer_or_scores_nothing() -> None:
    mute, stuck = History(), History()
    mute.add(Snapshot(1, decisions={}, board=None))
    for second, uploads in ((0, 10.0), (5, 60.0)):
        stuck.add(Snapshot(second * 1_000_000 + 1, decisions={"allow": uploads}, scores=7.0, events=9.0, lag=3.0))

    assert "the worker does not answer: scores age" in line(mute, [])
    assert "uploads come and none is scored" in line(stuck, [])


async def test_a_board_whose_reader_met_a_fault_is_not_taken_for_read_and_is_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries = 0

    async def read(store: KafkaBoardStore) -> None:
        nonlocal tries
        tries += 1
        store._end = {}
        if tries == 1:
            raise ZeroDivisionError("a fault")
        await asyncio.Event().wait()

    monkeypatch.setattr(KafkaBoardStore, "_read", read)
    monkeypatch.setattr(boards, "TRY_AGAIN_S", 0.2)

    async with KafkaBoardStore("127.0.0.1:9", "t", deadline_s=0.05) as store:
        await eventually(lambda: tries == 1)
        with pytest.raises(StoreUnavailable, match="ZeroDivisionError: a fault"):
            await store.read()
        await eventually(lambda: store.caught_up)

    assert tries == 2
