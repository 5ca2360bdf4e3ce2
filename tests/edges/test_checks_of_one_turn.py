"""Checks that arrive in one turn of the event loop are decided together, and answered as if each had come alone.

Bytes are handed to connections over transports that only record, so that a test says what one turn has read.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.app.back_pressure import BackPressure
from gate.app.check import Check
from gate.app.settle import Reports
from gate.core.decision import Decision
from gate.core.limits.limit import Limit, Rate, Room
from gate.core.limits.take import TakeRequest, TakeResult
from gate.core.pause.board import Board
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, Scope
from gate.core.policy import LimitRule, Mode, OnStoreError, Policy, Subject, Unit
from gate.core.pseudonym import Pseudonyms
from gate.core.request import CheckRequest
from gate.core.score import Score, Stamp
from gate.errors import StoreUnavailable
from gate.metrics import Counts
from gate.policyfile import load_policy
from gate.records.decision import ReservationSigner
from gate.records.score import with_bytes
from gate.serve.health import Health
from gate.serve.hot.app import GateApp
from gate.serve.hot.connection import HotConnection
from gate.serve.hot.edge import LEAST_GATHERED, MOST_GATHERED, Edge
from gate.serve.hot.edge_limits import EdgeLimits
from gate.stores.local_buckets import LocalBuckets
from gate.stores.memory.accounts import MemoryAccountStore
from tests.edges.test_hot_connection import Recorder
from tests.waiting import eventually

NOW_US = 1_800_000_000_000_000
HEAD = b"POST /v1/check HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
CLASSES = {"a": "new", "b": "regular", "c": "regular", "d": "nobody"}
"""The class of each account, which it keeps, as checks of different classes may be decided in any order."""


class Standstill:
    def now_us(self) -> int:
        return NOW_US


class Store(MemoryAccountStore):
    """Keeps the calls. Those that `held` picks are carried out at once and answered on `go`. Of the upload `spoilt` it tells
    the room in a bucket without a limit, which no field of a head can show.
    """

    def __init__(self) -> None:
        super().__init__(Standstill())
        self.calls: list[int] = []
        self.held: Callable[[Sequence[TakeRequest]], bool] = lambda requests: False
        self.go = asyncio.Event()
        self.spoilt = ""

    async def take(self, request: TakeRequest) -> TakeResult:
        self.calls.append(1)
        answer = await super().take(request)
        if self.held([request]):
            await self.go.wait()
        return answer

    async def take_many(self, requests: Sequence[TakeRequest]) -> list[TakeResult | Exception]:
        self.calls.append(len(requests))
        answers: list[TakeResult | Exception] = [
            self._spoil(each, await MemoryAccountStore.take(self, each)) for each in requests
        ]
        if self.held(requests):
            await self.go.wait()
        return answers

    def _spoil(self, request: TakeRequest, answer: TakeResult) -> TakeResult:
        if request.upload_id != self.spoilt:
            return answer
        return msgspec.structs.replace(answer, room=Room(cast("Limit", None), NOW_US))


class Fragile(Check):
    """Fails at uploads named `bad`."""

    async def check(
        self, request: CheckRequest, gone: Callable[[], bool] | None = None, ignored: Collection[str] = ()
    ) -> Decision:
        if request.upload_id == "bad":
            raise ValueError(request.upload_id)
        return await super().check(request, gone, ignored)

    async def check_many(
        self, requests: Sequence[CheckRequest], gone: Callable[[], Iterable[int]] | None = None,
        ignored: Sequence[Collection[str]] = (), *, waits: bool = True,
    ) -> list[Decision]:  # fmt: skip
        decisions = await super().check_many(requests, gone, ignored, waits=waits)
        if any(request.upload_id == "bad" for request in requests):
            raise ValueError("bad")
        return decisions


class Port:
    """The hot port of a gate over a store in memory. Each check comes on a connection of its own."""

    def __init__(
        self, policy: Policy | None = None, kind: type[Check] = Check, room: BackPressure | None = None
    ) -> None:
        self.store = Store()
        self.counts = Counts()
        self.reports = Reports(self.store, self.counts)
        self.check = kind(
            load_policy(None) if policy is None else policy, self.store, Standstill(), Pseudonyms(b"salt"), self.counts,
            time.perf_counter_ns, LocalBuckets, back_pressure=room, reports=self.reports,
        )  # fmt: skip
        app = GateApp(
            self.check, cast("Health", None), Standstill(), lambda: 0.0, reports=self.reports,
            signer=ReservationSigner(b"salt"),
        )  # fmt: skip
        self.edge = Edge(app, EdgeLimits(), asyncio.get_running_loop())
        self.edge.at_once = 0  # as after a turn of many checks
        self.connections: list[HotConnection] = []
        self.wires: list[Recorder] = []
        self.wire: Callable[[], Recorder] = Recorder
        """Makes the transport of the next connection."""

    def turn(self, *bodies: bytes) -> None:
        """Hand over checks in one turn."""
        for body in bodies:
            connection, wire = HotConnection(self.edge), self.wire()
            connection.connection_made(cast("asyncio.Transport", wire))
            connection.data_received(HEAD % (len(body), body))
            self.connections.append(connection)
            self.wires.append(wire)

    async def answered(self) -> list[tuple[list[bytes], dict[str, Any]]]:
        """Head without its date, and body, of the answer to each check."""
        await eventually(lambda: all(wire.written for wire in self.wires), every_s=0)
        return [parted(wire.data) for wire in self.wires]


def parted(answer: bytes) -> tuple[list[bytes], dict[str, Any]]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return [line for line in head.split(b"\r\n") if not line.startswith(b"date: ")], json.loads(body)


def body_of(upload: str, account: str = "b", **more: object) -> bytes:
    given = {"upload_id": upload, "account": {"id": account, "class": CLASSES[account]}, "media": {"kind": "image"}}
    return json.dumps({**given, **more}).encode()


def a_policy(burst: int) -> Policy:
    limit = LimitRule(
        "account", Subject.ACCOUNT, Unit.UPLOADS, Mode.ENFORCE, OnStoreError.LOCAL,
        {class_: Rate(burst, 60_000_000, burst) for class_ in ("new", "regular")},
    )  # fmt: skip
    return replace(load_policy(None), limits=(limit,))


def counted(counts: Counts) -> Mapping[str, object]:
    """All that is counted of checks, with the number of those whose time was measured in place of the time."""
    times = sum(counts.buckets)
    return {
        "decisions": counts.decisions, "rejected": counts.rejected, "faults": counts.faults, "times": times,
        "ignored": counts.fields_ignored, "degraded": counts.degraded, "unlisted": counts.unlisted,
    }  # fmt: skip


bodies = st.one_of(
    st.builds(
        body_of,
        st.sampled_from(["u-1", "u-2", "u-3", "u-4", "ü"]),
        st.sampled_from(list(CLASSES)),
        surface=st.sampled_from(["post", "avatar", ""]),
        media=st.sampled_from([{"kind": "image"}, {"kind": "video", "bytes": 7}, {"kind": "image", "sha256": "%"}]),
    ),
    st.sampled_from([b"", b"{}", b'{"upload_id":"u-1","account":{"id":"b"}}']),
)


async def told(turns: Sequence[Sequence[bytes]], *, away: bool) -> tuple[object, ...]:
    """What a gate answers to checks in these turns, what it counts, and what its store then holds."""
    port = Port()
    score = Score("c", 0.99, 0.0, 0.99, (), NOW_US, NOW_US, Stamp("e", 1), "s")
    await port.store.put_scores([with_bytes(score)])
    scope = Scope(surfaces=frozenset({"avatar"}))
    pause = Pause("p-1", 1, scope, Action.STOP, "raid", "", "ann", NOW_US - 1, NOW_US + 60_000_000)
    port.check.board = Board({"p-1": pause})
    port.store.down = "it is away" if away else None
    for turn in turns:
        port.turn(*turn)
        await port.answered()
    return await port.answered(), counted(port.counts), port.store._tats, port.reports.waiting


@settings(max_examples=60, deadline=None)
@given(st.lists(bodies, min_size=LEAST_GATHERED, max_size=12), st.booleans())
def test_checks_of_one_turn_are_answered_counted_and_charged_as_if_each_had_come_alone(
    sent: list[bytes], away: bool
) -> None:
    together = asyncio.run(told([sent], away=away))
    alone = asyncio.run(told([[body] for body in sent], away=away))

    assert together == alone


async def test_after_a_turn_of_few_checks_the_first_of_the_next_start_at_once_and_the_others_together() -> None:
    port = Port()

    for upload, checks in enumerate((3, 3, 1, 6, 4, 2)):
        port.turn(*(body_of(f"u-{upload}-{n}") for n in range(checks)))
        await port.answered()

    assert port.store.calls == [3, 3, 1, 1, 1, 4, 4, 1, 1]


async def test_a_lone_check_is_with_the_store_before_its_turn_ends() -> None:
    port = Port()
    port.turn(body_of("u-1"))
    await port.answered()

    port.turn(body_of("u-2"))

    assert port.store.calls == [1, 1]


async def test_a_turn_costs_one_call_of_the_store_for_each_class() -> None:
    port = Port()

    port.turn(*(body_of(f"u-{n}", account) for n in range(4) for account in ("a", "b")))
    await port.answered()

    assert port.store.calls == [4, 4]


@pytest.mark.parametrize("checks", [LEAST_GATHERED - 1, LEAST_GATHERED, 3 * MOST_GATHERED + 1])
async def test_of_the_checks_of_one_turn_exactly_the_burst_is_let_in(checks: int) -> None:
    port = Port(a_policy(burst=2))

    port.turn(*(body_of(f"u-{n}") for n in range(checks)))
    answers = await port.answered()

    assert [body["upload_id"] for _, body in answers] == [f"u-{n}" for n in range(checks)]
    assert [body["decision"] for _, body in answers] == ["allow"] * 2 + ["throttle"] * (checks - 2)


async def test_of_callers_that_wait_together_the_one_that_goes_away_gets_its_tokens_back() -> None:
    port = Port()
    port.store.held = lambda requests: True
    port.turn(*(body_of(f"u-{n}") for n in range(4)))
    await eventually(lambda: port.store.calls)

    port.connections[2].connection_lost(None)
    port.store.go.set()
    await eventually(lambda: port.wires[3].written)

    assert [bool(wire.written) for wire in port.wires] == [True, True, False, True]
    assert [notice.upload_id for notice in port.reports._waiting] == ["u-2"]


@pytest.mark.parametrize("checks", [1, 4])
@pytest.mark.parametrize("is_gone", [False, True])
async def test_checks_that_are_under_way_when_the_server_ends_get_their_tokens_back(checks: int, is_gone: bool) -> None:
    port = Port()
    port.store.held = lambda requests: True
    port.turn(*(body_of(f"u-{n}") for n in range(checks)))
    await eventually(lambda: port.store.calls)
    for connection in port.connections if is_gone else ():
        connection.connection_lost(None)

    port.edge.drain()
    was_empty = port.edge.emptied.is_set()
    port.edge.stop()
    await asyncio.sleep(0)

    assert not was_empty
    assert [notice.upload_id for notice in port.reports._waiting] == [f"u-{n}" for n in range(checks)]
    assert not any(wire.written for wire in port.wires)


@pytest.mark.parametrize("checks", [1, 4])
async def test_a_server_that_ends_waits_for_the_checks_of_callers_who_are_gone(checks: int) -> None:
    port = Port()
    port.store.held = lambda requests: True
    port.turn(*(body_of(f"u-{n}") for n in range(checks)))
    await eventually(lambda: port.store.calls)
    for connection in port.connections:
        connection.connection_lost(None)
    port.edge.drain()

    port.store.go.set()
    await port.edge.emptied.wait()

    assert [notice.upload_id for notice in port.reports._waiting] == [f"u-{n}" for n in range(checks)]


@pytest.mark.parametrize("checks", [1, 4])
async def test_a_server_that_ends_waits_for_checks_whose_callers_go_away_within_their_turn(checks: int) -> None:
    port = Port()
    port.store.held = lambda requests: True
    port.turn(*(body_of(f"u-{n}") for n in range(checks)))
    for connection in port.connections:
        connection.connection_lost(None)

    port.edge.drain()
    await eventually(lambda: port.store.calls)
    was_empty = port.edge.emptied.is_set()
    port.store.go.set()
    await port.edge.emptied.wait()

    assert not was_empty
    assert [notice.upload_id for notice in port.reports._waiting] == [f"u-{n}" for n in range(checks)]


async def test_checks_that_no_work_has_begun_on_when_the_server_ends_are_not_begun() -> None:
    port = Port()
    port.turn(*(body_of(f"u-{n}") for n in range(4)))

    port.edge.stop()
    await asyncio.sleep(0)

    assert (port.store.calls, port.reports.waiting) == ([], 0)


async def test_a_check_that_fails_does_not_spoil_the_others_of_its_turn() -> None:
    port = Port(a_policy(burst=3), Fragile)

    port.turn(*(body_of(upload) for upload in ("u-1", "bad", "u-2", "u-3")))
    answers = await port.answered()

    assert [head[0] for head, _ in answers] == [
        b"HTTP/1.1 200 OK", b"HTTP/1.1 500 Internal Server Error", b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK",
    ]  # fmt: skip
    assert [body.get("decision") for _, body in answers] == ["allow", None, "allow", "throttle"]
    assert port.counts.faults["http"] == 1


async def test_an_answer_that_cannot_be_encoded_does_not_spoil_the_others_of_its_turn() -> None:
    port = Port()
    port.store.spoilt = "bad"

    port.turn(*(body_of(upload) for upload in ("u-1", "bad", "u-2")))
    answers = await port.answered()

    assert [body.get("decision") for _, body in answers] == ["allow", None, "allow"]
    assert port.counts.faults["http"] == 1


class Torn(Recorder):
    """A transport that fails at each write."""

    def write(self, data: bytes) -> None:
        raise OSError("torn")


async def test_a_response_that_cannot_be_written_ends_its_connection_and_leaves_the_others_of_its_turn() -> None:
    port = Port()
    port.wire = lambda: Torn() if len(port.wires) == 1 else Recorder()

    port.turn(*(body_of(f"u-{n}") for n in range(4)))
    await eventually(lambda: port.wires[3].written or port.wires[1].aborted)

    assert [bool(wire.written) for wire in port.wires] == [True, False, True, True]
    assert [wire.aborted for wire in port.wires] == [False, True, False, False]


@pytest.mark.parametrize("account", ["a", "b"])
async def test_no_check_waits_for_those_of_another_class_or_of_another_call(account: str) -> None:
    port = Port()
    port.store.held = lambda requests: requests[0].upload_id == "u-0"
    port.turn(
        *(body_of(f"u-{n}", account) for n in range(MOST_GATHERED)), body_of("v-1"), body_of("v-2"), body_of("v-3")
    )

    await eventually(lambda: port.wires[-1].written)

    assert [bool(wire.written) for wire in port.wires] == [False] * MOST_GATHERED + [True] * 3
    port.store.go.set()
    assert len(await port.answered()) == MOST_GATHERED + 3


async def test_checks_of_one_turn_do_not_wait_behind_batches() -> None:
    room = BackPressure(checks=1)
    port = Port(room=room)

    assert room.enter(1)
    port.turn(*(body_of(f"u-{n}") for n in range(3)))
    answers = await port.answered()

    assert [body["decision"] for _, body in answers] == ["allow"] * 3


async def test_each_check_of_a_turn_that_the_store_fails_is_decided_and_counted_by_itself() -> None:
    port = Port(a_policy(burst=2))

    async def fails(requests: Sequence[TakeRequest]) -> list[TakeResult | Exception]:
        return [StoreUnavailable("late") if n != 1 else await port.store.take(each) for n, each in enumerate(requests)]

    port.store.take_many = fails  # type: ignore[method-assign]

    port.turn(*(body_of(f"u-{n}") for n in range(4)))
    answers = await port.answered()

    assert [(body["decision"], body["degraded"]) for _, body in answers] == [
        ("allow", ["store"]), ("allow", []), ("allow", ["store"]), ("throttle", ["store"]),
    ]  # fmt: skip
    assert (port.counts.degraded, port.counts.store_errors["unavailable"], sum(port.counts.buckets)) == (3, 3, 4)
