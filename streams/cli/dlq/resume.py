"""`dlq resume`: makes running workers read on in halted partitions, without a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gate.cli.addresses import KafkaFlag, StateFlag
from gate.cli.output import Output, OutputFlag, emit, result
from gate.cli.with_kafka import cluster_of_command, with_kafka
from streams.cli.dlq.options import PartitionFlag

if TYPE_CHECKING:
    from streams.worker.control_records import ResumeAnswer

NOT_RESUMED = 3


def resume_partitions(
    partition: PartitionFlag = None,
    drain: Annotated[
        bool,
        typer.Option("--drain", help="Move unreadable events to the dead letters until most are readable again."),
    ] = False,
    state: StateFlag = None,
    kafka: KafkaFlag = None,
    output: OutputFlag = Output.TEXT,
) -> None:
    """Resume halted partitions, and wait until each is live. Exits with 3 if one is not.

    Without --drain a partition halts again if its next events are unreadable too.

    Example: upload-gate dlq resume --partition 2 --drain
    """
    from streams.worker.control_records import ResumeOutcome
    from streams.worker.resume import resume

    bootstrap, topics = cluster_of_command(state, kafka)
    answers = with_kafka(bootstrap, lambda: resume(bootstrap, topics, partition, drain))
    live = all(answer.outcome in (ResumeOutcome.LIVE, ResumeOutcome.NOT_HALTED) for answer in answers)
    if output is Output.JSON:
        emit({"live": live, "partitions": [as_json(answer) for answer in answers]})
    else:
        result(*map(sentence, answers))
    if not live:
        raise typer.Exit(NOT_RESUMED)


def as_json(answer: ResumeAnswer) -> dict[str, object]:
    """One partition's answer for programs."""
    return {"partition": answer.partition, "outcome": answer.outcome.value, "offset": answer.offset}


def sentence(answer: ResumeAnswer) -> str:
    """One partition's answer for people."""
    from streams.worker.control_records import ResumeOutcome

    at = "" if answer.offset is None else f" at offset {answer.offset}"
    said = {
        ResumeOutcome.LIVE: f"is live{at}",
        ResumeOutcome.NOT_HALTED: "was not halted",
        ResumeOutcome.HALTED_AGAIN: f"is halted again{at}: its next events are unreadable too; --drain moves them to the dead "
        "letters",
        ResumeOutcome.MOVED: "went to another worker meanwhile; type it again",
        ResumeOutcome.SLOW: f"reads on but has not got further yet{at}; watch upload_gate_worker_lag_records",
        ResumeOutcome.NO_WORKER: "has no worker that answers; start one with `upload-gate worker`",
    }
    return f"partition {answer.partition} {said[answer.outcome]}"
