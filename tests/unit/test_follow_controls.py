"""The second channel of a gate: pauses that it may not write there delay nothing else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, ClassVar

from gate.app.follow_controls import REFUSED_FOR_S, FollowControls
from gate.core.pause.board import Board
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, Scope
from gate.errors import AccessRefused
from gate.ports.boards import Acknowledgement, Gates
from gate.stores.memory.boards import MemoryBoardStore

NOON_US = 1_800_000_000_000_000
PAUSE = Pause("p-1", 1, Scope(), Action.STOP, "raid", "", "ann", None, NOON_US + 60_000_000, set_at_us=NOON_US)
SAID = Acknowledgement("g-1", "http://g", 1, 0, boot="b")


class Noon:
    def now_us(self) -> int:
        return NOON_US


class OnlyToRead(MemoryBoardStore):
    """A channel whose access lists let this user read pauses and acknowledge them."""

    tries = 0

    async def replace(self, expected_rev: int, board: Board) -> bool:
        self.tries += 1
        raise AccessRefused("its access lists do not permit this user to do that")


async def test_a_gate_that_may_only_read_the_pauses_acknowledges_all_the_same_and_tries_again_later() -> None:
    store, told, now_s = OnlyToRead(Noon()), list[str](), [0.0]

    async def hear(board: Board) -> None:
        pass

    watch: Any = SimpleNamespace(
        board=Board({"p-1": PAUSE}), store_now_us=lambda: NOON_US, now_us=lambda: NOON_US, hear_elsewhere=hear,
        acknowledgement=lambda: SAID, learn_clock_elsewhere=lambda *_: None, has_met_store=True,
        heard_all_elsewhere=lambda: None,
    )  # fmt: skip
    following = FollowControls(watch, store, told.append, lambda: 0.5, lambda: None)
    following._now_s = lambda: now_s[0]

    for _ in range(3):
        await following._beat()
    now_s[0] = REFUSED_FOR_S
    await following._beat()

    assert [said.gate for said in (await store.gates(1)).acknowledgements] == ["g-1"]
    assert store.tries == 2
    assert [line for line in told if "cannot copy pauses to Kafka" in line] == told
    assert len(told) == 1


async def test_a_beat_reads_no_acknowledgement_but_the_own_one() -> None:
    class Noting(MemoryBoardStore):
        asked: ClassVar[list[str | None]] = []

        async def gates(self, within_us: int, process: str | None = None) -> Gates:
            self.asked.append(process)
            return await super().gates(within_us, process)

    async def hear(board: Board) -> None:
        pass

    watch: Any = SimpleNamespace(
        board=Board(), store_now_us=lambda: NOON_US, now_us=lambda: NOON_US, hear_elsewhere=hear,
        acknowledgement=lambda: SAID, learn_clock_elsewhere=lambda *_: None, has_met_store=True,
        heard_all_elsewhere=lambda: None,
    )  # fmt: skip
    store = Noting(Noon())

    await FollowControls(watch, store, lambda _: None, lambda: 0.5, lambda: None)._beat()

    assert store.asked == [SAID.process]


async def test_a_channel_that_proves_alive_makes_the_board_fresh_and_one_that_does_not_makes_it_not() -> None:
    class Deaf(MemoryBoardStore):
        async def gates(self, within_us: int, process: str | None = None) -> Gates:
            return Gates(NOON_US)

    fresh = []
    for store in (MemoryBoardStore(Noon()), Deaf(Noon())):
        heard = 0

        def hears() -> None:
            nonlocal heard
            heard += 1

        async def hear(board: Board) -> None:
            pass

        watch: Any = SimpleNamespace(
            board=Board(), store_now_us=lambda: NOON_US, now_us=lambda: NOON_US, hear_elsewhere=hear,
            acknowledgement=lambda: SAID, learn_clock_elsewhere=lambda *_: None, has_met_store=True,
            heard_all_elsewhere=hears,
        )  # fmt: skip
        following = FollowControls(watch, store, lambda _: None, lambda: 0.5, lambda: None)

        await following._beat()
        await following._beat()
        fresh.append(heard)

    assert fresh == [1, 0]
