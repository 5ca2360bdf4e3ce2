"""Long random lives on a real Cluster: an account's limits as the model to the microsecond, the others exact in number."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from gate.core.limits.reservation import Report, UploadOutcome
from gate.core.limits.take import ClassLimits, TakeRequest
from gate.stores.memory.accounts import MemoryAccountStore
from gate.stores.redis.accounts import RedisAccountStore
from tests.laws.test_reservation_laws import START_US, a_class, live
from tests.take_requests import NoClock

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
async def on_cluster(cluster_url: str, unique: Callable[[], str]) -> AsyncIterator[RedisAccountStore]:
    store = RedisAccountStore(cluster_url, prefix=f"{unique()}:", deadline_s=20.0, lanes=1, bulk_deadline_s=20.0)
    await store.open()
    yield store
    await store.close()


def of_the_account_alone(rng: random.Random, name: str) -> ClassLimits:
    return replace(a_class(rng, name), ip=None, device=None, shared=())


def with_room(rng: random.Random, name: str) -> ClassLimits:
    """A class whose limits all let something through."""
    while True:
        made = a_class(rng, name)
        limits = [each for some in (made.account, made.ip, made.device) if some is not None for each in some.limits]
        limits += [each for shared in made.shared for each in shared.limits.limits]
        if all(each.rate.rate > 0 and each.rate.burst > 3 for each in limits):
            return made


@pytest.mark.parametrize("seed", range(6))
async def test_what_lies_in_one_slot_is_answered_as_the_model_does(on_cluster: RedisAccountStore, seed: int) -> None:
    attempts = itertools.count(1)

    met = await live(MemoryAccountStore(NoClock()), on_cluster, seed, attempts, of_the_account_alone)

    assert (met["checks"] > 100, met["notices"] > 20) == (True, True)


@pytest.mark.parametrize("seed", range(6))
async def test_over_several_slots_the_same_uploads_pass_and_the_same_settle(
    on_cluster: RedisAccountStore, seed: int
) -> None:
    """Which limit refuses may differ, because the account's are asked first; what passes and what it costs may not."""
    rng = random.Random(seed)
    model = MemoryAccountStore(NoClock())
    limits = with_room(rng, "x")
    model.expect([limits])
    on_cluster.expect([limits])
    now_us, open_uploads, passed, refused = START_US, list[TakeRequest](), 0, 0
    for step in range(150):
        now_us += rng.choice([0, 1_000, 1_000_000, 20_000_000])
        request = TakeRequest(
            f"a{rng.randrange(4)}", f"u{step}", limits, rng.choice([None, "1f", "2f"]), rng.choice([None, "1d"]),
            rng.choice([0, 1, 10, 300]), now_us, None, limits.name, "image", step + 1, False,
        )  # fmt: skip

        expected, answer = await model.take(request), await on_cluster.take(request)

        assert (answer.charged, answer.standing) == (expected.charged, expected.standing), step
        passed, refused = passed + answer.charged, refused + (not answer.charged)
        if answer.charged:
            open_uploads.append(request)
        if open_uploads and rng.random() < 0.4:
            told = open_uploads.pop(rng.randrange(len(open_uploads)))
            report = Report(
                told.account, told.upload_id, rng.choice(list(UploadOutcome)), rng.choice([None, 0, 7, 500])
            )
            assert await on_cluster.settle([report], now_us) == await model.settle([report], now_us), step
    assert passed > 0
    assert refused > 0
