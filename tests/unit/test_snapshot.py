"""The board's snapshot: what is kept is read back, and what is torn is noticed."""

from __future__ import annotations

import os
import resource
from dataclasses import replace
from pathlib import Path

import pytest

from gate.app.board_in_force import BoardKeeper
from gate.core.pause.board import Board
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, Scope
from gate.errors import StateUnreadable
from gate.ports.clock import ClockMark
from gate.records.board_document import encode_board
from gate.stores.disk.snapshot import BoardSnapshot

HOUR_US = 3_600_000_000


def board_of(*texts: str) -> Board:
    return Board(
        {
            f"p-{n}": Pause(f"p-{n}", n + 1, Scope(), Action.STOP, "raid", text, "ann", None, HOUR_US, set_at_us=0)
            for n, text in enumerate(texts)
        }
    )


@pytest.fixture
def snapshot(tmp_path: Path) -> BoardSnapshot:
    return BoardSnapshot(tmp_path / "state" / "board.json")


def test_what_was_kept_last_is_read_back_and_nothing_lies_beside_it(snapshot: BoardSnapshot) -> None:
    nothing = snapshot.read()
    snapshot.write(board_of("a"))

    snapshot.write(board_of("a", "b"))

    assert nothing is None
    assert snapshot.read() == board_of("a", "b")
    assert [path.name for path in snapshot.path.parent.iterdir()] == ["board.json"]


def test_a_snapshot_of_an_earlier_release_is_read(snapshot: BoardSnapshot) -> None:
    snapshot.path.parent.mkdir()
    snapshot.path.write_bytes(encode_board(board_of("a")))

    assert snapshot.read() == board_of("a")


def test_every_torn_snapshot_is_noticed(snapshot: BoardSnapshot) -> None:
    snapshot.write(board_of("a", "b"))
    whole = snapshot.path.read_bytes()

    for length in range(len(whole)):
        snapshot.path.write_bytes(whole[:length])
        with pytest.raises(StateUnreadable):
            snapshot.read()


def test_an_altered_snapshot_is_noticed(snapshot: BoardSnapshot) -> None:
    snapshot.write(board_of("stop everything"))
    snapshot.path.write_bytes(snapshot.path.read_bytes().replace(b"everything", b"everybody!"))

    with pytest.raises(StateUnreadable, match="checksum"):
        snapshot.read()


@pytest.mark.parametrize(("place", "is_read"), [(b'"sha256":"', False), (b'"boot":"', True)])
def test_a_byte_that_is_no_text_is_noticed_in_the_checksum_and_costs_only_the_mark_in_the_clock(
    snapshot: BoardSnapshot, place: bytes, is_read: bool
) -> None:
    """A gate with such a snapshot once did not start."""
    snapshot.write(board_of("a"), ClockMark(1, 0, "boot", 1))
    snapshot.path.write_bytes(snapshot.path.read_bytes().replace(place, place + b"\x80"))

    if is_read:
        assert snapshot.read() == board_of("a")
        assert snapshot.clock is None
    else:
        with pytest.raises(StateUnreadable):
            snapshot.read()


def test_a_write_that_the_disk_refuses_leaves_what_was_kept(snapshot: BoardSnapshot) -> None:
    snapshot.write(board_of("a"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            snapshot.write(board_of("a", "b"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert snapshot.read() == board_of("a")
    assert [path.name for path in snapshot.path.parent.iterdir()] == ["board.json"]


def test_the_file_is_synced_before_it_is_moved_and_the_directory_after(
    snapshot: BoardSnapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, move = os.fsync, Path.replace

    def synced(number: int) -> None:
        done.append("directory" if os.fstat(number).st_mode & 0o040000 else "file")
        sync(number)

    def moved(self: Path, target: Path) -> Path:
        done.append("move")
        return move(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", moved)

    snapshot.write(board_of("a"))

    assert done == ["file", "move", "directory"]


def test_a_second_process_is_told_that_the_snapshot_is_written_already(tmp_path: Path) -> None:
    path = tmp_path / "new" / "board.json"

    with BoardSnapshot(path).claimed() as first, BoardSnapshot(path).claimed() as second:
        assert (first, second) == (True, False)
    with BoardSnapshot(path).claimed() as again:
        assert again


async def test_of_a_board_too_large_to_write_the_snapshot_holds_what_matters_most(snapshot: BoardSnapshot) -> None:
    said: list[str] = []
    far_us = 2_000_000_000_000_000
    stop = Pause("p-stop", 1, Scope(), Action.STOP, "raid", "", "ann", None, far_us, set_at_us=far_us - 1)
    flood = {f"p-{n}": replace(stop, id=f"p-{n}", rev=n + 2, scope=Scope(frozenset((f"c-{n}",)))) for n in range(1_500)}
    keeper = BoardKeeper(snapshot, said.append, lambda: None)

    on_disk = await keeper.keep(Board({**flood, "p-stop": stop}))
    kept = snapshot.read()

    assert not on_disk
    assert kept is not None
    assert "p-stop" in kept.pauses
    assert "p-1499" in kept.pauses
    assert "that matter most" in said[0]


async def test_a_board_too_large_for_its_names_of_another_script_is_kept_in_part(snapshot: BoardSnapshot) -> None:
    far_us = 2_000_000_000_000_000
    stop = Pause("p-stop", 1, Scope(), Action.STOP, "raid", "", "ann", None, far_us, set_at_us=far_us - 1)
    names = [frozenset(f"{'名' * 250}{number}-{n}" for number in range(250)) for n in range(4)]
    flood = {
        f"p-{n}": replace(stop, id=f"p-{n}", rev=n + 2, scope=Scope(accounts=each)) for n, each in enumerate(names)
    }
    keeper = BoardKeeper(snapshot, lambda said: None, lambda: None)

    on_disk = await keeper.keep(Board({**flood, "p-stop": stop}))
    kept = snapshot.read()

    assert not on_disk
    assert kept is not None
    assert {"p-stop", "p-3"} <= kept.pauses.keys()


async def test_a_fault_in_one_write_does_not_keep_the_next_board_from_the_disk(tmp_path: Path) -> None:
    class Faulty(BoardSnapshot):
        is_faulty = True

        def write(self, board: Board, clock: ClockMark | None = None) -> None:
            if self.is_faulty:
                raise RuntimeError("a fault of ours")
            super().write(board, clock)

    snapshot = Faulty(tmp_path / "board.json")
    keeper = BoardKeeper(snapshot, lambda said: None, lambda: None)
    with pytest.raises(RuntimeError):
        await keeper.keep(board_of("a"))
    snapshot.is_faulty = False

    on_disk = await keeper.keep(board_of("b"))

    assert on_disk
    assert snapshot.read() == board_of("b")
