"""`status --forget`: whose acknowledgement is deleted, and for whom it is refused."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

import pytest

from gate.app.operate import Operate
from gate.cli import status
from gate.cli.addresses import Addresses, resolve_addresses
from gate.errors import ControlRefused, OperatorError
from gate.local.free_port import free_port
from gate.ports.boards import Acknowledgement
from gate.stores.memory.boards import MemoryBoardStore
from tests.pages import page

NOON_US = 1_800_000_000_000_000
HERE = resolve_addresses(Path("/var/gate"), redis="redis://10.0.0.5:6379/0", environ={})


class Clock:
    now = NOON_US

    def now_us(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> MemoryBoardStore:
    kept = MemoryBoardStore(clock)

    @asynccontextmanager
    async def operating(_: Addresses) -> AsyncIterator[Operate]:
        yield Operate(kept, lambda: "p-1")

    monkeypatch.setattr(status, "operating", operating)
    return kept


async def silent(store: MemoryBoardStore, clock: Clock, url: str) -> Callable[[], list[str]]:
    """A gate that acknowledged a minute ago; what the store holds now."""
    await store.acknowledge(Acknowledgement("g-1", url, 1, 0, boot="b"))
    clock.now += 60_000_000
    return lambda: sorted(store._gates)


async def test_a_gate_that_is_gone_is_forgotten(store: MemoryBoardStore, clock: Clock) -> None:
    held = await silent(store, clock, f"http://127.0.0.1:{free_port()}")

    await status.forget_gate(HERE, "g-1", yes=True)

    assert held() == []


async def test_without_a_yes_nothing_is_forgotten(
    store: MemoryBoardStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = await silent(store, clock, f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr(status, "confirmed", lambda _: False)

    with pytest.raises(Exception, match="2"):
        await status.forget_gate(HERE, "g-1", yes=False)

    assert held() == ["g-1 b"]


@pytest.mark.parametrize("name", ["g-here", "g-1"])
async def test_a_gate_still_runs_if_it_answers_in_its_own_name(
    name: str, store: MemoryBoardStore, clock: Clock
) -> None:
    """On loopback, the address of another host's gate leads to this host's."""
    with page(lambda _: (200, json.dumps({"gate": name}).encode())) as url:
        held = await silent(store, clock, url)
        with pytest.raises(ControlRefused, match="still runs") if name == "g-1" else nullcontext():
            await status.forget_gate(HERE, "g-1", yes=True)

    assert held() == (["g-1 b"] if name == "g-1" else [])


async def test_a_gate_that_acknowledges_is_not_forgotten(store: MemoryBoardStore, clock: Clock) -> None:
    await store.acknowledge(Acknowledgement("g-1", f"http://127.0.0.1:{free_port()}", 1, 0, boot="b"))

    with pytest.raises(ControlRefused, match="still runs"):
        await status.forget_gate(HERE, "g-1", yes=True)


async def test_a_gate_that_is_cut_off_from_redis_and_answers_is_not_forgotten(
    store: MemoryBoardStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = await silent(store, clock, "http://127.0.0.1:1")
    monkeypatch.setattr(status, "get_json", lambda url, within_s: {"ready": True})

    with pytest.raises(ControlRefused, match="Stop it first"):
        await status.forget_gate(HERE, "g-1", yes=True)

    assert held() == ["g-1 b"]


async def test_a_name_that_nobody_has_is_an_error_with_those_that_are_known(
    store: MemoryBoardStore, clock: Clock
) -> None:
    await silent(store, clock, "http://127.0.0.1:1")

    with pytest.raises(OperatorError, match="Known are: g-1"):
        await status.forget_gate(HERE, "g-2", yes=True)
