"""The command `rescore` of `upload-gate`: all accounts are scored again from their states. Decides what it prints."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated

import typer

from gate.cli.addresses import KafkaFlag, StateFlag, resolve_addresses
from gate.cli.board_access import YesFlag, person
from gate.cli.output import Output, OutputFlag, cancel, confirmed, counted, emit, instant, say
from gate.cli.with_kafka import topics_of_command, with_kafka


def rescore(
    by: Annotated[str | None, typer.Option("--by", help="Who requests it; default as for pause.")] = None,
    yes: YesFlag = False,
    state: StateFlag = None,
    kafka: KafkaFlag = None,
    output: OutputFlag = Output.TEXT,
) -> None:
    """Have the workers score all accounts again, and write the scores to Kafka and Redis.

    Nothing is counted again. Workers that are not running do it once they start.

    Example: upload-gate rescore --yes
    """
    from gate.stores.kafka.rescores import request_scores

    found = resolve_addresses(state, kafka=kafka)
    who = person(by)
    if not yes and not confirmed(f"Score all accounts of Kafka at {found.shown('kafka')} again?"):
        raise cancel()
    at = instant(time.time_ns() // 1_000)
    partitions = with_kafka(found.kafka, lambda: request_scores(found.kafka, topics_of_command(), who, at))
    if output is Output.JSON:
        emit({"requested": True, "partitions": partitions, "by": who})
    say(*requested(partitions, found.worker_metrics))


def requested(partitions: int, pages: Sequence[str]) -> list[str]:
    """What was requested, and where workers say how many accounts are left: on these metrics pages, if they are known."""
    where = " ".join(pages) or "/metrics of each worker (UPLOAD_GATE_WORKER_METRICS_PORT, by default 8392)"
    return [
        f"requested: workers score the accounts of {counted(partitions, 'partition')} again",
        f"upload_gate_worker_accounts_to_rescore says how many are left, at {where}",
    ]
