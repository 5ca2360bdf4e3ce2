"""The promise of the kill switch, against whatever operators, gates, channels and clocks do.

Once a pause has been reported as obeyed by all, no running gate lets a matching upload in until its release or its
expiry; once a release has been reported, no gate that was reported holds it up. The machine runs the gates' own code
(watch, second channel, snapshot) over channels that can be cut, lose writes and hold garbage, one step at a time.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gate.app.check import Check
from gate.app.converge import converged
from gate.app.follow_controls import FollowControls
from gate.app.operate import Operate
from gate.app.watch import Watch
from gate.core.account import Account
from gate.core.decide import decide, live_pauses
from gate.core.decision import Verdict
from gate.core.media import Media
from gate.core.pause.board import Board, Pause, merge
from gate.core.pause.scope import Action, Scope
from gate.core.pseudonym import Pseudonyms
from gate.core.request import CheckRequest
from gate.errors import StateUnreadable, StoreUnavailable
from gate.metrics import Counts
from gate.policyfile import load_policy
from gate.ports.boards import Acknowledgement
from gate.records.board_document import decode_board, encode_board
from gate.stores.local_buckets import LocalBuckets
from gate.stores.memory.accounts import MemoryAccountStore
from gate.stores.memory.boards import MemoryBoardStore

SECOND_US = 1_000_000
NOON_US = 1_800_000_000 * SECOND_US
POLICY = load_policy(None)
REQUESTS = [CheckRequest("u", Account(f"a-{n}", "new"), Media("image")) for n in range(3)]
GATES = 3
ROOM_US = 5 * SECOND_US
"""How early a gate may end a pause: what its clock may be off by without having met the store's."""


class Time:
    """A clock that is `ahead_us` ahead of the true time."""

    true_us = NOON_US

    def __init__(self, ahead_us: int = 0) -> None:
        self.ahead_us = ahead_us

    def now_us(self) -> int:
        return Time.true_us + self.ahead_us


class Channel(MemoryBoardStore):
    """A store that some gates and operators may not reach."""

    def __init__(self) -> None:
        super().__init__(Time())
        self.up = True

    def of(self, links: set[int], gate: int) -> Reach:
        return Reach(self, links, gate)


class Merging(Channel):
    """What Kafka does: a write adds to what there is."""

    async def replace(self, expected_rev: int, board: Board) -> bool:
        self.put_document(encode_board(merge(await self.read(), board)))
        return True


class Reach:
    """The channel as one gate reaches it, or not. A BoardStore."""

    def __init__(self, channel: Channel, links: set[int], gate: int) -> None:
        self._channel = channel
        self._links = links
        self._gate = gate

    def __getattr__(self, name: str) -> Any:
        if not self._channel.up or self._gate not in self._links:
            raise StoreUnavailable("cut off")
        return getattr(self._channel, name)


class Memory:
    """A snapshot that survives a restart."""

    path = Path("board.json")

    def __init__(self) -> None:
        self.document: bytes | None = None

    def read(self) -> Board | None:
        return None if self.document is None else decode_board(self.document)

    def write(self, board: Board) -> None:
        self.document = encode_board(board)

    def set_aside(self) -> Path:
        return self.path


class NoFile:
    """No break-glass file."""

    path = Path("break-glass.json")

    def changed(self) -> None:
        return None


class GateUnderTest:
    """One gate: its process, its disk, its clock."""

    def __init__(self, number: int, redis: Reach, kafka: Reach, ahead_us: int) -> None:
        self.number, self.redis, self.kafka = number, redis, kafka
        self.clock, self.disk = Time(ahead_us), Memory()
        self.boots = itertools.count(1)
        self.running = False

    def start(self) -> None:
        self.check = Check(
            POLICY,
            MemoryAccountStore(self.clock),
            self.clock,
            Pseudonyms(b"s"),
            Counts(),
            time.perf_counter_ns,
            LocalBuckets,
        )
        said = Acknowledgement(f"g-{self.number}", "http://g", 0, 0, boot=f"b-{next(self.boots)}")
        self.watch = Watch(
            self.check,
            self.redis,
            self.clock,
            said,
            self.disk,
            NoFile(),
            lambda *_: None,  # type: ignore[arg-type]
        )
        self.watch.start_from_disk()
        self.follow = FollowControls(self.watch, self.kafka, lambda *_: None, lambda: 0.5, lambda: None)  # type: ignore[arg-type]
        self.running = True

    async def step(self) -> None:
        """What a gate does within a second."""
        if not self.running:
            return
        for one in (self.watch._poll, self.follow._beat):
            with suppress(StoreUnavailable, TimeoutError, StateUnreadable):
                await one()

    def lets_in(self, pause: Pause) -> bool:
        now_us = self.clock.now_us()
        board = live_pauses(self.check.board, now_us)
        decisions = [decide(request, "new", board, POLICY, now_us) for request in REQUESTS]
        return any(one is None or one.verdict is not Verdict.PAUSED for one in decisions)


class SwitchMachine(RuleBasedStateMachine):
    """Steps of operators and of faults. `promised` are the pauses that were reported as obeyed by all."""

    def __init__(self) -> None:
        super().__init__()
        Time.true_us = NOON_US
        self.loop = asyncio.Runner()
        self.redis, self.kafka = Channel(), Merging()
        self.redis_links, self.kafka_links = set(range(GATES)), set(range(GATES))
        self.ids = (f"p-{n}" for n in itertools.count(1))
        self.promised: dict[str, Pause] = {}
        self.released: dict[str, Pause] = {}
        self.old: list[bytes] = [encode_board(Board())]

    def run(self, coroutine: Any) -> Any:
        return self.loop.run(coroutine)

    def teardown(self) -> None:
        self.loop.close()

    @initialize(
        ahead=st.lists(st.sampled_from((0, 4 * SECOND_US, -4 * SECOND_US, 3_600 * SECOND_US)), min_size=3, max_size=3)
    )
    def begin(self, ahead: list[int]) -> None:
        self.gates = [
            GateUnderTest(n, self.redis.of(self.redis_links, n), self.kafka.of(self.kafka_links, n), ahead[n])
            for n in range(GATES)
        ]
        for gate in self.gates:
            gate.start()
        self.second()

    def second(self) -> None:
        """A second passes: every gate polls and beats."""
        Time.true_us += SECOND_US
        for gate in self.gates:
            self.run(gate.step())
        with suppress(StateUnreadable):
            self.old.append(encode_board(self.run(self.redis.read())))

    def exits_0(self, store: Channel, change: Pause) -> bool:
        """Whether the command ends with 0: every gate is accounted for, and none was heard of lately that is not."""
        for _ in range(2):
            self.second()
        if not store.up:
            return False
        result = self.run(converged(store, change, 0.0))
        return bool(result.complete) and not result.unheard

    def write(self, through: str) -> tuple[Channel, Operate]:
        store = self.redis if through == "redis" else self.kafka
        return store, Operate(store, lambda: next(self.ids), caught_up_within_s=0.0)

    @rule(through=st.sampled_from(("redis", "kafka")), minutes=st.sampled_from((1, 10, 60)))
    def pause(self, through: str, minutes: int) -> None:
        store, operate = self.write(through)
        if not store.up:
            return
        with suppress(StateUnreadable):
            set_ = self.run(operate.pause(Scope(), Action.STOP, "raid", "", "ann", minutes * 60 * SECOND_US))
            if self.exits_0(store, set_):
                self.promised[set_.id] = set_

    @precondition(lambda self: self.promised)
    @rule(through=st.sampled_from(("redis", "kafka")), which=st.integers(0, 9))
    def release(self, through: str, which: int) -> None:
        store, operate = self.write(through)
        id_ = sorted(self.promised)[which % len(self.promised)]
        if not store.up:
            return
        # from the moment of the release on, gates may let uploads in
        promised = self.promised.pop(id_)
        with suppress(Exception):
            released = self.run(operate.release(id_, "bob", ramp_us=0))
            if self.exits_0(store, released):
                self.released[id_] = promised

    @rule(gate=st.integers(0, GATES - 1), channel=st.sampled_from(("redis", "kafka")), cut=st.booleans())
    def link(self, gate: int, channel: str, cut: bool) -> None:
        links = self.redis_links if channel == "redis" else self.kafka_links
        links.discard(gate) if cut else links.add(gate)

    @rule(channel=st.sampled_from(("redis", "kafka")), up=st.booleans())
    def outage(self, channel: str, up: bool) -> None:
        (self.redis if channel == "redis" else self.kafka).up = up

    @rule(back=st.integers(1, 30))
    def restore_an_old_backup(self, back: int) -> None:
        """A failover that lost writes, or a restore."""
        self.redis.put_document(self.old[-min(back, len(self.old))])

    @rule()
    def garbage(self) -> None:
        self.redis.put_document(b'{"pauses": [')

    @rule(gate=st.integers(0, GATES - 1))
    def restart(self, gate: int) -> None:
        one = self.gates[gate]
        # a clock that is an hour off is told by the store; a gate that cannot ask goes by its host's clock
        reaches = self.redis.up and gate in self.redis_links
        if reaches or abs(one.clock.ahead_us) < ROOM_US:
            one.start()
            self.run(one.step())

    @rule(seconds=st.sampled_from((1, 2, 5, 30, 300)))
    def time_passes(self, seconds: int) -> None:
        Time.true_us += (seconds - 1) * SECOND_US
        self.second()

    @rule()
    def everything_is_back(self) -> None:
        """Each channel gets back what it lost, from whichever gate knows it."""
        self.redis.up = self.kafka.up = True
        for links in (self.redis_links, self.kafka_links):
            links.update(range(GATES))
        for _ in range(3):
            self.second()
        for channel in (self.redis, self.kafka):
            known = self.run(channel.read()).pauses
            for id_, pause in self.promised.items():
                assert Time.true_us >= pause.expires_at_us or known[id_].released_at_us is None, id_

    @invariant()
    def what_was_paused_stays_paused(self) -> None:
        for pause in self.promised.values():
            if Time.true_us >= pause.expires_at_us - ROOM_US:
                continue
            for gate in self.gates:
                assert not gate.lets_in(pause), (pause.id, gate.number)

    @invariant()
    def what_was_released_stays_released(self) -> None:
        for id_ in self.released:
            for gate in self.gates:
                held = gate.check.board.pauses.get(id_)
                assert held is None or not held.active(gate.clock.now_us()), (id_, gate.number)


TestSwitchMachine = SwitchMachine.TestCase
TestSwitchMachine.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip


def test_the_machine_promises_something() -> None:
    """Without faults every pause is promised, so that the law is not empty."""
    machine = SwitchMachine()
    machine.begin([0, 4 * SECOND_US, 3_600 * SECOND_US])

    machine.pause("redis", 10)
    machine.pause("kafka", 10)
    machine.release("kafka", 0)

    machine.what_was_paused_stays_paused()
    machine.what_was_released_stays_released()
    machine.teardown()
    assert (len(machine.promised), len(machine.released)) == (1, 1)
