"""`dlq list` and `dlq show`: show unreadable events, their positions and reasons, and what to correct."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from gate.cli.addresses import KafkaFlag, StateFlag
from gate.cli.output import Output, OutputFlag, emit, result, say
from gate.cli.pause_text import local_time
from gate.cli.with_kafka import cluster_of_command, with_kafka
from gate.errors import SettingInvalid
from streams.cli.dlq.options import PartitionFlag, ReasonFlag
from streams.cli.dlq.text import event_lines, remedy, selected

if TYPE_CHECKING:
    from streams.worker.dead_letters import ListedLetter

NOT_THERE = 1
_PLACE = re.compile(r"(\d{1,9}):(\d{1,18})")


def list_dead_letters(
    reason: ReasonFlag = None,
    partition: PartitionFlag = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most, the last ones.")] = 20,
    state: StateFlag = None,
    kafka: KafkaFlag = None,
    output: OutputFlag = Output.TEXT,
) -> None:
    """List the last events that could not be read: where each is in the events topic, and why it could not be read.

    Example: upload-gate dlq list --reason json.malformed --limit 5
    """
    from streams.worker.dead_letters import as_json, as_line, last_dead_letters

    bootstrap, topics = cluster_of_command(state, kafka)
    letters = with_kafka(bootstrap, lambda: last_dead_letters(bootstrap, topics, limit, reason, partition))
    if output is Output.JSON:
        emit({"dead_letters": [as_json(letter) for letter in letters]})
    elif letters:
        result(*(as_line(listed, local_time(listed.letter.at_ms * 1_000)) for listed in letters))
    else:
        say(f"no dead letters{selected(reason, partition)}")


def show(
    place: Annotated[
        str,
        typer.Argument(metavar="PARTITION:OFFSET", help="Where the event is in the events topic, as `list` shows it."),
    ],
    state: StateFlag = None,
    kafka: KafkaFlag = None,
    output: OutputFlag = Output.TEXT,
) -> None:
    """Show one event that could not be read: its position, the reason, what to correct, and the event itself.

    Example: upload-gate dlq show 2:1417
    """
    from streams.worker.dead_letters import dead_letter

    match = _PLACE.fullmatch(place)
    if match is None:
        raise SettingInvalid(
            f"{place[:40]!r} is not a position in the events topic", "write PARTITION:OFFSET, such as 2:1417"
        )
    bootstrap, topics = cluster_of_command(state, kafka)
    listed = with_kafka(bootstrap, lambda: dead_letter(bootstrap, topics, int(match[1]), int(match[2])))
    if listed is None:
        say(f"no dead letter of the event at {place}; `upload-gate dlq list` shows the last ones")
        raise typer.Exit(NOT_THERE)
    if output is Output.JSON:
        emit(shown_json(listed))
    else:
        result(*shown_lines(listed))


def shown_json(listed: ListedLetter) -> dict[str, object]:
    """A letter with its event for programs. `event` is its text if it is UTF-8, else `event_hex` has its bytes."""
    from streams.worker.dead_letters import as_json

    letter, body = listed.letter, listed.letter.body
    event: dict[str, object]
    try:
        event = {"event": body.event.decode()}
    except UnicodeDecodeError:
        event = {"event": None, "event_hex": body.event.hex()}
    return {
        **as_json(listed),
        "correct": remedy(body.reason),
        "key": None if letter.key is None else letter.key.decode(errors="replace"),
        "truncated": body.truncated,
        **event,
    }


def shown_lines(listed: ListedLetter) -> list[str]:
    """A letter with its event for people; not safe for a terminal yet."""
    letter, body, at = listed.letter, listed.letter.body, listed.letter.body.origin
    key = "none" if letter.key is None else letter.key.decode(errors="replace")
    lines = [
        f"{'position':<10} {at.topic}, partition {at.partition}, offset {at.offset}",
        f"{'key':<10} {key}",
        f"{'written':<10} {local_time(letter.at_ms * 1_000)}",
        f"{'reason':<10} {body.reason}: {body.detail}",
        f"{'correct':<10} {remedy(body.reason)}",
    ]
    if body.replayed is not None:
        lines.append(f"{'replayed':<10} it was sent again; it was first read at {body.replayed}")
    if listed.was_replayed:
        lines.append(f"{'replayed':<10} its event was sent again since")
    if body.truncated is not None:
        lines.append(
            f"{'cut':<10} the letter keeps {len(body.event):,} of {body.truncated:,} bytes; it cannot be replayed"
        )
    return [*lines, f"{'event':<10} {len(body.event):,} bytes", *(f"  {line}" for line in event_lines(body.event))]
