"""The event that the README has a newcomer write by hand, run as it stands there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from gate.core.event import Attempted
from gate.records.topics import Topics
from gate.stores.kafka.topics import declare
from streams.core.events import decode_counting
from tests.workers import values

README = Path(__file__).parents[2] / "README.md"


async def test_the_event_of_the_readme_arrives_keyed_by_its_account_and_is_read_without_loss(
    kafka_bootstrap: str, unique: Callable[[], str]
) -> None:
    topics = Topics(f"{unique()}.")
    await declare(kafka_bootstrap, topics)
    snippet = README.read_text().split("A first event by hand")[1].split("```python\n")[1].partition("```")[0]
    here = snippet.replace("127.0.0.1:9392", kafka_bootstrap).replace("uploads.events.v1", topics.events.name)

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", here], capture_output=True, text=True, timeout=60, check=False
    )

    # of a topic that was made this moment the client may say that its leader is not known yet, and that it tries again
    said = [line for line in done.stderr.splitlines() if "NotLeaderForPartitionError" not in line]
    assert (done.returncode, said) == (0, [])
    ((key, value),) = await values(kafka_bootstrap, topics.events)
    event, surplus, dropped = decode_counting(value)
    assert (key, event.account.id) == (b"a-17", "a-17")
    assert isinstance(event, Attempted)
    assert (surplus, dict(dropped)) == (0, {})
