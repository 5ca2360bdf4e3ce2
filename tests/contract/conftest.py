from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from gate.stores.redis.accounts import RedisAccountStore
from tests.redis_nodes import running_cluster


@pytest.fixture(scope="session")
def cluster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real Cluster that stays as it is; keep to keys of your own (`unique`)."""
    with running_cluster(tmp_path_factory.mktemp("quiet-cluster")) as cluster:
        yield cluster.url


@pytest.fixture
async def redis_store(redis_url: str, unique: Callable[[], str]) -> AsyncIterator[RedisAccountStore]:
    store = RedisAccountStore(redis_url, prefix=f"{unique()}:", deadline_s=5.0)
    await store.open()
    yield store
    await store.close()
