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
from gate.app.converge import HEARD_WITHIN_US, converged
from gate.app.follow_controls import FollowControls
from gate.app.keep_board import KeepBoard
from gate.app.operate import Operate
from gate.app.watch import Watch
from gate.core.account import Account
from gate.core.decide import decide, live_pauses
from gate.core.decision import Verdict
from gate.core.media import Media
from gate.core.pause.board import Board, merge
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, Scope
from gate.core.pseudonym import Pseudonyms
from gate.core.request import CheckRequest
from gate.errors import AccessRefused, ControlRefused, OperatorError, StateUnreadable, StoreUnavailable
from gate.metrics import Counts
from gate.policyfile import load_policy
from gate.ports.boards import LATELY_US, Acknowledgement
from gate.ports.clock import ClockMark
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
CLOCKS = (0, 4 * SECOND_US, -4 * SECOND_US, 3_600 * SECOND_US, -3_600 * SECOND_US)


class Time:
    """A clock that is `ahead_us` ahead of the true time."""

    true_us = NOON_US

    def __init__(self, ahead_us: int = 0) -> None:
        self.ahead_us = ahead_us

    def now_us(self) -> int:
        return Time.true_us + self.ahead_us


class Uptime:
    """The time since a machine's start, which nobody sets."""

    def __init__(self) -> None:
        self.boots = 1
        self.since_us = Time.true_us

    @property
    def boot(self) -> str:
        return f"boot-{self.boots}"

    def elapsed_us(self) -> int:
        return Time.true_us - self.since_us

    def reboot(self) -> None:
        self.boots += 1
        self.since_us = Time.true_us


class Channel(MemoryBoardStore):
    """A store that some gates and operators may not reach."""

    def __init__(self) -> None:
        self.clock = Time()
        super().__init__(self.clock)
        self.up = True

    def of(self, links: set[int], gate: int) -> Reach:
        return Reach(self, links, gate)


class Merging(Channel):
    """What Kafka does: a write adds to what there is, and the time of pauses is the gates'."""

    async def now_us(self) -> int:
        return await super().now_us() + (await self.gates(LATELY_US)).pause_clock_ahead_us

    async def replace(self, expected_rev: int, board: Board) -> bool:
        self.put_document(encode_board(merge(await self.read(), board)))
        return True


class Reach:
    """The channel as one gate reaches it, or not. A BoardStore."""

    only_reads = False
    """True for a gate whose user may not write pauses; a keeper writes in its place."""

    def __init__(self, channel: Channel, links: set[int], gate: int) -> None:
        self._channel = channel
        self._links = links
        self._gate = gate

    def __getattr__(self, name: str) -> Any:
        if not self._channel.up or self._gate not in self._links:
            raise StoreUnavailable("cut off")
        if self.only_reads and name in ("replace", "repair"):
            raise AccessRefused("its access lists do not permit this user to do that")
        return getattr(self._channel, name)


class Memory:
    """A snapshot that survives a restart."""

    path = Path("board.json")

    def __init__(self) -> None:
        self.document: bytes | None = None
        self.clock: ClockMark | None = None

    def read(self) -> Board | None:
        return None if self.document is None else decode_board(self.document)

    def write(self, board: Board, clock: ClockMark | None = None) -> None:
        self.document, self.clock = encode_board(board), clock

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
        self.clock, self.disk, self.uptime = Time(ahead_us), Memory(), Uptime()
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
            NoFile(),  # type: ignore[arg-type]
            lambda *_: None,
            uptime=self.uptime,
        )
        self.watch.start_from_disk()
        self.follow = FollowControls(self.watch, self.kafka, lambda *_: None, lambda: 0.5, lambda: None)  # type: ignore[arg-type]
        self.running = True

    async def step(self) -> None:
        """What a gate does within a second."""
        if not self.running:
            return
        await self.watch._read_file()
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

    keeper: KeepBoard | None = None

    def __init__(self) -> None:
        super().__init__()
        Time.true_us = NOON_US
        self.loop = asyncio.Runner()
        self.redis, self.kafka = Channel(), Merging()
        self.redis_links, self.kafka_links = set(range(GATES)), set(range(GATES))
        self.ids = (f"p-{n}" for n in itertools.count(1))
        self.promised: dict[str, Pause] = {}
        self.until_us: dict[str, int] = {}
        """Until when each pause was to last, by the true time."""
        self.released: dict[str, Pause] = {}
        self.old: list[bytes] = [encode_board(Board())]

    def run(self, coroutine: Any) -> Any:
        return self.loop.run(coroutine)

    def teardown(self) -> None:
        self.loop.close()

    @initialize(
        ahead=st.lists(st.sampled_from(CLOCKS), min_size=3, max_size=3), kafka_ahead=st.sampled_from(CLOCKS),
        has_keeper=st.booleans(),
    )  # fmt: skip
    def begin(self, ahead: list[int], kafka_ahead: int = 0, has_keeper: bool = False) -> None:
        self.kafka.clock.ahead_us = kafka_ahead
        if has_keeper:
            redis, kafka = (each.of({GATES}, GATES) for each in (self.redis, self.kafka))
            self.keeper = KeepBoard(redis, kafka, lambda _: None)
        self.gates = [
            GateUnderTest(n, self.redis.of(self.redis_links, n), self.kafka.of(self.kafka_links, n), ahead[n])
            for n in range(GATES)
        ]
        for gate in self.gates:
            gate.redis.only_reads = gate.kafka.only_reads = has_keeper
            gate.start()
        self.second()

    def second(self) -> None:
        """A second passes: every gate polls and beats."""
        Time.true_us += SECOND_US
        for gate in self.gates:
            self.run(gate.step())
        if self.keeper is not None:
            for keeps in (self.keeper._keep_kafka, self.keeper._keep_redis):
                with suppress(StoreUnavailable, StateUnreadable):
                    self.run(keeps())
        with suppress(StateUnreadable):
            self.old.append(encode_board(self.run(self.redis.read())))

    def exits_0(self, store: Channel, change: Pause) -> bool:
        """Whether the command ends with 0: every gate is accounted for, and none was heard of lately that is not."""
        for _ in range(2):
            self.second()
        if not store.up:
            return False
        result = self.run(converged(store, change, 0.0))
        return bool(result.complete) and not result.unheard and not self.is_forgotten(store)

    def is_forgotten(self, store: Channel) -> bool:
        """Whether a gate is no longer counted, as it was not heard of for five minutes. The promise does not cover it."""
        heard = self.run(store.gates(HEARD_WITHIN_US)).acknowledgements
        return {said.gate for said in heard} != {f"g-{number}" for number in range(GATES)}

    def write(self, through: str) -> tuple[Channel, Operate]:
        store = self.redis if through == "redis" else self.kafka
        return store, Operate(store, lambda: next(self.ids), caught_up_within_s=0.0)

    @rule(through=st.sampled_from(("redis", "kafka")), minutes=st.sampled_from((1, 10, 60)))
    def pause(self, through: str, minutes: int) -> None:
        store, operate = self.write(through)
        if not store.up:
            return
        with suppress(StateUnreadable):
            until_us = Time.true_us + minutes * 60 * SECOND_US
            set_ = self.run(operate.pause(Scope(), Action.STOP, "raid", "", "ann", minutes * 60 * SECOND_US))
            self.until_us[set_.id] = until_us
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

    @rule(gate=st.integers(0, GATES - 1), reboots=st.booleans(), ahead=st.none() | st.sampled_from(CLOCKS))
    def restart(self, gate: int, reboots: bool, ahead: int | None) -> None:
        """A start in the middle of whatever is going on, of the process or of its machine, whose clock may be set meanwhile."""
        one = self.gates[gate]
        if reboots:
            one.uptime.reboot()
        if ahead is not None:
            one.clock.ahead_us = ahead
        one.start()
        self.run(one.step())

    @rule(gate=st.integers(0, GATES - 1), ahead=st.sampled_from(CLOCKS))
    def set_a_clock(self, gate: int, ahead: int) -> None:
        """Somebody sets the clock of a running gate's host, which the gate notices within a second."""
        self.gates[gate].clock.ahead_us = ahead
        self.run(self.gates[gate].watch._read_file())

    @precondition(lambda self: self.promised)
    @rule(
        through=st.sampled_from(("redis", "kafka")), other=st.sampled_from(("extend", "release")),
        minutes=st.sampled_from((30, 90)), which=st.integers(0, 9),
    )  # fmt: skip
    def two_operators_at_once(self, through: str, other: str, minutes: int, which: int) -> None:
        """One extends a pause in one channel, one extends or releases it in the other, before any gate hears of either."""
        if not (self.redis.up and self.kafka.up):
            return
        id_ = sorted(self.promised)[which % len(self.promised)]
        ways = ("redis", "kafka") if through == "redis" else ("kafka", "redis")
        (first, one), (second, two) = (self.write(way) for way in ways)
        before, began_us = self.promised.pop(id_), Time.true_us
        changed = [None, None]
        with suppress(OperatorError, ControlRefused, StateUnreadable):
            changed[0] = self.run(one.extend(id_, "ann", minutes * 60 * SECOND_US))
        with suppress(OperatorError, ControlRefused, StateUnreadable):
            changed[1] = self.run(
                two.extend(id_, "bob", 60 * 60 * SECOND_US) if other == "extend" else two.release(id_, "bob", ramp_us=0)
            )
        longer = [each for each in changed if each is not None and each.released_at_us is None]
        if changed[1] is not None and other == "release":
            if self.exits_0(second, changed[1]):
                self.released[id_] = before
            return
        # an extension promises its end as soon as its command has ended with 0
        ends = [
            each for each, store in zip(changed, (first, second), strict=True) if each and self.exits_0(store, each)
        ]
        self.promised[id_] = max(
            [before, *(each for each in ends if each in longer)], key=lambda each: each.expires_at_us
        )
        if self.promised[id_] is not before:
            lasts_us = (minutes if self.promised[id_] is changed[0] else 60) * 60 * SECOND_US
            self.until_us[id_] = max(self.until_us[id_], began_us + lasts_us)

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
            for id_ in self.promised:
                assert Time.true_us >= self.until_us[id_] or known[id_].released_at_us is None, id_

    @invariant()
    def what_was_paused_stays_paused(self) -> None:
        for pause in self.promised.values():
            if Time.true_us >= self.until_us[pause.id] - ROOM_US:
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
