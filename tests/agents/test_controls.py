"""What a worker does about a control record, and how it answers."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.errors import StoreUnavailable
from gate.records.topics import Topic, Topics
from streams.worker import controls as module
from streams.worker.assignment import Partitions
from streams.worker.commit import Where
from streams.worker.control_records import (
    MAX_RECORD_BYTES,
    ControlRecord,
    ResumeAnswer,
    ResumeCommand,
    ResumeOutcome,
    decode_control,
    encode_control,
)
from streams.worker.controls import Controls, resumed
from streams.worker.outage import Outage
from streams.worker.partition import Partition, State
from tests.waiting import eventually


class FakePartition:
    """A partition that does what a test says once it is resumed."""

    def __init__(self, number: int = 0, then: State = State.LIVE, further: int = 0) -> None:
        self.number = number
        self.state = State.HALTED
        self.owner = SimpleNamespace(next=100)
        self.resumed_with: list[bool] = []
        self._then = then
        self._further = further

    def resume(self, drains: bool = False) -> None:
        self.resumed_with.append(drains)
        self.state = self._then
        self.owner.next += self._further


def as_partition(fake: FakePartition) -> Partition:
    return cast(Partition, fake)


@pytest.mark.parametrize(
    ("then", "further", "outcome"),
    [
        (State.LIVE, 5, ResumeOutcome.LIVE),
        (State.FOLDING, 5, ResumeOutcome.LIVE),
        (State.HALTED, 0, ResumeOutcome.HALTED_AGAIN),
        (State.SETTLING, 0, ResumeOutcome.MOVED),
        (State.UNASSIGNED, 0, ResumeOutcome.MOVED),
        (State.FENCED, 0, ResumeOutcome.SLOW),
        (State.LIVE, 0, ResumeOutcome.SLOW),
    ],
)
async def test_a_resume_is_answered_with_the_state_of_the_partition(
    then: State, further: int, outcome: ResumeOutcome
) -> None:
    partition = FakePartition(then=then, further=further)

    found = await resumed(as_partition(partition), True, within_s=0.1)

    assert found is outcome
    assert partition.resumed_with == [True]


@pytest.mark.parametrize("state", [state for state in State if state is not State.HALTED])
async def test_a_partition_that_is_not_halted_is_left_alone(state: State) -> None:
    partition = FakePartition()
    partition.state = state

    assert await resumed(as_partition(partition), True) is ResumeOutcome.NOT_HALTED
    assert partition.resumed_with == []


class Heard:
    """A worker's controls over fake partitions, and what it answered."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.partitions = [FakePartition(n, further=1) for n in range(3)]
        self.answers: list[ControlRecord] = []
        self.fails = False
        mine = SimpleNamespace(mine=self.partitions, where=Where("k:1", Topics(), "g"), count=lambda: None)
        self.controls = Controls(cast(Partitions, mine), Outage("Kafka", lambda up: None), lambda: True)
        monkeypatch.setattr(module, "send_control", self._send)

    async def _send(self, bootstrap: str, topic: Topic, record: ControlRecord) -> None:
        if self.fails:
            raise StoreUnavailable("away")
        self.answers.append(record)


async def test_a_command_for_one_partition_resumes_that_one_and_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Heard(monkeypatch)

    heard.controls.hear(encode_control(ResumeCommand("r-1", partition=1, drains=True)))
    await eventually(lambda: len(heard.answers) == 1)

    assert heard.answers == [ResumeAnswer("r-1", 1, ResumeOutcome.LIVE, offset=101)]
    assert [partition.resumed_with for partition in heard.partitions] == [[], [True], []]


async def test_a_command_for_all_is_answered_for_each_of_this_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Heard(monkeypatch)
    heard.partitions[2].state = State.LIVE

    heard.controls.hear(encode_control(ResumeCommand("r-1")))
    await eventually(lambda: len(heard.answers) == 3)

    outcomes = {answer.partition: answer.outcome for answer in heard.answers if isinstance(answer, ResumeAnswer)}
    assert outcomes == {0: ResumeOutcome.LIVE, 1: ResumeOutcome.LIVE, 2: ResumeOutcome.NOT_HALTED}


async def test_the_partition_reads_on_even_where_the_answer_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    heard = Heard(monkeypatch)
    heard.fails = True

    heard.controls.hear(encode_control(ResumeCommand("r-1", partition=0)))
    await eventually(lambda: "was not sent" in caplog.text)

    assert heard.partitions[0].state is State.LIVE


async def test_two_commands_at_once_resume_a_partition_once(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Heard(monkeypatch)

    for n in range(5):
        heard.controls.hear(encode_control(ResumeCommand(f"r-{n}", partition=0)))
    await eventually(lambda: len(heard.answers) == 5)

    assert heard.partitions[0].resumed_with == [False]


@pytest.mark.parametrize(
    "value",
    [
        None, b"", b"junk", b"\xff", b"[" * 4_000, b'{"kind":"resume"}', b'{"kind":"resume","id":7}',
        b'{"kind":"resume","id":"r","v":2}', b'{"kind":"stop","id":"r"}',
        b'{"kind":"resume","id":"' + b"r" * MAX_RECORD_BYTES + b'"}',
        encode_control(ResumeAnswer("r", 0, ResumeOutcome.LIVE)),
    ],
)  # fmt: skip
async def test_a_record_that_is_not_a_command_of_this_version_is_skipped(
    value: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = Heard(monkeypatch)

    heard.controls.hear(value)
    await asyncio.sleep(0)

    assert [partition.state for partition in heard.partitions] == [State.HALTED] * 3


@given(
    st.builds(ResumeCommand, id=st.text(max_size=64), partition=st.none() | st.integers(0, 999), drains=st.booleans())
)
def test_a_command_survives_being_written_and_read(command: ResumeCommand) -> None:
    assert decode_control(encode_control(command)) == command
