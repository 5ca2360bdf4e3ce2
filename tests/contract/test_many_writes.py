"""A server that can write many values with one command does so where the user may; the outcome is the same without it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gate.core.limits.limit import EntityLimits, Limit, Rate
from gate.core.limits.reservation import ReservationState, SettledAs, Settlement, Unanswered
from gate.core.limits.take import ClassLimits, TakeRequest, TakeResult
from gate.stores.redis.accounts import RedisAccountStore
from gate.stores.redis.layout import MOST_IN_VALUE
from tests.redis_nodes import say
from tests.servers import running_redis
from tests.take_requests import DAY_US, MINUTE_US, NOW_US

OFTEN = MOST_IN_VALUE + 3
LIMITS = EntityLimits(
    (Limit("count", Rate(OFTEN, MINUTE_US, OFTEN)), Limit("bytes", Rate(9_000, MINUTE_US, 9_000), by_bytes=True))
)
OF = ClassLimits(LIMITS, LIMITS, LIMITS, (), 0.9, DAY_US, MINUTE_US, name="new")
BATCH = [
    TakeRequest("often" if n < OFTEN else f"a{n}", f"u{n}", OF, f"{n:016x}", f"{n:016x}", n, NOW_US + n, attempt=1 + n)
    for n in range(OFTEN + 19)
]
"""Many uploads of one account, so that some of its reservations get keys of their own."""


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with running_redis(tmp_path) as server:
        known = say(server.port, "COMMAND", "INFO", "MSETEX")[0] is not None
        say(server.port, "ACL", "SETUSER", "few", "on", ">few", "~*", "&*", "+@all", *(["-msetex"] if known else []))
        yield server.port


async def taken(port: int, user: str) -> tuple[list[TakeResult | Exception], dict[bytes, bytes]]:
    """What is answered to the batch, sent twice, and what is stored then."""
    store = RedisAccountStore(f"redis://{user}127.0.0.1:{port}/0", deadline_s=5.0, max_batch=len(BATCH))
    await store.open()
    results = [*await store.take_many(BATCH), *await store.take_many(BATCH)]
    await store.close()
    # that of the probe ends at any moment
    keys = [key for key in say(port, "KEYS", "ug:2[abr]:*") if not key.endswith(b"{}")]
    values = {key: say(port, "GET", key) for key in keys}
    assert all(0 < say(port, "PTTL", key) <= 4_000_000 for key in keys)
    say(port, "FLUSHALL")
    return results, values


def calls(port: int, command: str) -> Any:
    statistics = say(port, "INFO", "commandstats").decode()
    return sum(line.startswith(f"cmdstat_{command}:calls=") for line in statistics.splitlines())


async def test_answers_and_values_are_the_same_with_one_command_for_many_values_and_without(port: int) -> None:
    many = await taken(port, "")
    say(port, "CONFIG", "RESETSTAT")

    few = await taken(port, "few:few@")

    assert few == many
    assert sum(isinstance(each, TakeResult) and each.charged for each in few[0]) > OFTEN
    assert any(b"2r:{often}" in key for key in few[1])
    assert not calls(port, "msetex")
    assert (
        say(port, "ACL", "LOG") == []
    )  # to find out what the user may leaves no trace that staff would have to look into


async def test_a_batch_writes_its_values_with_one_command_where_the_server_has_it(port: int) -> None:
    known = say(port, "COMMAND", "INFO", "MSETEX")[0] is not None

    await taken(port, "")

    assert bool(calls(port, "msetex")) == known


async def test_checks_that_share_their_upload_with_others_of_their_batch_are_known_as_shared(port: int) -> None:
    store = RedisAccountStore(f"redis://127.0.0.1:{port}/0", deadline_s=5.0, max_batch=len(BATCH))
    await store.open()
    first = BATCH[:OFTEN]  # the last three reservations have keys of their own
    await store.take_many(first)
    others = [replace(first[-1], attempt=100), replace(first[-2], attempt=101), replace(first[-2], attempt=102)]

    results = await store.take_many([*others, first[-2]])
    notices = [Unanswered(each.account, each.upload_id, each.attempt) for each in first[-3:]]
    settled = await store.settle(notices, NOW_US + 40)

    await store.close()
    assert [isinstance(each, TakeResult) and (each.repeated, each.resent) for each in results] == [
        *[(True, False)] * 3, (True, True)
    ]  # fmt: skip
    assert settled == [
        Settlement(SettledAs.SETTLED, ReservationState.ABORTED),
        *[Settlement(SettledAs.REPEATED, ReservationState.OPEN)] * 2,
    ]
