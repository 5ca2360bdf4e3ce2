"""Real servers for tests: own ones, on free loopback ports, with their data in a folder of the test's.

What is yielded may be killed with `kill()` and started again on the same port with `start()`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gate.local.free_port import free_port
from gate.local.jars import default_cache, fetch_jars
from gate.local.kafka import LocalKafka
from gate.local.redis import LocalRedis


@contextmanager
def running_redis(home: Path) -> Iterator[LocalRedis]:
    """A Redis-compatible server with its data in `home`, ended at the end."""
    server = LocalRedis(home, free_port())
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextmanager
def running_kafka(home: Path, advertised_port: int | None = None) -> Iterator[LocalKafka]:
    """Apache Kafka with its data in `home`, ended at the end. Raises LocalServerError if its jars cannot be had.

    `advertised_port` is that of a proxy which clients are sent to.
    """
    server = LocalKafka(home, free_port(), fetch_jars(default_cache(), print), print, advertised_port)
    try:
        server.start()
        yield server
    finally:
        server.stop()
