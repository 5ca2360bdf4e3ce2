"""The commands `dlq …` of `upload-gate`, about events that could not be read. Decides what they print."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Annotated

import typer

from gate.cli.addresses import KafkaFlag, StateFlag, resolve_addresses
from gate.cli.output import Output, OutputFlag, emit, result, say
from gate.records.topics import Topics

dlq = typer.Typer(no_args_is_help=True, help="Show events that could not be read.", rich_markup_mode=None)


@dlq.callback()
def _dlq() -> None:
    """A group, so that `dlq list` is a command of its own."""


@dlq.command(name="list")
def list_dead_letters(
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    state: StateFlag = None,
    kafka: KafkaFlag = None,
    output: OutputFlag = Output.TEXT,
) -> None:
    """List the last events that could not be read: where each is in the events topic, and why it could not be read.

    Example: upload-gate dlq list --limit 5
    """
    from streams.worker.dead_letters import as_json, as_line, last_dead_letters

    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what fails for good comes as an error
    found = resolve_addresses(state, kafka=kafka)
    topics = Topics(os.environ.get("UPLOAD_GATE_TOPIC_PREFIX", ""))
    letters = asyncio.run(last_dead_letters(found.kafka, topics, limit))
    if output is Output.JSON:
        emit({"dead_letters": [as_json(letter) for letter in letters]})
    elif letters:
        result("\n".join(map(as_line, letters)))
    else:
        say("no dead letters")
