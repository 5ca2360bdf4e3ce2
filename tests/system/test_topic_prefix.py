"""Two systems on one Kafka: simulated uploads of one are no events of the other."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gate.cli import main as cli
from gate.errors import SettingInvalid
from gate.local.free_port import free_port
from gate.records.topics import Topics
from gate.settings import topic_prefix
from gate.stores.kafka.topics import declare, end_offsets


def counted(bootstrap: str, topics: Topics) -> int:
    """How many events the topic holds."""
    return sum(asyncio.run(end_offsets(bootstrap, [topics.events.name])).values())


@pytest.mark.parametrize("command", ["simulate", "the process of up"])
def test_simulated_events_go_to_the_topic_with_the_prefix_of_the_system(
    kafka_bootstrap: str, unique: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"account_id": f"a-{n}", "t": 1764151200 + n / 100}) + "\n" for n in range(5)))
    ours, others = Topics(f"{unique()}."), Topics()
    for topics in (ours, others):
        asyncio.run(declare(kafka_bootstrap, topics))
    before = counted(kafka_bootstrap, others)
    monkeypatch.setenv("UPLOAD_GATE_TOPIC_PREFIX", ours.prefix)
    where = ["--gate", f"http://127.0.0.1:{free_port()}", "--kafka", kafka_bootstrap]

    if command == "simulate":
        cli.run(["simulate", "--rate", "50", "--for", "1s", *where])
    else:
        subprocess.run([sys.executable, "-m", "streams.traffic", "--replay", str(rows), *where], check=True, timeout=60)

    assert counted(kafka_bootstrap, ours) > 0
    assert counted(kafka_bootstrap, others) == before


def test_a_prefix_that_no_topic_can_have_is_named() -> None:
    assert topic_prefix({}) == ""
    with pytest.raises(SettingInvalid, match="UPLOAD_GATE_TOPIC_PREFIX is unusable: it may hold letters"):
        topic_prefix({"UPLOAD_GATE_TOPIC_PREFIX": "op/"})
