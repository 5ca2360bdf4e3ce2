from collections.abc import AsyncIterator, Callable

import pytest

from gate.stores.redis.accounts import RedisAccountStore


@pytest.fixture
async def redis_store(redis_url: str, unique: Callable[[], str]) -> AsyncIterator[RedisAccountStore]:
    store = RedisAccountStore(redis_url, prefix=f"{unique()}:", deadline_s=5.0)
    await store.open()
    yield store
    await store.close()
