"""The commands `replay` and `simulate` of `upload-gate`. Decides what they print; the work is done elsewhere."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gate.cli.find import GateFlag, RedisFlag, StateFlag, find
from gate.cli.output import Output, OutputFlag, emit, result, say
from gate.errors import SettingInvalid
from streams import events_check

if TYPE_CHECKING:
    from gate.core.policy import Policy
    from streams.replay import Outcome
    from streams.rig import Places
    from streams.rows import Stream

PROGRESS_EVERY = 5_000
CANCELLED = 2

KafkaFlag = Annotated[str | None, typer.Option("--kafka", help="Kafka of the system, host:port.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(name="replay")(replay)
    app.command(name="simulate")(simulate)
    events_check.register(app)


def replay(
    file: Annotated[Path, typer.Argument(help="Labelled stream, *.jsonl or *.jsonl.gz.", show_default=False)],
    speed: Annotated[str, typer.Option(help="`max`, or how many times faster than recorded.")] = "max",
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many uploads.")] = None,
    policy: Annotated[Path | None, typer.Option(help="Policy to judge by; the shipped one otherwise.")] = None,
    scorecard: Annotated[Path | None, typer.Option(help="Scorecard to score by; the shipped one otherwise.")] = None,
    state: StateFlag = None,
    redis: RedisFlag = None,
    kafka: KafkaFlag = None,
    output: OutputFlag = Output.TEXT,
) -> None:
    """Push a labelled stream through the running system and print what was refused and how well it was told apart.

    It has topics and keys of its own, so accounts, scores and buckets of the system stay as they are.
    Example: upload-gate replay uploads.jsonl.gz -o json
    """
    from gate.policyfile import load_policy
    from streams.rig import Places
    from streams.rows import not_after, read
    from streams.scorecardfile import load_scorecard

    _quiet()
    pace = _pace(speed)
    rules = load_policy(policy)
    if scorecard is not None:
        load_scorecard(scorecard)
    stream = not_after(read(file, limit), time.time_ns() // 1000)
    for note in stream.notes:
        say(note)
    if stream.synthetic_times:
        say("the stream has no times: each account's uploads are set about 6 h apart, so tempo tells nothing")
    found = find(state, redis=redis, kafka=kafka)
    try:
        outcome = asyncio.run(_replay(stream, rules, Places(found.redis, found.kafka, scorecard), pace))
    except asyncio.CancelledError:
        say("ended early")
        raise typer.Exit(CANCELLED) from None
    if output is Output.JSON:
        emit(outcome.as_json())
    else:
        result(table(outcome))


async def _replay(stream: Stream, policy: Policy, places: Places, pace: float | None) -> Outcome:
    from streams.replay import Judge
    from streams.replay import replay as run
    from streams.rig import rig

    said = 0

    def progress(uploads: int) -> None:
        nonlocal said
        if uploads - said >= PROGRESS_EVERY:
            said = uploads
            say(f"{uploads:,} of {len(stream.uploads):,} uploads")

    task = asyncio.current_task()
    if task is not None:
        # ending early still takes the worker, the topics and the keys away
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with rig(places) as own:
        judge = Judge(policy, own.store, own.salt)
        return await run(stream, judge, own.store, own.publish, pace, own.alive, own.last_words, progress)


def simulate(
    rate: Annotated[float, typer.Option(min=0.1, max=2000, help="Uploads per second.")] = 20.0,
    seed: Annotated[int, typer.Option(help="Same seed, same characters.")] = 7,
    seconds: Annotated[float | None, typer.Option("--for", min=0.1, help="Seconds; until Ctrl-C otherwise.")] = None,
    file: Annotated[
        Path | None, typer.Option(help="Write labelled rows for `replay` to this file instead of uploading.")
    ] = None,
    uploads: Annotated[int, typer.Option(min=1, help="With --file: how many rows.")] = 5_000,
    state: StateFlag = None,
    gate: GateFlag = None,
    kafka: KafkaFlag = None,
) -> None:
    """Upload like people, a bot farm and a scam campaign: to the running system, or into a labelled file.

    Example: upload-gate simulate --rate 50 --for 60
    """
    from streams import traffic
    from streams.simulate import labelled_rows

    if file is not None:
        try:
            with file.open("w") as target:
                for row in labelled_rows(seed, uploads):
                    target.write(json.dumps(row) + "\n")
        except OSError as error:
            raise SettingInvalid(f"--file {file} cannot be written: {error.strerror}") from None
        say(f"wrote {uploads:,} labelled rows to {file}")
        return
    _quiet()
    found = find(state, gate=gate, kafka=kafka)
    options = traffic.Options(found.gate, found.kafka, rate, seed, seconds=seconds)
    count = asyncio.run(traffic.run(options, say))
    say(f"{count:,} uploads")


def table(outcome: Outcome) -> str:
    """The outcome for people."""
    found = outcome.as_json()
    lines = []
    for key, value in found.items():
        name = key.replace("_", " ").replace("1pct fpr", "1 % false positives")
        if isinstance(value, dict):
            shown = ", ".join(f"{verdict} {count:,}" for verdict, count in value.items()) or "none"
        elif value is None:
            shown = "not known: the labels are of one class"
        elif isinstance(value, bool):
            shown = "yes" if value else "no"
        else:
            shown = f"{value:,}" if isinstance(value, int) else f"{value:g}"
        lines.append(f"{name:<32} {shown}")
    return "\n".join(lines)


def _quiet() -> None:
    # the Kafka client logs what it tries again by itself; what fails for good comes as an error
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


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
