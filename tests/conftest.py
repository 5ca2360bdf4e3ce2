"""The servers all tests may share, one of each for the whole run, and names by which tests keep apart on them."""

import gc
import os
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from gate.errors import LocalServerError
from gate.local.jars import default_cache, fetch_jars
from gate.stores.redis.connections.line import Line
from tests.servers import running_kafka, running_redis

ROOMS = ("system", "edges", "house", "contract", "replay", "agents", "laws", "unit")
"""The order of the test folders: files of the first ones take longest, and a file runs whole on one core."""

LEAST_TIME_US = 1e15
"""In µs since 1970, some time in 2001."""

# a busy machine makes inputs slowly, and no test asserts how long anything takes
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Names a value that may hold the time by its argument, as each process takes the time and all must name a test alike."""
    is_time = isinstance(val, int | float) and abs(val) > LEAST_TIME_US
    is_packed = isinstance(val, bytes) and not (val.isascii() and val.decode("ascii").isprintable())
    return argname if is_time or is_packed else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts files with slow tests first, so that at the end no core waits for one (with `--no-loadscope-reorder`)."""
    slow = {item.path for item in items if _is_slow(item)}
    items.sort(key=lambda item: (item.path not in slow, _room(item)))


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Collects garbage after a file with slow tests, so that what its clients left is told there and in no later test."""
    if _is_slow(item) and (nextitem is None or nextitem.path != item.path):
        gc.collect()


def _is_slow(item: pytest.Item) -> bool:
    return item.get_closest_marker("slow") is not None or item.get_closest_marker("long") is not None


def _room(item: pytest.Item) -> int:
    name = item.path.relative_to(Path(__file__).parent).parts[0]
    return ROOMS.index(name) if name in ROOMS else len(ROOMS)


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real server that no other run uses; keep to keys of your own (`unique`)."""
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture
async def line(redis_url: str) -> AsyncIterator[Line]:
    """A connection to that server."""
    line = Line(redis_url)
    yield line
    await line.close()


@pytest.fixture(scope="session")
def kafka_jars() -> None:
    """Skips what needs Apache Kafka where it cannot be fetched; in CI that is a failure."""
    try:
        fetch_jars(default_cache(), print)
    except LocalServerError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(f"NO REAL KAFKA: {error}")


@pytest.fixture(scope="session")
def kafka_bootstrap(kafka_jars: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`host:port` of a real Apache Kafka that no other run uses; keep to topics and groups of your own (`unique`)."""
    with running_kafka(tmp_path_factory.mktemp("kafka")) as server:
        yield server.bootstrap


@pytest.fixture
def unique(request: pytest.FixtureRequest) -> Callable[[], str]:
    """Gives a new name at each call, fit for keys, topics and groups, that no other test gets."""
    stem = request.node.name.split("[")[0].removeprefix("test_")[:40].strip("_")
    return lambda: f"{stem}-{uuid.uuid4().hex[:8]}"
