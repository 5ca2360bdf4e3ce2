"""Gates that Redis no longer hears are asked over HTTP, against real servers."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from gate.app.converge import Convergence, GateResult, GateState
from gate.app.operate import Operate
from gate.cli import drill
from gate.cli.addresses import resolve_addresses
from gate.cli.in_threads import in_threads
from gate.cli.obedience import convergence_json, query_unheard
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, Scope
from gate.errors import NotConverged
from gate.local.free_port import free_port
from gate.ports.boards import Acknowledgement
from gate.records.pause import fingerprint
from gate.stores.memory.boards import MemoryBoardStore
from tests.pages import page
from tests.waiting import eventually

CHANGE = Pause("p-1", 7, Scope(), Action.STOP, "raid", "", "ann", None, 2_000_000_000_000_000)


class Clock:
    at_us = 1_800_000_000_000_000

    def now_us(self) -> int:
        return self.at_us


@contextmanager
def answering(body: object) -> Iterator[str]:
    with page(lambda _: (200, json.dumps(body).encode())) as url:
        yield url


LIVE = GateResult(Acknowledgement("g-live", "http://g-live", 7, 0), GateState.OBEYS, 0.01)


def of(gate: str, digest: str, latest: list[str], **more: object) -> dict[str, object]:
    """The page of a gate that decides by the board of this digest."""
    return {
        "gate": gate,
        "board_digest": digest,
        "board_latest": latest,
        "board_lifted": [],
        "board_on_disk": True,
    } | more


def unheard(name: str, url: str) -> GateResult:
    return GateResult(Acknowledgement(name, url, 6, 0), GateState.UNHEARD)


def waited(*quiet: GateResult) -> Convergence:
    return Convergence(CHANGE, (LIVE,), unheard=quiet, seconds=0.02, accepted=frozenset(("d-7", "p-1@7")))


async def test_a_gate_that_decides_by_an_old_board_does_not_obey() -> None:
    with answering(of("g-old", "d-6", ["p-0@6"])) as old, answering(of("g-new", "d-8", ["p-1@7"])) as new:
        result, quiet = await query_unheard(waited(unheard("g-old", old), unheard("g-new", new)), 0.0)

    assert [(gate.said.gate, gate.obeys) for gate in result.gates] == [
        ("g-live", True),
        ("g-new", True),
        ("g-old", False),
    ]
    assert not result.complete
    assert quiet == []


async def test_a_gate_that_holds_the_pause_and_whose_hosts_file_lifts_it_does_not_obey() -> None:
    with answering(of("g-lifts", "d-7", ["p-1@7"], board_lifted=[CHANGE.id])) as url:
        result, _ = await query_unheard(waited(unheard("g-lifts", url)), 0.0)

    assert [(gate.said.gate, gate.obeys) for gate in result.gates] == [("g-lifts", False), ("g-live", True)]


async def test_another_gate_at_the_same_address_does_not_obey_for_it() -> None:
    """Gates of two hosts listen on loopback, so both have the address at which this host's gate answers."""
    with answering(of("g-here", "d-7", ["p-1@7"])) as url:
        result, quiet = await query_unheard(
            waited(unheard("g-elsewhere", url)), 0.0, [Acknowledgement("g-lapsed", url, 6, 0)]
        )

    assert result.gates == (LIVE,)
    assert [gate.gate for gate in quiet] == ["g-elsewhere"]


async def test_a_gate_that_has_the_pause_and_takes_it_for_ended_does_not_obey() -> None:
    ends_us = CHANGE.expires_at_us
    at_noon = replace(waited(), now_us=ends_us - 3_600_000_000)
    with (
        answering(of("g-ahead", "d-7", ["p-1@7"], store_us=ends_us)) as ahead,
        answering(of("g-right", "d-7", ["p-1@7"], store_us=ends_us - 3_600_000_000)) as right,
    ):
        quiet = (unheard("g-ahead", ahead), unheard("g-right", right))
        result, _ = await query_unheard(replace(at_noon, unheard=quiet), 0.0)

    assert [(gate.said.gate, gate.obeys) for gate in result.gates if gate != LIVE] == [
        ("g-ahead", False),
        ("g-right", True),
    ]


async def test_a_gate_that_obeys_in_memory_only_is_reported_as_such() -> None:
    with answering(of("g-full", "d-7", ["p-1@7"], board_on_disk=False)) as url:
        result, _ = await query_unheard(waited(unheard("g-full", url)), 0.0)

    assert [gate.said.gate for gate in result.not_on_disk] == ["g-full"]
    assert convergence_json(result, ())["gates"][0]["on_disk"] is False  # type: ignore[index]


async def test_a_gate_that_does_not_answer_is_reported() -> None:
    with answering({"hello": "world"}) as other:
        result, quiet = await query_unheard(
            waited(unheard("g-gone", f"http://127.0.0.1:{free_port()}"), unheard("g-other", other)), 0.0
        )

    assert result.complete
    assert [gate.gate for gate in quiet] == ["g-gone", "g-other"]


async def test_a_gate_that_obeys_a_moment_later_is_queried_until_it_does() -> None:
    """Its store has just come back empty, so the gate reads the change only now."""
    pages = iter([of("g-late", "d-6", ["p-0@6"])] * 2)
    new_page = of("g-late", "d-7", ["p-1@7"])
    with page(lambda _: (200, json.dumps(next(pages, new_page)).encode())) as url:
        result, quiet = await query_unheard(waited(unheard("g-late", url)), 60.0)

    late = result.gates[0]
    assert (late.said.gate, late.obeys) == ("g-late", True)
    assert result.complete
    assert late.seconds == result.seconds
    assert quiet == []


async def test_a_gate_that_was_silent_for_more_than_five_minutes_counts_if_it_still_decides() -> None:
    """Cut off from every channel it lets in what the pause should stop; one that does not answer is gone."""
    with answering(of("g-cut-off", "d-6", ["p-0@6"])) as old:
        silent = [
            Acknowledgement("g-cut-off", old, 6, 0),
            Acknowledgement("g-gone", f"http://127.0.0.1:{free_port()}", 6, 0),
            Acknowledgement("g-live", old, 6, 0),
        ]
        result, quiet = await query_unheard(waited(), 0.0, silent)

    assert [(gate.said.gate, gate.obeys) for gate in result.gates] == [("g-cut-off", False), ("g-live", True)]
    assert not result.complete
    assert quiet == []


async def test_every_gate_that_was_silent_is_queried_however_many_there_are() -> None:
    queried: set[str] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        queried.add((await reader.readuntil(b"\r\n\r\n")).split(b"/")[1].decode())
        writer.close()

    names = {f"g-{n:03}" for n in range(150)}
    async with await asyncio.start_server(answer, "127.0.0.1", 0, backlog=512) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        silent = [Acknowledgement(name, f"{url}/{name}", 6, 0) for name in names]
        lately = [unheard(name, f"{url}/{name}") for name in ("h-0", "h-1")]
        _, quiet = await query_unheard(waited(*lately), 0.0, silent)
        await eventually(lambda: queried == names | {"h-0", "h-1"})

    assert [said.gate for said in quiet] == ["h-0", "h-1"]


async def test_so_many_calls_as_may_run_at_once_and_one_that_does_not_end_holds_up_none() -> None:
    lock, running, most = threading.Lock(), 0, 0
    both, never = threading.Barrier(2), threading.Event()

    def counted() -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        both.wait()  # two at a time, or none goes on
        with lock:
            running -= 1
        return 1

    results = await in_threads([counted] * 20, 2, 60.0)
    late = await in_threads([never.wait, lambda: True], 1, 0.01)
    never.set()

    assert results == [1] * 20
    assert most == 2
    assert late == [None, True]


async def test_a_drill_fails_at_a_gate_that_was_silent_and_still_decides_as_a_pause_does() -> None:
    clock = Clock()
    store = MemoryBoardStore(clock)
    operate = Operate(store, lambda: "p-1")
    with answering(of("g-cut-off", "d-6", ["p-0@6"])) as url:
        await store.acknowledge(Acknowledgement("g-cut-off", url, 6, 0, boot="b-1"))
        clock.at_us += 10 * 60_000_000
        change = await operate.pause(Scope(frozenset(("canary",))), Action.STOP, "drill", "", "ann", 60_000_000)
        obeys = Acknowledgement("g-live", "http://g-live", change.rev, 0, latest=(fingerprint(change),))
        await store.acknowledge(obeys)

        with pytest.raises(NotConverged, match=r"1 of 2 gates .*g-cut-off"):
            await drill._obeyed("the drill", change, operate, resolve_addresses(environ={}))


async def test_the_lapsed_gates_are_those_of_the_last_hour_that_neither_left_nor_came_back() -> None:
    clock = Clock()
    store = MemoryBoardStore(clock)
    await store.acknowledge(Acknowledgement("g-long-gone", "http://g", 1, 0, boot="b-1"))
    clock.at_us += 59 * 60_000_000
    for gate, boot, left in (("g-cut-off", "b-1", False), ("g-left", "b-1", True), ("g-back", "b-1", False)):
        await store.acknowledge(Acknowledgement(gate, "http://g", 1, 0, boot=boot, left=left))
    clock.at_us += 10 * 60_000_000
    await store.acknowledge(Acknowledgement("g-back", "http://g", 1, 0, boot="b-2"))

    silent = await Operate(store, lambda: "p-1").lapsed_gates()

    assert [said.gate for said in silent] == ["g-cut-off"]
