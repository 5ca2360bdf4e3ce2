"""`upload-gate campaigns` against running workers and a real Kafka, and accounts that a real worker scores again."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gate.stores.kafka.topics import declare
from tests.unit.test_campaigns import picture
from tests.waiting import eventually
from tests.workers import WorkerProcess, drained, store_of, values, worker_of, write

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

UPLOAD_GATE = str(Path(sys.executable).parent / "upload-gate")


def upload(number: int, account: str, phash: str) -> tuple[bytes, bytes]:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    body = {
        "type": "attempted", "id": f"e-{number}", "upload_id": f"u-{number}", "at": at, "account": {"id": account},
        "media": {"kind": "image", "phash": phash}, "device": "farm",
    }  # fmt: skip
    return account.encode(), json.dumps(body).encode()


async def campaigns(worker: WorkerProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [UPLOAD_GATE, "campaigns", *arguments]
    return await asyncio.to_thread(subprocess.run, command, env=worker.env, capture_output=True, text=True, timeout=60)


async def test_a_campaign_of_all_partitions_is_listed_and_shown_and_its_first_members_are_scored_again(
    kafka_bootstrap: str, redis_url: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    with worker_of(unique(), kafka_bootstrap, redis_url, tmp_path) as worker:
        await declare(kafka_bootstrap, worker.topics)
        worker.start()
        await write(kafka_bootstrap, worker.topics, [upload(0, "a-0", picture(0))])
        await drained(kafka_bootstrap, worker)
        async with store_of(worker, redis_url) as store:
            (alone,) = await store.scores(["a-0"])
            await write(
                kafka_bootstrap, worker.topics, [upload(n, f"a-{n}", picture(0, 4, seed=n)) for n in range(1, 40)]
            )
            await drained(kafka_bootstrap, worker)

            async def is_scored_again() -> bool:
                (now,) = await store.scores(["a-0"])
                return alone is not None and now is not None and now.risk > alone.risk + 0.05

            await eventually(is_scored_again)

        async def all_are_listed() -> bool:
            listed = await campaigns(worker, "list", "-o", "json")
            found = json.loads(listed.stdout)["campaigns"]
            return [one["members"] for one in found] == [40]

        await eventually(all_are_listed, timeout_s=30.0, every_s=0.5)
        (one,) = json.loads((await campaigns(worker, "list", "-o", "json")).stdout)["campaigns"]
        shown = await campaigns(worker, "show", one["id"])
        unknown = await campaigns(worker, "show", "content-0000000000000000")
        await eventually(lambda: worker.metric("upload_gate_campaigns", kind="content") == 1, timeout_s=20.0)

        assert (one["kind"], one["established"]) == ("content", 0)
        assert all(len(example) == 16 for example in one["examples"])
        assert f"id             {one['id']}" in shown.stdout
        assert "at least 40" in shown.stdout
        assert (unknown.returncode, unknown.stdout) == (1, "")
        assert worker.metric("upload_gate_campaign_largest_accounts", kind="content") == 40
        assert worker.metric("upload_gate_campaign_members_joined_total", kind="content") == 40
        assert worker.metric("upload_gate_scores_backfilled_total") > 0


async def test_two_workers_count_the_members_of_one_campaign_together(
    kafka_bootstrap: str, redis_url: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    name = unique()
    with (
        worker_of(name, kafka_bootstrap, redis_url, tmp_path / "one") as one,
        worker_of(name, kafka_bootstrap, redis_url, tmp_path / "two") as two,
    ):
        await declare(kafka_bootstrap, one.topics)
        one.start()
        two.start()
        await eventually(
            lambda: one.said("this worker reads from offset") and two.said("this worker reads from offset"),
            timeout_s=40.0,
        )

        await write(kafka_bootstrap, one.topics, [upload(n, f"a-{n}", picture(0, 4, seed=n)) for n in range(60)])
        await drained(kafka_bootstrap, one)

        for worker in (one, two):
            await eventually(
                lambda w=worker: w.metric("upload_gate_campaign_largest_accounts", kind="content") == 60, timeout_s=30.0
            )  # type: ignore[misc]
        records = await values(kafka_bootstrap, one.topics.campaigns)
        assert {key.partition(b":")[0] for key, _ in records} == {b"0", b"1", b"2", b"3"}
