"""`simulate`: uploads like people, a bot farm and a scam campaign, to the running system or into a labelled file."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from pathlib import Path
from typing import Annotated, TextIO

import typer

from gate.cli.addresses import GateFlag, KafkaFlag, StateFlag, resolve_addresses
from gate.cli.output import say
from gate.core.duration import parse_duration_us
from gate.errors import SettingInvalid
from gate.settings import topic_prefix
from streams.cli.libraries import require_streams

NOTHING_SENT = 1
"""The exit code of a simulation of which the gate decided nothing, or Kafka stored nothing."""


def simulate(
    rate: Annotated[float, typer.Option(min=0.1, max=2000, help="Uploads per second.")] = 20.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same accounts.")] = 7,
    for_: Annotated[
        str | None, typer.Option("--for", help="How long: 90s, 10m, 1h30m; until Ctrl-C otherwise.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            help="Write labelled rows for `replay` to this file, *.jsonl or *.jsonl.gz, instead of uploading."
        ),
    ] = None,
    uploads: Annotated[int, typer.Option(min=1, help="With --file: how many rows.")] = 5_000,
    state: StateFlag = None,
    gate: GateFlag = None,
    kafka: KafkaFlag = None,
) -> None:
    """Upload like people, a bot farm and a scam campaign: to the running system, or into a labelled file.

    Example: upload-gate simulate --rate 50 --for 1m
    """
    require_streams()
    from streams.traffic import run as traffic
    from streams.traffic.simulate import labelled_rows

    seconds = None if for_ is None else _seconds(for_)
    if file is not None:
        try:
            with _text_file(file) as target:
                for row in labelled_rows(seed, uploads):
                    target.write(json.dumps(row) + "\n")
        except OSError as error:
            raise SettingInvalid(f"--file {file} cannot be written: {error.strerror}") from None
        say(f"wrote {uploads:,} labelled rows to {file}")
        return
    addresses = resolve_addresses(state, gate=gate, kafka=kafka)
    say(f"uploading to the gate at {addresses.shown('gate')}, events to Kafka at {addresses.shown('kafka')}")
    options = traffic.TrafficOptions(
        addresses.gate, addresses.kafka, rate, seed, seconds=seconds, topic_prefix=topic_prefix(os.environ)
    )
    sent = asyncio.run(traffic.run(options, say))
    say(f"{sent.uploads:,} uploads; the gate decided {sent.decided:,}, Kafka stored {sent.events:,} events")
    if sent.uploads and not (sent.decided and sent.events):
        raise typer.Exit(NOTHING_SENT)


def _text_file(path: Path) -> TextIO:
    """`path` open for writing text, compressed if its name says so."""
    return gzip.open(path, "wt", encoding="utf-8") if path.suffix == ".gz" else path.open("w", encoding="utf-8")


def _seconds(text: str) -> float:
    """The span of `--for`."""
    try:
        return parse_duration_us(text) / 1_000_000
    except ValueError as error:
        raise SettingInvalid(f"--for: {error}") from error
