"""How `campaigns list` shows a campaign, and which kinds it takes."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from gate.cli import main as cli
from streams.cli.campaigns import as_line, as_lines
from streams.cli.dlq.letters import shown_lines
from streams.core.campaigns.campaign import CampaignKind
from streams.core.campaigns.catalogue import Campaign
from streams.worker.dead_letters import DeadLetterBody, FoundLetter, ListedLetter, Origin

NOON_US = 1_795_435_200_000_000


@pytest.fixture
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The zone of Berlin, an hour ahead of UTC in November."""
    with monkeypatch.context() as within:
        within.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


def test_campaigns_are_of_four_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    ended = cli.run(["campaigns", "list", "--kind", "links"])

    assert ended == 2
    assert "--kind: no campaign is of the kind 'links'. Write content, link, text or name" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("first_us", "last_us", "span"),
    [
        (1_764_174_840_000_000, 1_764_183_840_000_000, "26 Nov 17:34–20:04"),
        (1_763_994_840_000_000, 1_764_183_840_000_000, "24 Nov – 26 Nov"),
    ],
)
def test_a_campaign_takes_a_line_of_a_narrow_terminal_and_names_its_local_days(
    first_us: int, last_us: int, span: str, in_berlin: None
) -> None:
    found = Campaign("content-05d1f3a29c04b718", CampaignKind.CONTENT, 99_999, 999, first_us, last_us, (), ())

    line = as_line(found)

    assert line.endswith(f"  {span}")
    assert len(line) <= 80


def test_a_campaign_and_a_dead_letter_are_shown_with_local_times_and_their_zone(in_berlin: None) -> None:
    found = Campaign("content-05d1f3a29c04b718", CampaignKind.CONTENT, 9, 1, NOON_US, NOON_US, (), ())
    body = DeadLetterBody(Origin("events", 2, 1417), "key.mismatch", "", b"{}")
    letter = ListedLetter(FoundLetter(body, b"k", 2, 7, NOON_US // 1_000), False)

    assert "2026-11-23 13:00:00 +01:00 to 2026-11-23 13:00:00 +01:00" in "\n".join(as_lines(found))
    assert "written    2026-11-23 13:00:00 +01:00" in shown_lines(letter)
