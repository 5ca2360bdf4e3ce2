"""The keeper writes back what a channel of the kill switch lost and decides nothing; an unread channel is named."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gate.app.both_channels import BothChannels, OtherChannel
from gate.app.keep_board import KeepBoard
from gate.core.duration import DAY_US
from gate.core.pause.board import KEEP_ENDED_US, Board, merge
from gate.core.pause.entry import Pause
from gate.core.pause.scope import Action, Scope
from gate.errors import StoreUnavailable
from gate.records.board_document import encode_board
from gate.stores.memory.boards import MemoryBoardStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NOON_US = 1_800_000_000_000_000
PAUSE = Pause("p-1", 3, Scope(), Action.STOP, "raid", "", "ann", None, NOON_US + 600_000_000, set_at_us=NOON_US)
RELEASED = replace(PAUSE, rev=4, released_at_us=NOON_US + 1, released_by="bob")


class Noon:
    at_us = NOON_US + 2

    def now_us(self) -> int:
        return self.at_us


class Merging(MemoryBoardStore):
    """What Kafka does: a write adds to what there is, and nothing needs a repair."""

    async def replace(self, expected_rev: int, board: Board) -> bool:
        self.put_document(encode_board(merge(await self.read(), board)))
        return True

    async def repair(self, board: Board) -> bool:
        return False


@pytest.fixture
def redis() -> MemoryBoardStore:
    return MemoryBoardStore(Noon())


@pytest.fixture
def kafka() -> Merging:
    return Merging(Noon())


@pytest.mark.parametrize("there", ["redis", "kafka"])
async def test_what_one_channel_lacks_is_written_from_the_other(
    redis: MemoryBoardStore, kafka: Merging, there: str
) -> None:
    await (redis if there == "redis" else kafka).replace(0, Board({"p-1": PAUSE}))

    await KeepBoard(redis, kafka, lambda _: None).step()

    assert (await redis.read()).pauses == (await kafka.read()).pauses == {"p-1": PAUSE}


async def test_what_redis_lost_comes_back_from_memory_and_a_release_is_never_undone(redis: MemoryBoardStore) -> None:
    said: list[str] = []
    keeper = KeepBoard(redis, None, said.append)
    await redis.replace(0, Board({"p-1": PAUSE}))
    await keeper.step()
    redis.put_document(encode_board(Board()))
    await keeper.step()
    back = await redis.read()
    await redis.replace(back.rev, Board({"p-1": RELEASED}))
    await keeper.step()
    redis.put_document(encode_board(Board({"p-1": PAUSE})))  # an old backup is restored
    await keeper.step()

    assert back.pauses == {"p-1": PAUSE}
    assert (await redis.read()).pauses == {"p-1": RELEASED}
    assert len(said) == 2


async def test_the_keeper_forgets_what_expired_long_ago_and_no_old_copy_brings_it_back() -> None:
    clock = Noon()
    redis, kafka = MemoryBoardStore(clock), Merging(clock)
    keeper = KeepBoard(redis, kafka, lambda _: None)
    latest = replace(PAUSE, id="p-2", rev=9, expires_at_us=NOON_US + 30 * DAY_US)
    await redis.replace(0, Board({"p-1": RELEASED, "p-2": latest}))
    await keeper.step()
    before = keeper.board.pauses.keys()

    clock.at_us = RELEASED.expires_at_us + KEEP_ENDED_US
    await keeper.step()
    forgotten = keeper.board.pauses.keys()
    redis.put_document(encode_board(Board({"p-1": PAUSE, "p-2": latest})))  # a very old backup is restored
    await keeper.step()

    assert (before, forgotten) == ({"p-1", "p-2"}, {"p-2"})
    assert [pause.id for pause in (await redis.read()).active(clock.at_us)] == ["p-2"]


async def test_without_kafka_a_keeper_that_starts_after_the_loss_learns_the_pauses_from_a_gate(
    redis: MemoryBoardStore,
) -> None:
    async def gate() -> Board:
        return Board({"p-1": RELEASED, "p-2": replace(PAUSE, id="p-2")})

    await KeepBoard(redis, None, lambda _: None, gate=gate).step()

    assert [pause.id for pause in (await redis.read()).active(NOON_US + 2)] == ["p-2"]
    assert (await redis.read()).pauses["p-1"] == RELEASED


async def test_a_board_that_cannot_be_read_is_repaired_only_by_a_keeper_that_knows_a_good_one(
    redis: MemoryBoardStore,
) -> None:
    newcomer, keeper = (KeepBoard(redis, None, lambda _: None) for _ in range(2))
    await redis.replace(0, Board({"p-1": PAUSE}))
    await keeper.step()
    redis.put_document(b"garbage")

    await newcomer.step()
    untouched = redis.aside
    await keeper.step()

    assert untouched is None
    assert redis.aside == b"garbage"
    assert (await redis.read()).pauses == {"p-1": PAUSE}


async def test_a_channel_that_does_not_answer_in_time_is_named(redis: MemoryBoardStore) -> None:
    @asynccontextmanager
    async def hangs() -> AsyncIterator[MemoryBoardStore]:
        await asyncio.Event().wait()
        yield redis

    @asynccontextmanager
    async def is_away() -> AsyncIterator[MemoryBoardStore]:
        raise StoreUnavailable("nobody listens")
        yield redis

    slow = await BothChannels(OtherChannel("Kafka at k", hangs), within_s=0.01).with_board(Board({"p-1": PAUSE}))
    away = await BothChannels(OtherChannel("Kafka at k", is_away)).read()

    assert slow.board.pauses == {"p-1": PAUSE}
    assert "Kafka at k cannot be read (no answer within 0.01 s)" in slow.unread[0]
    assert "Kafka at k cannot be read (nobody listens)" in away.unread[0]


async def test_the_other_channel_is_read_once_for_many_changes(redis: MemoryBoardStore) -> None:
    opened: list[None] = []

    def opening() -> nullcontext[MemoryBoardStore]:
        opened.append(None)
        return nullcontext(redis)

    channels = BothChannels(OtherChannel("Kafka", opening))

    for _ in range(5):
        await channels.read()

    assert len(opened) == 1
