"""`replay`: replays a labelled stream through the running system, and prints the refusals and the figures of scores."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gate.cli.addresses import KafkaFlag, RedisFlag, StateFlag, resolve_addresses
from gate.cli.output import CANCELLED, Output, OutputFlag, emit, result, say
from gate.cli.with_kafka import with_kafka
from gate.errors import SettingInvalid
from streams.cli.libraries import require_streams

if TYPE_CHECKING:
    from gate.core.policy import Policy
    from streams.files.model_directory import Models
    from streams.lab.replay import Outcome
    from streams.lab.replay_system import ReplayServers
    from streams.lab.rows import Stream

PROGRESS_EVERY_S = 5.0
_PLAINER = {
    "abusive_accounts_met": "abusive accounts reviewed, challenged or refused",
    "benign_accounts_met": "honest accounts reviewed, challenged or refused",
    "abusive_accounts_met_or_next": "abusive ones, with their next upload",
    "benign_accounts_met_or_next": "honest ones, with their next upload",
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
    require_streams()
    from gate.policyfile import load_policy
    from streams.files.model_directory import load_models
    from streams.lab.replay_system import ReplayServers
    from streams.lab.rows import UNLABELLED, not_after, read

    pace = _pace(speed)
    rules = load_policy(policy)
    used = load_models(models, scorecard)
    stream = not_after(read(file, limit), time.time_ns() // 1000)
    for note in stream.notes:
        say(note)
    if stream.synthetic_times:
        say("the stream has no times: each account's uploads are set about 6 h apart, so tempo says nothing")
    if all(upload.label == UNLABELLED for upload in stream.uploads):
        say("no row has a label: the replay shows what the gate refuses, and not how well scores separate abusers")
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

    from streams.lab.feature_vectors import vectors
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


def outcome_lines(outcome: Outcome) -> list[str]:
    """The outcome as lines for people."""
    lines, found = [], outcome.as_json()
    for key, value in found.items():
        name = _PLAINER.get(key, key.replace("_", " "))
        if isinstance(value, dict):
            shown = ", ".join(f"{verdict} {count:,}" for verdict, count in value.items()) or "none"
        elif value is None:
            shown = f"not known: {_one_class(found)}"
        elif isinstance(value, bool):
            shown = "yes" if value else "no"
        else:
            shown = f"{value:,}" if isinstance(value, int) else f"{value:g}"
        lines.append(f"{name:<48} {shown}")
    return lines


def _one_class(found: dict[str, object]) -> str:
    """Why there is nothing to separate."""
    if not found["abusive_accounts"] and not found["benign_accounts"]:
        return "no row has a label"
    return f"all labelled accounts are {'abusive' if found['abusive_accounts'] else 'honest'}"


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
