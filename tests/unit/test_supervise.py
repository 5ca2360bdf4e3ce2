"""The supervisor: a part that ends is started again, one that keeps ending is given up, all end together."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from gate.errors import LocalServerError
from gate.local.supervise import RESTARTS, Supervisor


class FakePart:
    """A part whose end and whose refusal to start the test decides."""

    def __init__(self, name: str, order: list[str] | None = None) -> None:
        self.name = name
        self.status: int | None = None
        self.when_done = ""
        self.starts = 0
        self.refuses = False
        self._order = [] if order is None else order

    def start(self) -> None:
        self.starts += 1
        if self.refuses:
            raise LocalServerError("no such program")
        self.status = None

    def poll(self) -> int | None:
        return self.status

    def stop(self) -> None:
        self._order.append(self.name)
        self.status = 0


def test_a_part_that_was_killed_is_named_and_started_again() -> None:
    said: list[str] = []
    part = FakePart("worker")
    supervisor = Supervisor(said.append)
    supervisor.start(part)

    part.status = -9
    supervisor.watch(10.0)
    down = supervisor.down()
    supervisor.watch(11.0)

    assert part.starts == 2
    assert down == ["worker"]
    assert supervisor.down() == []
    assert said[0].startswith("worker was killed by signal 9; starting it again in 0.5 s")


def test_a_part_whose_work_is_done_is_told_of_once_and_left_alone() -> None:
    said: list[str] = []
    part = FakePart("traffic")
    part.when_done = "all was sent"
    supervisor = Supervisor(said.append)
    supervisor.start(part)

    part.status = 0
    for second in range(3):
        supervisor.watch(second)
    assert (part.starts, supervisor.down(), said) == (1, [], ["all was sent"])


@pytest.mark.parametrize(("status", "words"), [(1, "ended with status 1"), (128 + 15, "was ended early by signal 15")])
def test_a_part_with_an_end_that_fails_is_started_again(status: int, words: str) -> None:
    said: list[str] = []
    part = FakePart("traffic")
    part.when_done = "all was sent"
    supervisor = Supervisor(said.append)
    supervisor.start(part)

    part.status = status
    supervisor.watch(10.0)
    assert supervisor.down() == ["traffic"]
    assert f"traffic {words}; starting it again" in said[0]
    supervisor.watch(11.0)

    assert part.starts == 2
    assert "all was sent" not in said


def test_a_part_that_crashes_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    said: list[str] = []
    part, mute = FakePart("traffic"), FakePart("worker")
    part.log, mute.log = tmp_path / "traffic.log", tmp_path / "worker.log"  # type: ignore[attr-defined]
    (tmp_path / "traffic.log").write_text("it begins\nrows.jsonl:1: is not JSON\n")
    supervisor = Supervisor(said.append)

    for each in (part, mute):
        supervisor.start(each)
        each.status = 2
    supervisor.watch(10.0)

    assert f'(log: {tmp_path}/traffic.log, which ends with "rows.jsonl:1: is not JSON")' in said[0]
    assert said[1].endswith(f"(log: {tmp_path}/worker.log)")


def test_a_part_that_ends_with_a_trace_of_java_is_named_with_what_is_wrong(tmp_path: Path) -> None:
    said: list[str] = []
    part = FakePart("kafka")
    part.log = tmp_path / "kafka.log"  # type: ignore[attr-defined]
    part.log.write_text(  # type: ignore[attr-defined]
        "java.io.IOException: No space left on device\n\tat java.base/sun.nio.ch.IOUtil.write(Unknown Source)\n\tat kafka.ser"
    )
    supervisor = Supervisor(said.append)
    supervisor.start(part)

    part.status = 1
    supervisor.watch(10.0)

    assert 'which ends with "java.io.IOException: No space left on device")' in said[0]


def test_a_part_that_keeps_ending_is_given_up_and_the_others_run_on() -> None:
    said: list[str] = []
    bad, good = FakePart("worker"), FakePart("gate")
    supervisor = Supervisor(said.append)
    supervisor.start(bad)
    supervisor.start(good)

    for step in range(200):
        bad.status = 1
        supervisor.watch(step * 0.3)

    assert bad.starts == RESTARTS + 1
    assert supervisor.down() == ["worker"]
    assert good.starts == 1
    assert "stays down" in said[-1]


def test_a_part_that_does_not_start_again_is_tried_a_bounded_number_of_times() -> None:
    said: list[str] = []
    part = FakePart("kafka")
    supervisor = Supervisor(said.append)
    supervisor.start(part)

    part.status, part.refuses = 1, True
    for step in range(2_000):
        supervisor.watch(float(step))

    assert part.starts == RESTARTS + 2
    assert "did not start: no such program" in said[-2]
    assert said[-1] == "kafka stays down, the rest runs on"


def test_servers_end_after_the_processes_that_use_them() -> None:
    order: list[str] = []
    supervisor = Supervisor(lambda line: None)
    for name in ("redis", "kafka", "gate", "worker", "traffic"):
        supervisor.start(FakePart(name, order))

    supervisor.stop()

    assert set(order[:3]) == {"gate", "worker", "traffic"}
    assert set(order[3:]) == {"redis", "kafka"}


class SlowPart(FakePart):
    """A part whose second start blocks until it is stopped, as Kafka's does until it answers."""

    def __init__(self) -> None:
        super().__init__("kafka")
        self.starting = threading.Event()
        self.stopped = threading.Event()

    def start(self) -> None:
        super().start()
        if self.starts > 1:
            self.starting.set()
            if self.stopped.wait(10):
                raise LocalServerError("it ended while starting")

    def stop(self) -> None:
        super().stop()
        self.stopped.set()


def test_while_a_part_starts_again_it_is_down_and_the_end_does_not_wait_for_it() -> None:
    part, said = SlowPart(), list[str]()
    supervisor = Supervisor(said.append)
    supervisor.start(part)
    part.status = -9
    supervisor.watch(0.0)
    watching = threading.Thread(target=supervisor.watch, args=(1.0,))
    watching.start()
    assert part.starting.wait(10)

    down = supervisor.down()
    supervisor.stop()
    watching.join(10)

    assert down == ["kafka"]
    assert not watching.is_alive()
    assert part.status == 0
    assert len(said) == 1  # that it was killed, and not that it failed to start while everything ends
