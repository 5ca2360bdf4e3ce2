"""The board's watch: push, poll, file and snapshot; whatever fails, the last known board stays in force."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from waiting import eventually

from gate.app.check import Check
from gate.app.watch import Watch
from gate.core.pause.board import Board, Pause
from gate.core.pause.scope import Action, Scope
from gate.core.pseudonym import Pseudonyms
from gate.errors import StateUnreadable, StoreUnavailable
from gate.metrics import Counts
from gate.policyfile import load_policy
from gate.ports.boards import Acknowledgement
from gate.records.break_glass_document import encode_break_glass
from gate.records.pause import encode_board
from gate.stores.disk.break_glass import BreakGlassFile
from gate.stores.disk.snapshot import BoardSnapshot
from gate.stores.local_buckets import LocalBuckets
from gate.stores.memory.accounts import MemoryAccountStore
from gate.stores.memory.boards import MemoryBoardStore

NOW_US = 1_800_000_000_000_000


class Standstill:
    def now_us(self) -> int:
        return NOW_US


class Fragile(MemoryBoardStore):
    """A board store that fails while `error` is set."""

    error: Exception | None = None

    async def read(self) -> Board:
        if self.error is not None:
            raise self.error
        return await super().read()

    async def acknowledge(self, said: Acknowledgement) -> int:
        if isinstance(self.error, StoreUnavailable):
            raise self.error
        return await super().acknowledge(said)


def a_pause(id_: str = "p-1", rev: int = 1) -> Pause:
    return Pause(id_, rev, Scope(), Action.STOP, "raid", "text", "ann", NOW_US - 1, NOW_US + 60_000_000)


def board_of(*pauses: Pause) -> Board:
    return Board({pause.id: pause for pause in pauses})


class Bench:
    """A watch with its check, its store and what it said."""

    def __init__(self, state: Path, poll_s: float = 0.01) -> None:
        self.said: list[str] = []
        self.store = Fragile(Standstill())
        accounts = MemoryAccountStore(Standstill())
        self.check = Check(
            load_policy(None), accounts, Standstill(), Pseudonyms(b"salt"), Counts(), time.perf_counter_ns, LocalBuckets
        )
        self.snapshot, self.glass = state / "state" / "board.json", state / "break-glass.json"
        said = Acknowledgement("gate-1", "http://gate", 0, 0, boot="b-1")
        snapshot, glass = BoardSnapshot(self.snapshot), BreakGlassFile(self.glass)
        self.watch = Watch(self.check, self.store, Standstill(), said, snapshot, glass, self.said.append, poll_s)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.watch.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_a_pause_is_obeyed_acknowledged_and_kept_on_disk(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async with bench.running():
        await bench.store.replace(0, board_of(a_pause(rev=7)))
        await eventually(lambda: bench.check.board.pauses)
        await eventually(bench.snapshot.exists)

        async def acknowledged() -> bool:
            return [said.rev for said in (await bench.store.gates(1_000_000)).acknowledgements] == [7]

        await eventually(acknowledged)

    kept = BoardSnapshot(bench.snapshot).read()
    assert kept is not None
    assert kept.rev == 7


async def test_a_push_alone_is_enough(tmp_path: Path) -> None:
    bench = Bench(tmp_path, poll_s=3600)

    async with bench.running():
        await eventually(lambda: bench.store._listeners)
        await eventually(lambda: bench.watch.ever_read)
        await bench.store.replace(0, board_of(a_pause()))
        await eventually(lambda: bench.check.board.pauses)


async def test_a_gate_that_can_reach_nobody_starts_from_its_snapshot(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.snapshot.parent.mkdir()
    bench.snapshot.write_bytes(encode_board(board_of(a_pause())))
    bench.store.error = StoreUnavailable("down")

    bench.watch.start_from_disk()
    async with bench.running():
        await eventually(lambda: bench.said)

    assert "p-1" in bench.check.board.pauses
    assert not bench.watch.reachable


async def test_a_ruined_snapshot_is_counted_and_the_gate_starts_without_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.snapshot.parent.mkdir()
    bench.snapshot.write_bytes(b'{"pauses":')

    bench.watch.start_from_disk()

    assert bench.check.counts.board_unreadable == 1
    assert "starting without it" in bench.said[0]


async def test_an_outage_is_told_once_and_so_is_its_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await bench.store.replace(0, board_of(a_pause()))

    async with bench.running():
        await eventually(lambda: bench.check.board.pauses)
        bench.store.error = StoreUnavailable("down")
        await eventually(lambda: not bench.watch.reachable)
        bench.store.error = None
        await eventually(lambda: bench.watch.reachable)

    assert [("does not answer" in said, "answers again" in said) for said in bench.said] == [
        (True, False),
        (False, True),
    ]
    assert "p-1" in bench.check.board.pauses


async def test_unreadable_state_keeps_the_last_good_board_and_counts(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await bench.store.replace(0, board_of(a_pause()))

    async with bench.running():
        await eventually(lambda: bench.check.board.pauses)
        bench.store.error = StateUnreadable("not a board")
        await eventually(lambda: bench.check.counts.board_unreadable >= 2)

    assert "p-1" in bench.check.board.pauses
    assert len(bench.said) == 1


async def test_what_the_store_has_lost_is_written_back(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await bench.store.replace(0, board_of(a_pause("p-1", 1), a_pause("p-2", 2)))

    async with bench.running():
        await eventually(lambda: len(bench.check.board.pauses) == 2)
        await bench.store.replace(2, board_of(a_pause("p-1", 1)))

        async def restored() -> bool:
            return "p-2" in (await bench.store.read()).pauses

        await eventually(restored)

    assert any("written back" in said for said in bench.said)


async def test_a_release_arrives_like_a_pause_and_an_old_copy_does_not_revive_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    released = replace(a_pause(rev=2), released_at_us=NOW_US, released_by="ann")

    async with bench.running():
        await bench.store.replace(0, board_of(released))
        await eventually(lambda: bench.watch.board.rev == 2)
        await bench.store.replace(2, board_of(a_pause(rev=1)))

        async def restored() -> bool:
            return (await bench.store.read()).rev == 2

        await eventually(restored)

    assert bench.watch.board.active(NOW_US) == []


async def test_the_break_glass_file_is_obeyed_kept_when_ruined_and_dropped_when_removed(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async with bench.running():
        bench.glass.write_bytes(encode_break_glass([a_pause("glass")]))
        await eventually(lambda: bench.check.board.break_glass)
        bench.glass.write_bytes(b"{")
        await eventually(lambda: bench.check.counts.board_unreadable == 1)
        assert [pause.id for pause in bench.check.board.break_glass] == ["glass"]
        bench.glass.unlink()
        await eventually(lambda: not bench.check.board.break_glass)


async def test_live_gates_are_counted_so_that_local_buckets_know_their_share(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await bench.store.acknowledge(Acknowledgement("gate-2", "http://other", 0, 0))

    async with bench.running():
        await eventually(lambda: bench.check.instances == 2)
