"""What a worker makes of a changelog: states of ours, of an older release, of a newer one, and of nobody."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from gate.errors import StateUnreadable
from streams.core.facts import (
    VERSION,
    Facts,
    pack,
    unpack,
    version,
)
from streams.worker.changelog import (
    WATERMARK_KEY,
    Accounts,
    PartitionReader,
    Watermark,
    encode_watermark,
)

MARK = Watermark("c/t", 7)
STATE = Facts(events=3, offset=6, layouts=[0] * 16)
FIRST = msgspec.msgpack.encode(STATE)
"""As the first layout was kept: without a version."""
NEWER = bytes((VERSION + 1,)) + FIRST


class Changelog:
    """A partition's records where the reader would be."""

    def __init__(self, *records: tuple[bytes, bytes | None], mark: bool = True) -> None:
        given = [*records, (WATERMARK_KEY, encode_watermark(MARK))] if mark else records
        self._records = [SimpleNamespace(key=key, value=value, offset=at) for at, (key, value) in enumerate(given)]
        self.end = len(self._records)

    async def since(self, offset: int) -> AsyncIterator[Sequence[Any]]:
        for record in self._records[offset:]:
            yield [record]


async def loaded(*records: tuple[bytes, bytes | None], mark: bool = True) -> Accounts:
    accounts = Accounts(2)
    await accounts.load(cast(PartitionReader, Changelog(*records, mark=mark)), "states")
    return accounts


async def test_states_of_ours_are_taken_as_they_are() -> None:
    accounts = await loaded((b"a", pack(STATE)), (b"b", pack(STATE)), (b"b", None))

    assert accounts.states == {"a": pack(STATE)}
    assert accounts.mark == MARK
    assert not accounts.forgotten


async def test_an_account_of_an_older_release_starts_anew_and_the_watermark_stays() -> None:
    accounts = await loaded((b"a", FIRST), (b"b", pack(STATE)))

    assert accounts.forgotten == {"a"}
    assert accounts.states == {"b": pack(STATE)}
    assert accounts.mark == MARK


@pytest.mark.parametrize("layout", [VERSION - 1, VERSION - 2])
async def test_a_state_of_the_two_releases_before_is_kept_as_it_is(layout: int) -> None:
    golden: list[dict[str, Any]] = json.loads((Path(__file__).parent / "golden" / f"states.v{layout}.json").read_text())
    former = base64.b64decode(golden[0]["state"])

    accounts = await loaded((b"a", former))

    assert accounts.states == {"a": former}
    assert not accounts.forgotten


async def test_an_account_that_was_folded_since_is_not_forgotten() -> None:
    accounts = await loaded((b"a", FIRST), (b"a", pack(STATE)), (b"b", FIRST), (b"b", None))

    assert not accounts.forgotten
    assert accounts.states == {"a": pack(STATE)}


async def test_a_changelog_of_another_topic_is_read_from_its_beginning_though_it_is_as_long() -> None:
    accounts = Accounts(2)
    await accounts.load(cast(PartitionReader, Changelog((b"a", pack(STATE)))), "states", "first")

    again = await accounts.load(cast(PartitionReader, Changelog((b"b", pack(STATE)))), "states", "second")

    assert again == 2
    assert accounts.states == {"b": pack(STATE)}


async def test_the_same_changelog_is_read_on_where_it_was_left() -> None:
    accounts = Accounts(2)
    await accounts.load(cast(PartitionReader, Changelog((b"a", pack(STATE)))), "states", "first")

    again = await accounts.load(cast(PartitionReader, Changelog((b"b", pack(STATE)))), "states", "first")

    assert again == 0
    assert accounts.states == {"a": pack(STATE)}


async def test_forgotten_accounts_are_counted_once_for_each_reading() -> None:
    changelog = cast(PartitionReader, Changelog((b"a", FIRST)))
    accounts = Accounts(2)
    await accounts.load(changelog, "states")

    await accounts.load(changelog, "states")

    assert not accounts.forgotten


@pytest.mark.parametrize(
    "garbage", [b"", b"state", b"{}", FIRST[:-1], b"\x01\xff", msgspec.msgpack.encode({"events": 1})]
)
async def test_what_is_no_state_stops_the_partition_and_says_where_it_lies(garbage: bytes) -> None:
    with pytest.raises(StateUnreadable, match="partition 2 of states holds at offset 1 what is no account state"):
        await loaded((b"a", pack(STATE)), (b"b", garbage))


@pytest.mark.parametrize(("key", "value"), [(b"\xfe", pack(STATE)), (cast(bytes, None), pack(STATE)), (b"\xfe", None)])
async def test_a_record_whose_key_is_no_account_id_stops_the_partition_and_says_where_it_lies(
    key: bytes, value: bytes | None
) -> None:
    with pytest.raises(
        StateUnreadable, match="partition 2 of states holds at offset 1 a record whose key is no account"
    ):
        await loaded((b"a", pack(STATE)), (key, value))


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"{}",
        b"\xff",
        b'{"epoch":"c/t","offset":-1}',
        b'{"epoch":"c/t+x","offset":7}',
        b'{"epoch":"+1+","offset":7}',
    ],
)
async def test_a_watermark_that_no_worker_writes_stops_the_partition(value: bytes | None) -> None:
    with pytest.raises(StateUnreadable, match="watermark"):
        await loaded((WATERMARK_KEY, value), mark=False)


@pytest.mark.parametrize("epoch", ["", "/t", "c/t", "c/t+1", "c/t+999999999"])
async def test_a_watermark_of_every_epoch_that_workers_write_is_read(epoch: str) -> None:
    mark = Watermark(epoch, 7)

    accounts = await loaded((WATERMARK_KEY, encode_watermark(mark)), mark=False)

    assert accounts.mark == mark


async def test_a_state_of_a_newer_release_is_not_thrown_away() -> None:
    with pytest.raises(
        StateUnreadable, match=rf"version {VERSION + 1}, this release reads {VERSION}\. Run the release"
    ):
        await loaded((b"a", NEWER))


@pytest.mark.parametrize("state", [pack(STATE), FIRST])
async def test_accounts_without_a_watermark_are_refused_whatever_their_version(state: bytes) -> None:
    with pytest.raises(StateUnreadable, match="1 accounts but no watermark"):
        await loaded((b"a", state), mark=False)


def test_a_state_says_its_version() -> None:
    assert version(pack(Facts())) == VERSION
    assert version(NEWER) == VERSION + 1
    assert version(FIRST) == 1
    with pytest.raises(msgspec.DecodeError, match="version"):
        unpack(FIRST)
