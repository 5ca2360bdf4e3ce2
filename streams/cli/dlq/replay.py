"""`dlq replay`: send the events of dead letters again, each once, after saying how many there are."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from gate.cli.addresses import KafkaFlag, StateFlag
from gate.cli.output import Output, OutputFlag, cancel, confirmed, emit, say
from gate.cli.pause_text import local_time
from gate.cli.with_kafka import cluster_of_command, with_kafka
from gate.core.duration import parse_duration_us
from gate.errors import SettingInvalid
from streams.cli.dlq.options import PartitionFlag, ReasonFlag
from streams.cli.dlq.text import selected

if TYPE_CHECKING:
    from streams.worker.replay_letters import ReplayCounts


def replay_dead_letters(
    reason: ReasonFlag = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", help="Only letters written since then: 24h, or 2026-11-26T15:00:00Z.", show_default=False
        ),
    ] = None,
    partition: PartitionFlag = None,
    again: Annotated[
        bool, typer.Option("--again", help="Also letters of events that were sent again before and failed again.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent, and send nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before sending.")] = False,
    state: StateFlag = None,
    kafka: KafkaFlag = None,
    output: OutputFlag = Output.TEXT,
) -> None:
    """Send events that could not be read again, with their own bytes, keyed by account id where it can be read.

    An event is sent once, however often you run this. An event that still cannot be read becomes a dead letter again.

    Example: upload-gate dlq replay --reason key.mismatch --since 24h --dry-run
    """
    from streams.worker.replay_letters import ReplayWanted, count_replay, replay

    wanted = ReplayWanted(reason, since_ms(since, lambda: time.time_ns() // 1_000_000), partition, again)
    bootstrap, topics = cluster_of_command(state, kafka)
    counts = with_kafka(bootstrap, lambda: count_replay(bootstrap, topics, wanted))
    if dry_run or not counts.to_send:
        written = local_time(wanted.since_ms * 1_000) if wanted.since_ms else None
        say(*(lines(counts, "would be sent") or [f"no dead letters{selected(reason, partition, written)}"]))
        if not counts.to_send:
            say("nothing to send; nothing was changed")
        if output is Output.JSON:
            emit(as_json(counts, sent=0))
        return
    if not yes:
        say(*lines(counts, "would be sent"))
        if not confirmed(f"send {counts.to_send:,} events to {topics.events.name}?"):
            raise cancel()
    counts = with_kafka(bootstrap, lambda: replay(bootstrap, topics, wanted))
    say(*lines(counts, "sent"))
    if output is Output.JSON:
        emit(as_json(counts, sent=counts.to_send))


def since_ms(text: str | None, now_ms: Callable[[], int]) -> int:
    """The time that `--since` means, in ms since 1970; 0 without one. Raises SettingInvalid."""
    if text is None:
        return 0
    try:
        return now_ms() - parse_duration_us(text) // 1_000
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise SettingInvalid(
            f"--since {text[:40]!r} is not a time", "write 24h, or a time with its zone such as 2026-11-26T15:00:00Z"
        )
    return round(at.timestamp() * 1_000)


def lines(counts: ReplayCounts, verb: str) -> list[str]:
    """The counts for people, one line for each fate of at least one letter; none where there are no letters."""
    from streams.worker.replay_letters import Fate

    by_reason = ", ".join(f"{reason} {count:,}" for reason, count in sorted(counts.unreadable.items()))
    said = {
        Fate.READABLE: f"{verb}, and can be read by this release",
        Fate.STILL_UNREADABLE: f"{verb}, and still cannot be read ({by_reason}): they become dead letters again",
        Fate.TRUNCATED: "left: the letter keeps only the beginning of the event or of its key",
        Fate.REPLAYED_BEFORE: "left: sent again before",
        Fate.FAILED_AGAIN: "left: sent again before and failed again (--again takes them)",
    }
    return [f"{counts.by_fate[fate]:>9,} {text}" for fate, text in said.items() if counts.by_fate[fate]]


def as_json(counts: ReplayCounts, sent: int) -> dict[str, object]:
    """The counts for programs."""
    from streams.worker.replay_letters import Fate

    return {
        "sent": sent,
        "letters": {fate.value: counts.by_fate[fate] for fate in Fate},
        "unreadable_by_reason": dict(sorted(counts.unreadable.items())),
    }
