"""The commands `replay`, `simulate` and `worker` of `upload-gate`: their options and their output.

`upload-gate` finds them through the entry points `upload_gate.commands`. Other modules do the work.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from gate.cli.addresses import (
    DEFAULT_PORT,
    GateFlag,
    KafkaFlag,
    RedisFlag,
    StateFlag,
    resolve_addresses,
    salt_of_up,
)
from gate.cli.output import CANCELLED, Output, OutputFlag, emit, result, say
from gate.cli.with_kafka import with_kafka
from gate.core.duration import parse_duration_us
from gate.errors import SettingInvalid
from gate.extras import install_extra
from gate.settings import topic_prefix

if TYPE_CHECKING:
    from gate.core.policy import Policy
    from streams.files.model_directory import Models
    from streams.lab.replay import Outcome
    from streams.lab.replay_system import ReplayServers
    from streams.lab.rows import Stream

STREAMS_LIBRARIES = ("faust", "aiokafka")
PROGRESS_EVERY_S = 5.0
NOTHING_SENT = 1
"""The exit code of a simulation of which the gate decided nothing, or Kafka stored nothing."""
_PLAINER = {
    "abusive_accounts_met": "abusive accounts reviewed, challenged or refused",
    "benign_accounts_met": "benign accounts reviewed, challenged or refused",
    "abusive_accounts_met_or_next": "abusive ones, with their next upload",
    "benign_accounts_met_or_next": "benign ones, with their next upload",
    "auc": "AUC of last risks",
    "recall_at_1pct_fpr": "recall at 1 % false positives",
    "synthetic_times": "times made up, as rows have none",
    "windows": "batches, each decided before it is scored",
}
"""Names of figures that their keys do not explain."""


def replay(
    file: Annotated[Path, typer.Argument(help="Labelled stream, *.jsonl or *.jsonl.gz.", show_default=False)],
    speed: Annotated[str, typer.Option(help="`max`, or how many times faster than recorded.")] = "max",
    limit: Annotated[int | None, typer.Option(min=1, help="Replay only this many uploads.")] = None,
    policy: Annotated[Path | None, typer.Option(help="Policy to judge by; the shipped one otherwise.")] = None,
    scorecard: Annotated[Path | None, typer.Option(help="Scorecard to score by; the shipped one otherwise.")] = None,
    models: Annotated[
        Path | None, typer.Option(help="Directory of fitted models to score by; --scorecard replaces its scorecard.")
    ] = None,
    features: Annotated[
        Path | None, typer.Option(help="First write each upload's vector of features to this file, as JSON lines.")
    ] = None,
    state: StateFlag = None,
    redis: RedisFlag = None,
    kafka: KafkaFlag = None,
    output: OutputFlag = Output.TEXT,
) -> None:
    """Replay a labelled stream through the running system; print the refusals and how well scores separate abusers.

    A replay uses topics and keys of its own, so accounts, scores and buckets of the system do not change.

    Example: upload-gate replay uploads.jsonl.gz -o json
    """
    _require_streams()
    from gate.policyfile import load_policy
    from streams.files.model_directory import load_models
    from streams.lab.replay_system import ReplayServers
    from streams.lab.rows import not_after, read

    pace = _pace(speed)
    rules = load_policy(policy)
    used = load_models(models, scorecard)
    stream = not_after(read(file, limit), time.time_ns() // 1000)
    for note in stream.notes:
        say(note)
    if stream.synthetic_times:
        say("the stream has no times: each account's uploads are set about 6 h apart, so tempo says nothing")
    if features is not None:
        _write_features(features, stream, used)
    addresses = resolve_addresses(state, redis=redis, kafka=kafka)
    say(f"replaying through Redis at {addresses.shown('redis')} and Kafka at {addresses.shown('kafka')}")
    places = ReplayServers(addresses.redis, addresses.kafka, scorecard, models)
    try:
        outcome = with_kafka(addresses.kafka, lambda: _replay(stream, rules, places, pace))
    except asyncio.CancelledError:
        say("ended early; the topics and keys of the replay were removed")
        raise typer.Exit(CANCELLED) from None
    if output is Output.JSON:
        emit(outcome.as_json())
    else:
        result(*outcome_lines(outcome))


def _write_features(file: Path, stream: Stream, models: Models) -> None:
    import msgspec

    from streams.lab.evaluate import vectors
    from streams.lab.rows import attempted

    labelled = ((upload.label, attempted(upload.request, upload.at_us)) for upload in stream.uploads)
    count = 0
    try:
        with file.open("wb") as target:
            for vector in vectors(labelled, models):
                target.write(msgspec.json.encode(vector) + b"\n")
                count += 1
    except OSError as error:
        raise SettingInvalid(f"--features {file} cannot be written: {error.strerror}") from None
    say(f"wrote {count:,} vectors of features to {file}")


async def _replay(stream: Stream, policy: Policy, places: ReplayServers, pace: float | None) -> Outcome:
    from streams.lab.replay import Judge
    from streams.lab.replay import replay as run
    from streams.lab.replay_system import replay_system

    said_at_s = time.monotonic()

    def progress(uploads: int) -> None:
        nonlocal said_at_s
        if time.monotonic() - said_at_s >= PROGRESS_EVERY_S:
            said_at_s = time.monotonic()
            say(f"{uploads:,} of {len(stream.uploads):,} uploads")

    task = asyncio.current_task()
    if task is not None:
        # an early end still stops the worker and removes the topics and the keys
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with replay_system(places) as own:
        judge = Judge(policy, own.store, own.salt)
        return await run(
            stream, judge, own.store, own.publish, pace, own.alive, own.log_tail, progress,
            lambda: own.hot_facts(judge.hear),
        )  # fmt: skip


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
    _require_streams()
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


def worker(state: StateFlag = None, redis: RedisFlag = None, kafka: KafkaFlag = None) -> None:
    """Run one stream worker: it reads events from Kafka and writes scores to Kafka and Redis.

    Where Kafka is named (--kafka, UPLOAD_GATE_KAFKA) and no Redis is, it writes them to Kafka alone.

    Example: upload-gate worker --kafka 10.0.0.6:9092 --redis redis://10.0.0.5:6379/0
    """
    _require_streams()
    addresses = resolve_addresses(state, redis=redis, kafka=kafka)
    named = {"STATE": str(addresses.state), "KAFKA": addresses.kafka}
    is_guess = addresses.origin["kafka"] != DEFAULT_PORT and addresses.origin.get("redis") == DEFAULT_PORT
    if "redis" in addresses.known and not is_guess:
        named["REDIS"] = addresses.redis
    else:
        say("no Redis is named (--redis, UPLOAD_GATE_REDIS): scores go to Kafka alone, and no gate decides by them")
    if addresses.group is not None:
        named["GROUP"] = addresses.group
    salt = salt_of_up(addresses.state, "kafka", addresses.kafka)
    if salt is not None and not os.environ.get("UPLOAD_GATE_SALT"):
        named["SALT"] = salt
    environment = {**os.environ, **{f"UPLOAD_GATE_{name}": value for name, value in named.items()}}
    # replaces this process, so that signals reach the worker directly
    os.execve(sys.executable, [sys.executable, "-m", "streams.worker"], environment)


def _require_streams() -> None:
    """Raise SettingInvalid if the libraries of the worker are not installed. A gate does not need them."""
    missing = [name for name in STREAMS_LIBRARIES if not _is_installed(name)]
    if missing:
        raise SettingInvalid(
            f"this command needs {' and '.join(missing)}, not installed here", install_extra("streams")
        )


def _is_installed(name: str) -> bool:
    # faust replaces its own module in sys.modules, after which the module has no spec
    return sys.modules[name] is not None if name in sys.modules else find_spec(name) is not None


def outcome_lines(outcome: Outcome) -> list[str]:
    """The outcome as lines for people."""
    lines = []
    for key, value in outcome.as_json().items():
        name = _PLAINER.get(key, key.replace("_", " "))
        if isinstance(value, dict):
            shown = ", ".join(f"{verdict} {count:,}" for verdict, count in value.items()) or "none"
        elif value is None:
            shown = "not known: the labels are of one class"
        elif isinstance(value, bool):
            shown = "yes" if value else "no"
        else:
            shown = f"{value:,}" if isinstance(value, int) else f"{value:g}"
        lines.append(f"{name:<48} {shown}")
    return lines


def _seconds(text: str) -> float:
    """The span of `--for`."""
    try:
        return parse_duration_us(text) / 1_000_000
    except ValueError as error:
        raise SettingInvalid(f"--for: {error}") from error


def _pace(speed: str) -> float | None:
    if speed == "max":
        return None
    try:
        pace = float(speed)
    except ValueError:
        pace = 0.0
    if not 0 < pace < float("inf"):
        raise SettingInvalid(f"--speed {speed} is not a speed", "give `max` or a number above 0, such as 60")
    return pace
