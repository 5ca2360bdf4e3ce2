"""`upload-gate replay` over a real Kafka, a real Redis and a real worker process."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gate.local.free_port import free_port
from streams.traffic.simulate import labelled_rows

pytestmark = pytest.mark.long

ROWS = 1500


def typed(*arguments: str, within_s: float = 240.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gate.cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
    )


def replayed(file: Path, redis: str, kafka: str, *more: str) -> dict[str, Any]:
    done = typed("replay", str(file), "-o", "json", "--redis", redis, "--kafka", kafka, *more)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def labelled() -> Path:
    """The folder of labelled streams that UPLOAD_GATE_DATA names."""
    folder = os.environ.get("UPLOAD_GATE_DATA")
    if not folder:
        pytest.skip("UPLOAD_GATE_DATA names no folder of labelled streams")
    return Path(folder)


@pytest.fixture
def generated(tmp_path: Path) -> Path:
    file = tmp_path / "generated.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in labelled_rows(5, ROWS)))
    return file


def test_a_generated_stream_goes_through_the_running_system(
    generated: Path, redis_url: str, kafka_bootstrap: str
) -> None:
    found = replayed(generated, redis_url, kafka_bootstrap)

    assert found["uploads"] == ROWS
    assert found["allowed"] + sum(found["refused"].values()) == ROWS
    assert found["benign_uploads_refused"] == 0
    assert found["abusive_accounts_ever_refused"] > 0
    assert found["auc"] > 0.9


def test_a_replay_leaves_neither_topics_nor_keys(generated: Path, redis_url: str, kafka_bootstrap: str) -> None:
    replayed(generated, redis_url, kafka_bootstrap, "--limit", "100")

    assert leftovers(redis_url, kafka_bootstrap) == ([], [])


def leftovers(redis: str, kafka: str) -> tuple[list[str], list[str]]:
    import asyncio

    from aiokafka.admin import AIOKafkaAdminClient
    from redis import Redis

    async def topics() -> list[str]:
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
        await admin.start()
        try:
            return [name for name in await admin.list_topics() if name.startswith("replay-")]
        finally:
            await admin.close()

    with Redis.from_url(redis, decode_responses=True) as client:
        keys = list(client.scan_iter("replay-*"))
    return asyncio.run(topics()), keys


@pytest.mark.parametrize("name", ["human_uploads", "signups"])
def test_a_recorded_stream_goes_through(name: str, labelled: Path, redis_url: str, kafka_bootstrap: str) -> None:
    files = sorted(labelled.glob(f"{name}*.jsonl.gz"))
    if not files:
        pytest.skip(f"UPLOAD_GATE_DATA holds no {name}")

    found = replayed(files[0], redis_url, kafka_bootstrap, "--limit", "2000")

    assert found["uploads"] == 2000
    assert found["benign_uploads_refused"] <= found["benign_uploads"] / 100
    if name == "human_uploads":
        assert found["auc"] is None


def test_without_a_server_it_says_which_and_ends_with_1(generated: Path) -> None:
    nobody = free_port()

    done = typed("replay", str(generated), "--redis", f"redis://127.0.0.1:{nobody}/0", "--kafka", f"127.0.0.1:{nobody}")

    assert done.returncode == 1
    assert f"Redis at redis://127.0.0.1:{nobody}/0" in done.stderr
    assert done.stdout == ""


def test_a_bad_file_is_named_and_ends_with_2(tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text('{"account_id": "a", "t": 1, "label": 0}\n{"t": 2}\n')

    done = typed("replay", str(file), "-o", "json")

    assert done.returncode == 2
    assert f"{file}:2: field account_id: is missing" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("speed", ["0", "-1", "fast", "nan", "inf"])
def test_a_speed_that_is_none_ends_with_2(generated: Path, speed: str) -> None:
    done = typed("replay", str(generated), "--speed", speed)

    assert done.returncode == 2
    assert "--speed" in done.stderr
