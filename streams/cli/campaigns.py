"""The commands `campaigns list` and `campaigns show`: what many accounts show within days that is nearly the same."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gate.cli.addresses import KafkaFlag, StateFlag
from gate.cli.output import Output, OutputFlag, emit, result, say
from gate.cli.pause_text import local_time
from gate.cli.with_kafka import cluster_of_command, with_kafka
from gate.errors import SettingInvalid

if TYPE_CHECKING:
    from streams.core.campaigns.catalogue import Campaign, Catalogue

NOT_THERE = 1

campaigns = typer.Typer(
    no_args_is_help=True,
    help="Show what many accounts upload that is nearly the same: contents, links, captions, names of sites.",
    epilog="Example: upload-gate campaigns list --kind link",
    rich_markup_mode=None,
)


@campaigns.command(name="list")
def list_campaigns(
    kind: Annotated[
        str | None,
        typer.Option("--kind", help="Only campaigns of this kind: content, link, text or name.", show_default=False),
    ] = None,
    least: Annotated[int, typer.Option("--least", min=1, help="Only campaigns with at least this many accounts.")] = 8,
    limit: Annotated[int, typer.Option(min=1, help="Show at most this many, the largest first.")] = 20,
    state: StateFlag = None,
    kafka: KafkaFlag = None,
    output: OutputFlag = Output.TEXT,
) -> None:
    """List the live campaigns, the largest first. Counts are lower bounds.

    Example: upload-gate campaigns list --kind link
    """
    from streams.core.campaigns.campaign import CampaignKind
    from streams.core.campaigns.catalogue import day_of

    if kind is not None and kind not in list(CampaignKind):
        raise SettingInvalid(f"--kind: no campaign is of the kind {kind!r}", "write content, link, text or name")
    found = [
        one
        for one in _catalogue(state, kafka).all(day_of(_now_us()))
        if one.members >= least and kind in (None, one.kind.value)
    ][:limit]
    if output is Output.JSON:
        emit({"campaigns": [as_json(one) for one in found]})
    elif found:
        say(f"times are in the zone of this terminal, {local_time(found[0].last_us).rpartition(' ')[2]}")
        result(*map(as_line, found))
    else:
        say(f"no campaign of {least} accounts or more")


@campaigns.command()
def show(
    campaign: Annotated[str, typer.Argument(metavar="ID", help="The campaign's id, as `list` shows it.")],
    state: StateFlag = None,
    kafka: KafkaFlag = None,
    output: OutputFlag = Output.TEXT,
) -> None:
    """Show one campaign: its kind, how many accounts belong to it, when it was seen, and examples by hash.

    Example: upload-gate campaigns show content-05d1f3a29c04b718
    """
    from streams.core.campaigns import parsed_id
    from streams.core.campaigns.catalogue import day_of

    if parsed_id(campaign) is None:
        raise SettingInvalid(
            f"{campaign} is not the id of a campaign", "give an id that `upload-gate campaigns list` shows"
        )
    found = _catalogue(state, kafka).one(campaign, day_of(_now_us()))
    if found is None:
        say(f"no live campaign {campaign}")
        raise typer.Exit(NOT_THERE)
    if output is Output.JSON:
        emit(as_json(found))
    else:
        result(*as_lines(found))


def _catalogue(state: Path | None, kafka: str | None) -> Catalogue:
    """All that the topic holds. Raises StoreUnavailable and SettingInvalid."""
    from streams.worker.campaigns_of_topic import read_campaigns

    bootstrap, topics = cluster_of_command(state, kafka)
    return with_kafka(bootstrap, lambda: read_campaigns(bootstrap, topics.campaigns.name))


def as_json(one: Campaign) -> dict[str, object]:
    """The campaign for `-o json`."""
    return {
        "id": one.id,
        "kind": one.kind.value,
        "members": one.members,
        "established": one.established,
        "first_seen": _time(one.first_us),
        "last_seen": _time(one.last_us),
        "examples": list(one.examples),
        "also": list(one.also),
    }


def as_line(one: Campaign) -> str:
    """The campaign as one line of at most 80 columns: a day, and from when to when, or the first day and the last.

    The days and times are local; there is no room for the zone.
    """
    counts = f"{one.members:>5,} accounts, {one.established:>3,} established"
    (first_day, first), (last_day, last) = _day_and_minute(one.first_us), _day_and_minute(one.last_us)
    span = f"{last_day} {first}–{last}" if first_day == last_day else f"{first_day} – {last_day}"
    return f"{one.id} {counts}  {span}"


def as_lines(one: Campaign) -> list[str]:
    """The campaign as lines for people."""
    rows = [
        ("id", one.id),
        ("kind", one.kind.value),
        ("accounts", f"at least {one.members:,}, of which {one.established:,} are established"),
        ("seen", f"{local_time(one.first_us)} to {local_time(one.last_us)}"),
        ("examples", ", ".join(one.examples) or "none"),
    ]
    if one.also:
        rows.append(("also found as", ", ".join(one.also)))
    return [f"{name:<14} {value}" for name, value in rows]


def _time(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _day_and_minute(at_us: int) -> tuple[str, str]:
    at = datetime.fromtimestamp(at_us / 1_000_000, UTC).astimezone()
    return f"{at.day} {at:%b}", f"{at:%H:%M}"


def _now_us() -> int:
    return time.time_ns() // 1_000
