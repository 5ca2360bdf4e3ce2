"""The cluster and topics of a `dlq` command, and the options that the commands share."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated

import typer

from gate.cli.addresses import resolve_addresses
from gate.records.topics import Topics
from gate.settings import topic_prefix

ReasonFlag = Annotated[
    str | None,
    typer.Option("--reason", help="Only letters of this reason, such as json.malformed.", show_default=False),
]
PartitionFlag = Annotated[
    int | None, typer.Option("--partition", min=0, help="Only this partition of the events topic.", show_default=False)
]


def cluster(state: Path | None, kafka: str | None) -> tuple[str, Topics]:
    """Kafka's bootstrap servers and the topics. Raises SettingInvalid."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # final failures are raised as errors
    return resolve_addresses(state, kafka=kafka).kafka, Topics(topic_prefix(os.environ))
