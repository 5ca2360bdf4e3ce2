"""Scores reach Redis again: after it was emptied, after a new scorecard, and because somebody requested all of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from redis.asyncio import Redis

from gate.core.score import Score
from gate.stores.kafka.topics import declare
from streams.core.models.ngrams import TABLE_BITS
from streams.files.model_directory import load_models
from streams.files.models import Provenance, caption_model, write_model
from streams.worker.pages import partition_of
from tests.servers import running_redis
from tests.waiting import eventually
from tests.workers import WorkerProcess, drained, event, store_of, worker_of, write

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SCORECARD = Path(__file__).parents[2] / "config" / "scorecard.toml"
ACCOUNTS = [f"a-{number}" for number in range(40)]


async def scores_of(worker: WorkerProcess, url: str) -> dict[str, Score]:
    async with store_of(worker, url) as store:
        return {score.account: score for score in await store.scores(ACCOUNTS) if score is not None}


async def with_scores(worker: WorkerProcess, kafka: str, url: str) -> dict[str, Score]:
    """The scores of a started worker to which every account showed itself once."""
    worker.start()
    await write(kafka, worker.topics, [event(account, n) for n, account in enumerate(ACCOUNTS)])
    await drained(kafka, worker)
    return await scores_of(worker, url)


async def test_an_emptied_redis_is_filled_again_without_an_event(
    kafka_bootstrap: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    with (
        running_redis(tmp_path / "redis") as redis,
        worker_of(unique(), kafka_bootstrap, redis.url, tmp_path) as worker,
    ):
        before = await with_scores(worker, kafka_bootstrap, redis.url)
        client = Redis.from_url(redis.url)
        await eventually(lambda: worker.metric("upload_gate_redis_missing_scores") == 0)

        async def are_marked() -> bool:
            return len(await client.keys(f"{worker.topics.prefix}scores:*")) == 4

        await eventually(are_marked)

        await client.flushall()

        async def are_back() -> bool:
            return await scores_of(worker, redis.url) == before

        await eventually(are_back, timeout_s=20.0, every_s=0.1)
        await client.aclose()
        assert len(before) == len(ACCOUNTS)
        assert worker.said("Redis lacks scores that it had") >= 1
        assert worker.said("Traceback") == 0


async def test_a_new_scorecard_scores_quiet_accounts_anew(
    kafka_bootstrap: str, redis_url: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    with worker_of(unique(), kafka_bootstrap, redis_url, tmp_path) as worker:
        before = await with_scores(worker, kafka_bootstrap, redis_url)
        worker.end()
        changed = tmp_path / "scorecard.toml"
        changed.write_text(SCORECARD.read_text().replace("base_rate = 0.02", "base_rate = 0.03"))

        worker.start(UPLOAD_GATE_SCORECARD=str(changed))

        async def are_of_the_new_one() -> bool:
            found = await scores_of(worker, redis_url)
            return {score.scorecard for score in found.values()}.isdisjoint(s.scorecard for s in before.values())

        await eventually(are_of_the_new_one, timeout_s=40.0, every_s=0.1)
        await write(kafka_bootstrap, worker.topics, [event(ACCOUNTS[0], 100)])
        await drained(kafka_bootstrap, worker)
        after = await scores_of(worker, redis_url)
        assert changed.read_text() != SCORECARD.read_text()
        assert after.keys() == before.keys()
        assert all(after[a].stamp.generation > before[a].stamp.generation > 0 for a in ACCOUNTS)
        assert worker.said("its accounts were scored by the scorecard, layout and models ") == 4
        assert worker.said("Traceback") == 0


async def test_other_models_score_all_anew_and_name_themselves_in_scores_log_and_metrics(
    kafka_bootstrap: str, redis_url: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    models, shadow = tmp_path / "models", tmp_path / "shadow"
    table = np.ones(1 << TABLE_BITS, np.int16)
    write_model(caption_model(table, 0.5, -1.0, -2.0), Provenance({"rows": 9}, 1, {}), models)
    shadow.mkdir()
    (shadow / "scorecard.toml").write_text(SCORECARD.read_text().replace("base_rate = 0.02", "base_rate = 0.3"))
    known, other = load_models(models), load_models(shadow)
    with worker_of(unique(), kafka_bootstrap, redis_url, tmp_path) as worker:
        before = await with_scores(worker, kafka_bootstrap, redis_url)
        worker.end()

        worker.start(UPLOAD_GATE_MODELS=str(models), UPLOAD_GATE_SHADOW_MODELS=str(shadow))

        async def name_the_models() -> bool:
            found = await scores_of(worker, redis_url)
            return {score.models for score in found.values()} == {known.hash} and found.keys() == before.keys()

        await eventually(name_the_models, timeout_s=40.0, every_s=0.1)
        after = await scores_of(worker, redis_url)
        assert {score.models for score in before.values()} == {load_models(None).hash}
        assert {score.shadow.scorecard for score in after.values() if score.shadow} == {other.scorecard.hash}
        assert all(score.shadow is not None and score.shadow.risk > score.risk for score in after.values())
        assert [after[a].risk for a in ACCOUNTS] == [before[a].risk for a in ACCOUNTS]
        assert (
            worker.said(f"with models {known.hash}; scorecard {other.scorecard.hash} with no models is in shadow") == 1
        )
        await eventually(lambda: worker.metric("upload_gate_shadow_scores_total") >= len(ACCOUNTS))


async def test_requested_scores_are_all_written_again_once(
    kafka_bootstrap: str, redis_url: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    with worker_of(unique(), kafka_bootstrap, redis_url, tmp_path) as worker:
        before = await with_scores(worker, kafka_bootstrap, redis_url)
        scored = worker.metric("upload_gate_scores_total")

        said = subprocess.run(
            [sys.executable, "-m", "gate.cli.main", "rescore", "--yes", "--kafka", kafka_bootstrap, "-o", "json"],
            env=os.environ | {"UPLOAD_GATE_TOPIC_PREFIX": worker.topics.prefix},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

        async def are_newer() -> bool:
            found = await scores_of(worker, redis_url)
            return all(found[a].stamp.generation > before[a].stamp.generation for a in ACCOUNTS)

        assert said.returncode == 0, said.stderr
        assert '"partitions": 4' in said.stdout
        await eventually(are_newer, timeout_s=30.0, every_s=0.1)
        await eventually(lambda: worker.metric("upload_gate_scores_total") >= scored + len(ACCOUNTS))
        worker.end()
        worker.start()
        await write(kafka_bootstrap, worker.topics, [event(ACCOUNTS[0], 100)])
        await drained(kafka_bootstrap, worker)
        await eventually(lambda: worker.metric("upload_gate_scores_total") >= 1)
        assert worker.metric("upload_gate_scores_total") == 1


async def test_accounts_of_a_backlog_have_scores_that_act_once_it_is_worked_off(
    kafka_bootstrap: str, redis_url: str, unique: Callable[[], str], tmp_path: Path
) -> None:
    with worker_of(unique(), kafka_bootstrap, redis_url, tmp_path) as worker:
        await declare(kafka_bootstrap, worker.topics)
        others = [account for account in map(str, range(99)) if partition_of(account, 4) == partition_of("early", 4)]
        backlog = [event("early", 0), *(event(others[n % len(others)], n) for n in range(1, 9_000))]
        await write(kafka_bootstrap, worker.topics, backlog)

        worker.start(UPLOAD_GATE_ACT_WITHIN_RECORDS="10")
        await drained(kafka_bootstrap, worker)
        lagging = worker.metric("upload_gate_scores_lagging_total")
        await eventually(lambda: worker.metric("upload_gate_worker_accounts_to_rescore") == 0)
        async with store_of(worker, redis_url) as store:

            async def all_act() -> bool:
                return all(score is not None and score.acts for score in await store.scores(["early", *others]))

            await eventually(all_act, timeout_s=10.0)

    assert lagging > 0
