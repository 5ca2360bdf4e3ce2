"""The contender: an ordinary Faust app, one agent that counts the events of each account in a table with a changelog.

Written as the library's own introduction does it: JSON events, `app.Table`, the default in-memory store, the default
settings. How many events it has counted stands in a file, and only once the changelog has them too.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import faust


def make_app(bootstrap: str, topic: str, partitions: int, done: Path, data: Path) -> faust.App:
    """The app. `done` is the file that tells how many events are counted and stand in the changelog."""
    app = faust.App(
        f"table-{topic}",
        broker=f"kafka://{bootstrap}",
        store="memory://",
        topic_partitions=partitions,
        topic_replication_factor=1,
        datadir=str(data),
        web_enabled=False,
    )
    uploads = app.topic(topic, value_serializer="json", key_serializer="raw")
    counts = app.Table("counts", default=int, partitions=partitions)
    seen = 0

    @app.agent(uploads)  # type: ignore[untyped-decorator,unused-ignore]
    async def count(stream: faust.StreamT[dict[str, dict[str, str]]]) -> None:
        nonlocal seen
        async for event in stream:
            counts[event["account"]["id"]] += 1
            seen += 1

    @app.timer(interval=0.25)  # type: ignore[untyped-decorator,unused-ignore]
    async def tell() -> None:
        counted = seen
        await app.producer.flush()
        scratch = done.with_suffix(".new")
        scratch.write_text(str(counted))
        scratch.rename(done)

    return app


if __name__ == "__main__":
    app = make_app(
        os.environ["BENCH_KAFKA"],
        os.environ["BENCH_TOPIC"],
        int(os.environ["BENCH_PARTITIONS"]),
        Path(os.environ["BENCH_DONE"]),
        Path(os.environ["BENCH_DATA"]),
    )
    sys.argv = [sys.argv[0], "worker", "--loglevel", "warn"]
    app.main()
