"""The board's watch: push, poll, file and snapshot; whatever fails, the last known board stays in force."""

import asyncio
import errno
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gate.app import board_in_force, obey_break_glass
from gate.app.board_in_force import BoardInForce
from gate.app.check import Check
from gate.app.converge import converged
from gate.app.store_clock import StoreClock
from gate.app.watch import Watch
from gate.core.account import Account
from gate.core.decision import Verdict
from gate.core.duration import DAY_US
from gate.core.media import Media
from gate.core.pause.board import Board, UnreadablePause
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, Scope
from gate.core.policy import PausesUnknown
from gate.core.pseudonym import Pseudonyms
from gate.core.request import CheckRequest
from gate.errors import StateUnreadable, StoreUnavailable
from gate.metrics import Counts
from gate.policyfile import load_policy
from gate.ports.boards import Acknowledgement, Gates
from gate.ports.clock import ClockMark
from gate.records.board_document import encode_board
from gate.records.break_glass_document import BreakGlass
from gate.records.gate import decode_gate, encode_gate
from gate.serve.health import Health
from gate.stores.disk.break_glass import BreakGlassFile
from gate.stores.disk.snapshot import BoardSnapshot
from gate.stores.local_buckets import LocalBuckets
from gate.stores.memory.accounts import MemoryAccountStore
from gate.stores.memory.boards import MemoryBoardStore
from tests.waiting import eventually

NOW_US = 1_800_000_000_000_000


class Standstill:
    def __init__(self, at_us: int = NOW_US) -> None:
        self.at_us = at_us

    def now_us(self) -> int:
        return self.at_us


class Fragile(MemoryBoardStore):
    """A board store that fails while `error` is set, takes no acknowledgements while `deaf`, and notes what it took."""

    error: Exception | None = None
    deaf = False

    def __init__(self, clock: Standstill) -> None:
        super().__init__(clock)
        self.taken: list[Acknowledgement] = []
        self.at_acknowledging: Callable[[], None] = lambda: None
        self.read_gates = 0

    async def gates(self, within_us: int, process: str | None = None) -> Gates:
        self.read_gates += 1
        return await super().gates(within_us, process)

    async def read(self) -> Board:
        if self.error is not None:
            raise self.error
        return await super().read()

    async def acknowledge(self, said: Acknowledgement) -> int:
        if isinstance(self.error, StoreUnavailable):
            raise self.error
        if self.deaf:
            raise StoreUnavailable("it takes no acknowledgement")
        self.at_acknowledging()
        self.taken.append(said)
        return await super().acknowledge(said)


def a_pause(id_: str = "p-1", rev: int = 1) -> Pause:
    return Pause(id_, rev, Scope(), Action.STOP, "raid", "text", "ann", NOW_US - 1, NOW_US + 60_000_000)


def at_once(id_: str = "p-1", rev: int = 1, for_us: int = 600_000_000) -> Pause:
    """A pause as the command sets it: without a start, by the store's clock."""
    return Pause(id_, rev, Scope(), Action.STOP, "raid", "", "ann", None, NOW_US + for_us, set_at_us=NOW_US)


def an_upload() -> CheckRequest:
    return CheckRequest("u-1", Account("a-1", None), Media("image", None))


def board_of(*pauses: Pause) -> Board:
    return Board({pause.id: pause for pause in pauses})


class Disk(BoardSnapshot):
    """A snapshot that notes what was written, and writes slowly or fails where it is told to."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.written: list[int] = []
        self.writing = 0
        self.most_at_once = 0
        self.error: OSError | None = None
        self.hold: threading.Event | None = None

    def write(self, board: Board, clock: ClockMark | None = None) -> None:
        self.writing += 1
        self.most_at_once = max(self.most_at_once, self.writing)
        try:
            if self.hold is not None:
                self.hold.wait(10)
            if self.error is not None:
                raise self.error
            super().write(board, clock)
            self.written.append(board.rev)
        finally:
            self.writing -= 1


class Bench:
    """A watch with its check, its store and what it said."""

    def __init__(self, state: Path, poll_s: float = 0.01, ahead_us: int = 0) -> None:
        self.said: list[str] = []
        self.servers, self.clock = Standstill(), Standstill(NOW_US + ahead_us)
        self.store = Fragile(self.servers)
        accounts = MemoryAccountStore(self.servers)
        self.check = Check(
            load_policy(None), accounts, self.clock, Pseudonyms(b"salt"), Counts(), time.perf_counter_ns, LocalBuckets
        )
        self.snapshot, self.glass = state / "state" / "board.json", state / "break-glass.json"
        said = Acknowledgement("gate-1", "http://gate", 0, 0, boot="b-1")
        self.disk = Disk(self.snapshot)
        self.watch = Watch(
            self.check, self.store, self.clock, said, self.disk, BreakGlassFile(self.glass), self.said.append, poll_s
        )

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

    assert [("does not return the pauses" in said, "returns the pauses again" in said) for said in bench.said] == [
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

    assert any("had lost pauses" in said for said in bench.said)


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


async def test_a_gate_acknowledges_which_pauses_its_hosts_file_lifts(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await bench.store.replace(0, board_of(a_pause()))
    async with bench.running():
        await eventually(lambda: bench.store.taken)
        before = bench.store.taken[-1]

        bench.glass.write_bytes(b'{"pauses":[],"releases":["p-1","p-elsewhere"]}')
        await eventually(lambda: bench.store.taken[-1].lifted)

    after = decode_gate(encode_gate(bench.store.taken[-1]), NOW_US)
    assert (before.lifted, after.lifted) == ((), ("p-1",))
    assert after.digest == before.digest
    health = Health(bench.check, bench.watch, Standstill(), lambda: 0, lambda: None)
    assert [pause.id for pause in bench.watch.board.active(NOW_US)] == ["p-1"]
    assert health.gauges().pauses_active == 0


async def test_a_change_of_one_of_many_lifted_pauses_is_not_taken_for_obeyed(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    pauses = [a_pause(f"p-{n:03}", n + 1) for n in range(2 * board_in_force.LATEST)]
    extended = replace(pauses[-1], rev=len(pauses) + 1, expires_at_us=NOW_US + 120_000_000)
    bench.glass.write_bytes(json.dumps({"pauses": [], "releases": [pause.id for pause in pauses]}).encode())
    await bench.store.replace(0, board_of(*pauses))

    async with bench.running():
        await eventually(lambda: bench.store.taken and bench.store.taken[-1].lifted)
        await bench.store.replace(len(pauses), board_of(*pauses[:-1], extended))
        await eventually(lambda: bench.store.taken[-1].rev == extended.rev)
        result = await converged(bench.store, extended, 0.0)

    assert len(bench.store.taken[-1].lifted) == board_in_force.LATEST
    assert not result.complete


async def test_the_break_glass_file_is_obeyed_kept_when_ruined_and_dropped_when_removed(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async with bench.running():
        bench.glass.write_bytes(encode_board(board_of(a_pause("glass"))))
        await eventually(lambda: bench.check.board.break_glass)
        bench.glass.write_bytes(b"{")
        await eventually(lambda: bench.check.counts.board_unreadable == 1)
        assert [pause.id for pause in bench.check.board.break_glass] == ["glass"]
        (problem,) = bench.watch.break_glass_problems
        assert "cannot be read, its last good state is kept" in problem
        bench.glass.unlink()
        await eventually(lambda: not bench.check.board.break_glass)
        assert bench.watch.break_glass_problems == ()
        assert any("is removed or empty: no pause of it is in force" in line for line in bench.said)


async def test_pauses_of_the_break_glass_file_stay_in_force_while_an_editor_renames_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.glass.write_bytes(encode_board(board_of(a_pause("glass"))))
    bench.watch.start_from_disk()
    backup = bench.glass.rename(tmp_path / "backup")

    await bench.watch._read_file()
    in_the_moment = [pause.id for pause in bench.check.board.break_glass]
    backup.rename(bench.glass)
    await bench.watch._read_file()

    assert in_the_moment == ["glass"]
    assert [pause.id for pause in bench.check.board.break_glass] == ["glass"]


class HangingFile(BreakGlassFile):
    """A break-glass file on a disk that does not answer until `answers` is set."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.answers = threading.Event()
        self.reads = 0

    def changed(self) -> BreakGlass | None:
        self.reads += 1
        assert self.answers.wait(10)
        return super().changed()


async def test_a_disk_that_hangs_under_the_break_glass_file_holds_up_nothing_and_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(obey_break_glass, "LOOK_WITHIN_S", 0.01)
    bench, path = Bench(tmp_path), tmp_path / "glass.json"
    file = HangingFile(path)
    path.write_bytes(encode_board(board_of(a_pause("glass"))))
    bench.watch._break_glass._file = file

    for _ in range(3):
        await bench.watch._read_file()
    reads, hanging = file.reads, bench.watch.break_glass_problems
    file.answers.set()
    await eventually_read(bench, lambda: bench.check.board.break_glass)

    assert reads == 1
    assert "cannot be read, its last good state is kept: the disk does not answer" in hanging[0]
    assert bench.said[0] == hanging[0]
    assert bench.watch.break_glass_problems == ()
    assert bench.check.counts.board_unreadable == 1


async def eventually_read(bench: Bench, obeyed: Callable[[], object]) -> None:
    async def read() -> object:
        await bench.watch._read_file()
        return obeyed()

    await eventually(read)


async def test_a_break_glass_file_that_could_not_be_opened_is_no_problem_once_it_is_removed(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.glass.mkdir()
    bench.watch.start_from_disk()
    before = bench.watch.break_glass_problems
    bench.glass.rmdir()

    async with bench.running():
        await eventually(lambda: not bench.watch.break_glass_problems)

    assert len(before) == 1


async def test_what_cannot_be_read_is_shown_for_as_long_as_that_is_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    health = Health(bench.check, bench.watch, bench.clock, lambda: 0, lambda: None)

    async with bench.running():
        bench.glass.write_bytes(b"{")
        await eventually(lambda: health.gauges().board_unreadable_parts == 1)
        bench.store.error = StateUnreadable("it is ruined")
        await eventually(lambda: health.gauges().board_unreadable_parts == 2)
        bench.store.error = None
        await eventually(lambda: health.gauges().board_unreadable_parts == 1)
        bench.glass.unlink()
        await eventually(lambda: health.gauges().board_unreadable_parts == 0)

    assert b"upload_gate_board_unreadable_parts 0.0" in health.metrics()[1]


@pytest.mark.parametrize(("left_us", "parts"), [(1, 1), (0, 0), (None, 0)])
async def test_an_entry_that_cannot_be_read_is_shown_until_it_expires(
    tmp_path: Path, left_us: int | None, parts: int
) -> None:
    bench = Bench(tmp_path)
    expires_us = None if left_us is None else NOW_US + left_us

    await bench.watch.hear_elsewhere(Board(unreadable=(UnreadablePause(b"{}", "why", "p-1", 1, expires_us),)))

    assert bench.watch.unreadable_parts == parts


async def test_a_gate_to_which_nothing_is_pushed_says_so_once_and_does_not_take_its_store_for_away(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path)
    tried = 0

    async def refused() -> AsyncIterator[Board]:
        nonlocal tried
        tried += 1
        raise StoreUnavailable("NOPERM no permissions to access the channel")
        yield Board()

    bench.store.changes = refused  # type: ignore[method-assign]

    async with bench.running():
        await eventually(lambda: tried > 20)
        reachable = bench.watch.reachable

    assert reachable
    assert bench.said == [
        "Redis pushes no changes of the pauses to this gate (NOPERM no permissions to access the channel); it reads them "
        "every 0.01 s"
    ]


async def test_a_fault_beside_the_break_glass_file_is_not_said_of_redis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path)

    def broken() -> None:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(bench.watch._break_glass, "_look", broken)

    async with bench.running():
        await eventually(lambda: bench.said)

    assert bench.said[0] == "the break-glass file cannot be followed: ZeroDivisionError: a fault"
    assert bench.check.counts.faults["watch"] >= 1


def with_policy(bench: Bench, pauses_unknown: PausesUnknown) -> Bench:
    bench.check.policy = replace(bench.check.policy, pauses_unknown=pauses_unknown)
    return bench


@pytest.mark.parametrize(
    ("mode", "verdict"), [(PausesUnknown.OPEN, Verdict.ALLOW), (PausesUnknown.STOP, Verdict.PAUSED)]
)
async def test_the_policy_says_what_a_gate_does_that_nobody_tells_the_pauses(
    tmp_path: Path, mode: PausesUnknown, verdict: Verdict
) -> None:
    bench = with_policy(Bench(tmp_path), mode)
    bench.store.error = StoreUnavailable("down")
    bench.watch.start_from_disk()

    async with bench.running():
        await bench.watch.first_read()
        before = await bench.check.check(an_upload())
        known, proof = bench.watch.pauses_known, bench.watch.proof()
        bench.store.error = None  # it tells an empty board
        await eventually(lambda: bench.watch.pauses_known)
        after = await bench.check.check(an_upload())

    assert (before.verdict, after.verdict) == (verdict, Verdict.ALLOW)
    assert not known
    assert proof == BoardInForce(bench.check, bench.clock).proof()  # it acknowledges what it knows, and that is nothing
    assert any(line.endswith(f"until one does: pauses_unknown = {mode}") for line in bench.said)


async def test_a_gate_that_holds_uploads_goes_on_until_it_learns_of_the_pauses_and_tells_a_short_wait(
    tmp_path: Path,
) -> None:
    bench = with_policy(Bench(tmp_path), PausesUnknown.STOP)
    bench.store.error = StoreUnavailable("down")
    bench.watch.start_from_disk()
    held = []

    for _ in range(5):
        held.append(await bench.check.check(an_upload()))
        bench.clock.at_us += 29_000_000
        await bench.watch._read_file()

    assert [each.verdict for each in held] == [Verdict.PAUSED] * 5
    assert all(each.retry_after_us is not None and each.retry_after_us <= 60_000_000 for each in held)
    assert bench.check.board.pauses == {}


async def test_a_gate_that_starts_from_a_snapshot_or_hears_the_second_channel_holds_nothing_more(
    tmp_path: Path,
) -> None:
    bench, other = (with_policy(Bench(tmp_path / name), PausesUnknown.STOP) for name in ("a", "b"))
    bench.snapshot.parent.mkdir(parents=True)
    bench.snapshot.write_bytes(encode_board(Board()))

    bench.watch.start_from_disk()
    other.watch.start_from_disk()
    first = await other.check.check(an_upload())
    await other.watch.hear_elsewhere(Board())

    assert (await bench.check.check(an_upload())).verdict is Verdict.ALLOW
    assert first.verdict is Verdict.PAUSED
    assert (await other.check.check(an_upload())).verdict is Verdict.ALLOW


async def test_a_changed_policy_lets_uploads_in_where_the_pauses_are_unknown(tmp_path: Path) -> None:
    bench = with_policy(Bench(tmp_path), PausesUnknown.STOP)
    bench.watch.start_from_disk()
    before = await bench.check.check(an_upload())

    with_policy(bench, PausesUnknown.OPEN)
    await bench.watch._read_file()

    assert before.verdict is Verdict.PAUSED
    assert (await bench.check.check(an_upload())).verdict is Verdict.ALLOW


async def test_live_gates_are_counted_so_that_local_buckets_know_their_share(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await bench.store.acknowledge(Acknowledgement("gate-2", "http://other", 0, 0))

    async with bench.running():
        await eventually(lambda: bench.check.instances == 2)


async def test_a_board_is_acknowledged_only_once_it_is_on_disk(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    kept: list[int] = []
    bench.store.at_acknowledging = lambda: kept.append(bench.disk.written[-1])

    async with bench.running():
        for rev in range(1, 6):
            await bench.store.replace(rev - 1, board_of(a_pause(f"p-{rev}", rev)))
            await eventually(lambda rev=rev: bench.store.taken and bench.store.taken[-1].rev == rev)  # type: ignore[misc]

    assert all(on_disk >= said.rev for on_disk, said in zip(kept, bench.store.taken, strict=True))
    assert all(said.on_disk for said in bench.store.taken)


async def test_a_board_that_cannot_be_acknowledged_is_kept_and_acknowledged_later_though_it_did_not_change(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path)
    bench.store.deaf = True

    async with bench.running():
        await bench.store.replace(0, board_of(a_pause(rev=7)))
        await eventually(lambda: 7 in bench.disk.written)
        await eventually(lambda: any("cannot be acknowledged" in said for said in bench.said))
        acknowledged = [bench.watch.acknowledges]
        bench.store.deaf = False
        await eventually(lambda: [said.rev for said in bench.store.taken[-1:]] == [7])
        await eventually(lambda: bench.watch.acknowledges)

    assert acknowledged == [False]
    assert sum("cannot be acknowledged" in said for said in bench.said) == 1
    assert not any("does not return" in said for said in bench.said)


async def test_push_and_poll_at_once_never_write_at_once_and_the_newest_board_is_written_last(tmp_path: Path) -> None:
    bench = Bench(tmp_path, poll_s=0.001)
    bench.disk.hold = threading.Event()

    async with bench.running():
        await eventually(lambda: bench.store._listeners and bench.disk.writing)
        for rev in range(1, 30):
            await bench.store.replace(rev - 1, board_of(a_pause(f"p-{rev}", rev)))
        await eventually(lambda: bench.check.board.rev == 29)
        bench.disk.hold.set()
        await eventually(lambda: bench.store.taken and bench.store.taken[-1].rev == 29)
        await eventually(lambda: bench.disk.written[-1:] == [29])

    assert bench.disk.most_at_once == 1
    assert not any("does not return" in said for said in bench.said)
    assert bench.disk.written == sorted(bench.disk.written)
    kept = bench.disk.read()
    assert kept is not None
    assert kept.rev == 29


async def test_a_gate_whose_disk_is_full_obeys_says_so_once_and_acknowledges_that_it_does_not_keep(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path)
    bench.disk.error = OSError(errno.ENOSPC, "No space left on device")

    async with bench.running():
        await bench.store.replace(0, board_of(a_pause(rev=7)))
        await eventually(lambda: len([said for said in bench.store.taken if said.rev == 7]) >= 3)
        full = [said.on_disk for said in bench.store.taken]
        board = await bench.store.read()
        result = await converged(bench.store, board.pauses["p-1"], 1.0)
        bench.disk.error = None
        await eventually(lambda: bench.store.taken[-1].on_disk)

    assert not any(full)
    assert (result.complete, [gate.said.gate for gate in result.not_on_disk]) == (True, ["gate-1"])
    assert ["No space left" in said for said in bench.said] == [True, False]
    assert "again" in bench.said[1]


async def test_a_disk_that_hangs_holds_up_no_acknowledgement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_in_force, "KEEP_WITHIN_S", 0.05)
    bench = Bench(tmp_path)
    bench.disk.hold = threading.Event()

    async with bench.running():
        await bench.store.replace(0, board_of(a_pause(rev=7)))
        await eventually(lambda: [said.on_disk for said in bench.store.taken if said.rev == 7])
        hanging = [said.on_disk for said in bench.store.taken]
        bench.disk.hold.set()
        await eventually(lambda: bench.store.taken[-1].on_disk)

    assert not any(hanging)
    assert bench.disk.most_at_once == 1
    assert bench.disk.written[-1] == 7


@pytest.mark.parametrize(
    "ahead_us", [-30 * DAY_US, -3_600_000_000, -4_000_000, 0, 4_000_000, 3_600_000_000, 30 * DAY_US]
)
async def test_what_is_acknowledged_is_obeyed_whatever_the_gates_clock_says(tmp_path: Path, ahead_us: int) -> None:
    bench = Bench(tmp_path, ahead_us=ahead_us)
    pause = at_once()
    when_acknowledged: list[str] = []

    def judge() -> None:
        active = bench.check.board.active(bench.clock.now_us())
        when_acknowledged.append(", ".join(found.id for found in active))

    bench.store.at_acknowledging = judge
    await bench.store.replace(0, board_of(pause, at_once("p-2", 2, 1_000_000)))
    async with bench.running():
        await eventually(lambda: bench.store.taken)
        during = (await bench.check.check(an_upload())).pause
        acknowledged = set(when_acknowledged)
        for clock in (bench.servers, bench.clock):
            clock.at_us += pause.expires_at_us - NOW_US - 1
        before_the_end = (await bench.check.check(an_upload())).pause
        for clock in (bench.servers, bench.clock):
            clock.at_us += 1
        after = (await bench.check.check(an_upload())).pause

    assert acknowledged == {"p-1, p-2"}
    assert (during, before_the_end, after) == ("p-1", "p-1", None)


async def test_a_scheduled_pause_begins_by_the_stores_clock(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ahead_us=3_600_000_000)
    scheduled = replace(at_once(), starts_at_us=NOW_US + 60_000_000)

    async with bench.running():
        await bench.store.replace(0, board_of(scheduled))
        await eventually(lambda: bench.store.taken and bench.store.taken[-1].rev == 1)
        before = (await bench.check.check(an_upload())).pause
        for clock in (bench.servers, bench.clock):
            clock.at_us += 60_000_000
        after = (await bench.check.check(an_upload())).pause

    assert (before, after) == (None, "p-1")


async def test_a_clock_that_is_set_while_the_gate_runs_is_noticed(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async with bench.running():
        await bench.store.replace(0, board_of(at_once()))
        await eventually(lambda: bench.store.taken and bench.store.taken[-1].rev == 1)
        bench.clock.at_us += 3_600_000_000

        async def obeyed_again() -> bool:
            return (await bench.check.check(an_upload())).pause == "p-1"

        await eventually(obeyed_again)


async def test_an_unreadable_board_is_repaired_from_the_last_good_one_and_kept_aside(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await bench.store.replace(0, board_of(a_pause()))

    async with bench.running():
        await eventually(lambda: bench.check.board.pauses)
        bench.store.put_document(b"garbage")

        async def repaired() -> bool:
            return bench.store.aside is not None and "p-1" in (await bench.store.read()).pauses

        await eventually(repaired)

    assert bench.store.aside == b"garbage"
    assert bench.check.counts.board_unreadable >= 1
    assert ["cannot be read" in bench.said[0], "are replaced by revision 1" in bench.said[1]] == [True, True]


async def test_a_gate_that_knows_no_good_board_repairs_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.store.put_document(b"garbage")

    async with bench.running():
        await eventually(lambda: bench.check.counts.board_unreadable >= 3)

    assert bench.store.aside is None


async def test_a_gate_that_knows_its_board_from_the_second_channel_alone_repairs_the_store(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.store.put_document(b"garbage")

    async with bench.running():
        await eventually(lambda: bench.check.counts.board_unreadable >= 3)
        await bench.watch.hear_elsewhere(board_of(at_once()))
        await eventually(lambda: bench.store.aside is not None)

    assert bench.store.aside == b"garbage"
    assert sorted((await bench.store.read()).pauses) == ["p-1"]


async def test_a_gate_that_started_from_its_snapshot_repairs_the_store(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.disk.write(board_of(a_pause()))
    bench.store.put_document(b"garbage")

    bench.watch.start_from_disk()
    async with bench.running():
        await eventually(lambda: bench.store.aside)

    assert "p-1" in (await bench.store.read()).pauses


async def test_a_pause_that_this_gate_cannot_read_is_told_and_counted_once_and_passed_on(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    newer = {"id": "p-2", "rev": 2, "scope": {"ages": ["1d"]}}
    document = json.loads(encode_board(board_of(a_pause())))
    document["pauses"].append(newer)
    bench.store.put_document(json.dumps(document).encode())

    async with bench.running():
        await eventually(lambda: len(bench.store.taken) >= 5)
        await bench.store.replace(2, Board())

        async def passed_on() -> bool:
            return [entry.id for entry in (await bench.store.read()).unreadable] == ["p-2"]

        await eventually(passed_on)

    assert bench.check.counts.board_unreadable == 1
    assert sum("pause p-2 cannot be read" in said for said in bench.said) == 1
    assert bench.store.taken[-1].unreadable == 1
    assert list(bench.check.board.pauses) == ["p-1"]


async def test_a_gate_that_stops_says_that_it_leaves_and_is_not_waited_for(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    async with bench.running():
        await eventually(lambda: bench.store.taken)

    await bench.watch.leave()

    await bench.store.replace(0, board_of(at_once()))
    result = await converged(bench.store, at_once(), 1.0)
    assert (result.gates, [gate.said.gate for gate in result.left]) == ((), ["gate-1"])


async def test_leaving_waits_for_no_store_that_is_down(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.store.error = StoreUnavailable("down")

    await bench.watch.leave()


async def test_two_gates_of_one_name_are_two_and_it_is_said_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async with bench.running():
        await eventually(lambda: bench.store.taken)
        bench.servers.at_us += 1
        await bench.store.acknowledge(Acknowledgement("gate-1", "http://elsewhere", 0, 0, boot="b-2"))
        await eventually(lambda: bench.check.instances == 2)
        polls = len(bench.store.taken)
        await eventually(lambda: len(bench.store.taken) > polls + 20)

    assert ["under the name gate-1, at http://elsewhere" in said for said in bench.said] == [True]


async def test_a_gate_among_many_reads_what_the_others_say_no_more_than_twice_in_fifty_polls(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for number in range(400):
        await bench.store.acknowledge(Acknowledgement(f"gate-{number}", "http://gate", 0, 0, boot="b"))

    async with bench.running():
        await eventually(lambda: len(bench.store.taken) > 450)

    assert bench.check.instances == 401
    assert bench.store.read_gates <= 2


async def test_the_process_before_a_restart_is_no_second_gate_of_the_name(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await bench.store.acknowledge(Acknowledgement("gate-1", "http://gate", 0, 0, boot="b-0"))
    bench.servers.at_us += 2_000_000

    async with bench.running():
        await eventually(lambda: len(bench.store.taken) > 10)

    assert bench.check.instances == 1
    assert bench.said == []


async def test_a_break_glass_file_whose_entries_are_all_over_is_told_to_stop_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    over = replace(a_pause("glass"), starts_at_us=NOW_US - 20, expires_at_us=NOW_US - 10)
    bench.glass.write_bytes(encode_board(board_of(over)))

    bench.watch.start_from_disk()

    assert "this gate obeys above all else: NOTHING; 1 of 1 entries are over" in bench.said[0]


async def test_a_slip_of_the_pen_in_the_break_glass_file_loosens_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.glass.write_bytes(encode_board(board_of(a_pause("a"), a_pause("b"))))
    bench.watch.start_from_disk()
    document = json.loads(bench.glass.read_bytes())
    document["pauses"][1]["action"] = "halt"

    async with bench.running():
        bench.glass.write_text(json.dumps(document))
        await eventually(lambda: bench.check.counts.board_unreadable == 1)

    assert sorted(pause.id for pause in bench.check.board.break_glass) == ["a", "b"]
    assert any("has entries that cannot be read" in said and "halt" in said for said in bench.said)


async def test_a_later_revision_that_this_gate_cannot_read_is_not_taken_for_a_lost_pause(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async with bench.running():
        await bench.store.replace(0, board_of(a_pause(rev=1)))
        await eventually(lambda: bench.check.board.pauses)
        bench.store.put_document(b'{"version":2,"pauses":[{"id":"p-1","rev":2,"scope":{"ages":["1d"]}}]}')
        await eventually(lambda: bench.store.taken and bench.store.taken[-1].unreadable)
        polls = len(bench.store.taken)
        await eventually(lambda: len(bench.store.taken) > polls + 5)

    assert bench.check.board.pauses["p-1"].rev == 1
    assert (await bench.store.read()).pauses == {}
    assert not any("had lost pauses" in said for said in bench.said)


def test_the_stores_clock_is_known_by_the_most_accurate_of_the_last_calls() -> None:
    known = StoreClock()

    for ahead_us, took_us in ((1_300, 1_000), (1_010, 20), (900, 800)):
        known.learn(NOW_US, NOW_US + ahead_us - took_us // 2, NOW_US + ahead_us + took_us // 2)

    assert (known.best.ahead_us, known.best.accuracy_us) == (1_010, 10)


def test_a_call_that_contradicts_what_is_known_of_the_stores_clock_replaces_it() -> None:
    known = StoreClock()
    for _ in range(8):
        known.learn(NOW_US, NOW_US, NOW_US + 2)

    known.learn(NOW_US, NOW_US + 3_600_000_000, NOW_US + 3_600_002_000)

    assert (known.best.ahead_us, known.best.accuracy_us) == (3_600_001_000, 1_000)
