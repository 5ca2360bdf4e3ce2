"""`python -m tests.bench.plain_worker`: our worker with one counter an account in place of facts, signals and scores.

Intake, changelog, transactions and rebalances are those of `streams.worker`, so that what they cost can be compared
with other frameworks that do the same fold.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence

import msgspec
import uvloop
from prometheus_client import CollectorRegistry

from streams.core.facts import VERSION
from streams.pipeline.effects import Effects, EventCounts, States
from streams.pipeline.step import Record
from streams.worker.__main__ import Ending
from streams.worker.app import build
from streams.worker.main import serve
from streams.worker.settings import read_worker_settings
from tests.bench.bare_loop import CountedEvent

_decode = msgspec.json.Decoder(CountedEvent).decode
_VERSION = bytes((VERSION,))


def count(batch: Sequence[Record], states: Mapping[str, bytes], *_: object) -> Effects:
    """Count the events of each account; what `streams.pipeline.step.process` is given besides is of no use here."""
    counts: dict[str, int] = {}
    for record in batch:
        account = _decode(record.value or b"").account.id
        if account not in counts:
            counts[account] = int(states[account][1:]) if account in states else 0
        counts[account] += 1
    packed = {account: b"%b%d" % (_VERSION, number) for account, number in counts.items()}
    return Effects.of(batch[-1].offset + 1, States(packed), EventCounts({"attempted": len(batch)}))


def main() -> None:
    """Run until SIGTERM."""
    ending = Ending()
    ending.hear()
    settings = read_worker_settings(os.environ)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(lambda: build(settings, CollectorRegistry(), count), ending))


if __name__ == "__main__":
    sys.exit(main())
