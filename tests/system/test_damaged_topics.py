"""A real worker beside records that no worker writes, in the topics that it reads from their beginning at each start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from gate.stores.kafka.topics import declare
from streams.core.campaigns.campaign import Sighting, written_record
from tests.waiting import eventually
from tests.workers import drained, event, worker_of, write

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

NOW_US = 1_795_428_000_000_000
PICTURE = written_record(Sighting(NOW_US, NOW_US, ["0cb837a23de3aa0e"]), b"[2,20780,[9,9,9],[0,0,0]]")
DEEP = b'{"version":1,"a":' + b"[" * 3_500


async def test_a_worker_passes_over_campaigns_that_no_worker_writes(
    kafka_bootstrap: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    with worker_of(unique(), kafka_bootstrap, None, tmp_path) as worker:
        await declare(kafka_bootstrap, worker.topics)
        async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap) as producer:
            for key, value in (
                (b"0:content-ffffffffffffffff", PICTURE),
                (b"0:link-05d1f3a29c04b718", DEEP),
                (b"0:content-05d1f3a29c04b718", PICTURE),
            ):
                await producer.send_and_wait(worker.topics.campaigns.name, value, key)

        worker.start()
        await eventually(lambda: worker.said("this worker reads from offset") == 4, timeout_s=40.0)
        await eventually(lambda: worker.metric("upload_gate_campaigns", kind="content") == 1, timeout_s=40.0)
        await write(kafka_bootstrap, worker.topics, [event("a-1", 1)])
        await drained(kafka_bootstrap, worker)

        assert worker.said("Traceback") == 0
        assert worker.end() == 0
